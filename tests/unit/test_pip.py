"""What requirements files name, and the logins that pip finds."""

from __future__ import annotations

import io
import netrc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_tools.config import schema
from pipeline_tools.systems import pip

FILES = {
    "requirements.txt": "-r base.txt\nflask==3.1.3  # -r not.txt\n# -r not.txt\n--index-url https://x/\n",
    "base.txt": "--requirement=nested/more.txt\n-c ../limits.txt\n  -rshort.txt # why\n-r https://x.example/y.txt\n",
    "nested/more.txt": '-r "with blank.txt"\n-r \\\ngone.txt\n-r ../base.txt\n-r "no end\n--requirements-are not.txt\n',
    "nested/with blank.txt": "--constraint ${FOLDER}/far.txt\n-e .\n",
    "short.txt": "\ufeff-r ./short.txt\n",
}


def test_a_requirements_file_names_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    for name, text in FILES.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    monkeypatch.setenv("FOLDER", "/far")
    found = pip.with_named([project / "requirements.txt"])
    here = ["requirements.txt", "base.txt", "nested/more.txt", "../limits.txt", "short.txt"]
    here += ["nested/with blank.txt", "nested/gone.txt"]
    inside = [tmp_path / "limits.txt" if name.startswith("..") else project / name for name in here]
    assert found == [*inside, Path("/far/far.txt")]
    (tmp_path / ".git").mkdir()
    assert pip.read_files(project, [project / "requirements.txt"]) == here


# a text file has no carriage return of its own, and a password that is read from one no newline at its end
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r"))


@given(st.lists(st.tuples(TEXT.filter(bool), TEXT, TEXT, TEXT), unique_by=lambda each: each[0]))
def test_netrc_is_read_as_it_was_meant(entries: list[tuple[str, str, str, str]]) -> None:
    read = netrc.netrc.__new__(netrc.netrc)
    read.hosts, read.macros = {}, {}
    text = "".join(pip.netrc_line(host, (login, account, password)) for host, login, account, password in entries)
    read._parse("netrc", io.StringIO(text), False)  # type: ignore[attr-defined]
    assert read.hosts == {host: tuple(rest) for host, *rest in entries}


def test_logins_for_other_indexes_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own"
    own.write_text("machine other.example login me password mine\nmachine art.example login me password old\n")
    monkeypatch.setenv("NETRC", str(own))
    monkeypatch.setenv("SOMEONE", "ci")
    monkeypatch.setenv("SOMETHING", '"a \\b #')
    settings = schema.Artifactory.model_validate(
        {"url": "https://art.example/artifactory", "username": "env:SOMEONE", "password": "env:SOMETHING"}
    )
    with pip._index(settings) as (_, env):
        file = Path(env["NETRC"])
        assert file.stat().st_mode & 0o777 == 0o600
        assert netrc.netrc(file).hosts == {
            "other.example": ("me", "", "mine"),
            "art.example": ("ci", "", '"a \\b #'),
        }
    own.write_text("machine other.example login me password\nno words\n")
    with pip._index(settings) as (_, env):
        assert list(netrc.netrc(env["NETRC"]).hosts) == ["art.example"]
