from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_tools.errors import ConfigError
from pipeline_tools.systems.packages import pin, pinned_version, wheel

SHA = "a" * 64


def test_a_version_is_replaced_and_everything_else_stays() -> None:
    text = "# the model\nmy_model==1.0.0  # by hand\nflask==3.1.3\n"
    done = pin(text, "my-model", "1.1.0", SHA)
    assert done.text == "# the model\nmy-model==1.1.0\nflask==3.1.3\n"
    assert (done.version, done.hashed) == ("1.0.0", False)


def test_where_others_have_hashes_it_gets_one() -> None:
    text = f"my-model==1.0.0 \\\n    --hash=sha256:{'b' * 64}\nflask==3.1.3 --hash=sha256:{'c' * 64}\n"
    done = pin(text, "my-model", "1.1.0", SHA)
    assert done.text == (f"my-model==1.1.0 \\\n    --hash=sha256:{SHA}\nflask==3.1.3 --hash=sha256:{'c' * 64}\n")
    assert done.hashed
    assert pin(done.text, "my-model", "1.1.0", SHA).text == done.text, "again it changes nothing"


def test_a_package_that_is_not_there_is_added() -> None:
    assert pin("flask==3.1.3", "my-model", "1.0.0", SHA).text == "flask==3.1.3\nmy-model==1.0.0\n"
    assert pin("", "my-model", "1.0.0", SHA).text == "my-model==1.0.0\n"


def test_the_same_words_above_stay() -> None:
    above = "#my-model==1.0.0\nnot-my-model==1.0.0\nflask==3  # as my-model==1.0.0\n"
    assert pin(f"{above}my-model==1.0.0\n", "my-model", "1.1.0", SHA).text == f"{above}my-model==1.1.0\n"


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("my-model==1.0.0", "1.0.0"),
        ("My.Model == 1.0.0", "1.0.0"),
        ("my-model[fast]==1.0.0 ; python_version > '3'", "1.0.0"),
        ("my-model>=1.0", None),
        ("my-model", None),
        ("# my-model==1.0.0", None),
        ("my-model-tools==1.0.0", None),
        ("-r other.txt", None),
        ("my-model @ https://example.com/my_model-1.0.0-py3-none-any.whl", None),
    ],
)
def test_what_is_pinned(line: str, version: str | None) -> None:
    assert pinned_version(f"flask==3.1.3\n{line}\nclick==8\n", "my-model") == version


def test_a_marker_and_extras_stay() -> None:
    done = pin("my-model[fast]==1.0.0 ; python_version > '3.8'\n", "my-model", "2.0.0", SHA)
    assert done.text == 'my-model[fast]==2.0.0 ; python_version > "3.8"\n'


def test_two_lines_of_one_package_are_not_guessed_about() -> None:
    with pytest.raises(ConfigError, match="required 2 times"):
        pin("my-model==1 ; python_version < '3'\nmy-model==2\n", "my-model", "3", SHA)


def test_windows_line_ends_stay() -> None:
    assert pin("my-model==1.0.0\r\nflask==3\r\n", "my-model", "2.0.0", SHA).text == "my-model==2.0.0\r\nflask==3\r\n"


def test_a_wheels_name_tells_package_and_version() -> None:
    assert (wheel(Path("my_model-1.2.0-py3-none-any.whl")).name, wheel(Path("a_b-1.2.0-py3-none-any.whl")).version) == (
        "my-model",
        "1.2.0",
    )
    with pytest.raises(ConfigError):
        wheel(Path("model.zip"))
