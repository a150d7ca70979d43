"""What a reference to a credential gives."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline_tools import secrets
from pipeline_tools.errors import CredentialError
from pipeline_tools.secrets import resolve


@pytest.mark.parametrize("kind", ["env", "file"])
def test_a_secret_that_is_not_text_is_refused_because_it_could_not_be_masked(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = b"contrase\xf1a-8c1f"
    monkeypatch.setitem(os.environ, "TOKEN", os.fsdecode(secret))
    (tmp_path / "token").write_bytes(secret)
    reference = {"env": "env:TOKEN", "file": f"file:{tmp_path}/token"}[kind]
    with pytest.raises(CredentialError) as caught:
        resolve(reference)
    assert caught.value.hint
    assert "8c1f" not in caught.value.message


def test_of_a_key_of_a_secret_the_last_newline_goes_and_an_empty_one_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"token": "pw-8c1f\n", "empty": "\n"}
    cluster = SimpleNamespace(read_secret=lambda namespace, name, key: texts[key])
    monkeypatch.setattr(secrets, "_clusters", [SimpleNamespace(connection=cluster)])
    assert resolve("secret:ci/sonar/token") == "pw-8c1f"
    with pytest.raises(CredentialError, match="The key empty of the Secret ci/sonar is empty"):
        resolve("secret:ci/sonar/empty")
