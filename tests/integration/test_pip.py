"""Installing with the real pip, from wheels on the disk."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_tools.config import schema
from pipeline_tools.errors import ConfigError
from pipeline_tools.systems import pip
from tests.integration.test_artifactory import wheel


def test_a_file_with_hashes_is_installed_beside_one_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = wheel(tmp_path, "one", "1.0"), wheel(tmp_path, "two", "2.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv/bin/python"
    hashed, plain = tmp_path / "requirements.txt", tmp_path / "more.txt"
    plain.write_text("two==2.0\n")
    hashed.write_text(f"one==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(ConfigError, match="could not get the requirements"):
        pip.install(python, [plain, hashed], schema.Artifactory(), log=lambda text: None)
    hashed.write_text(f"one==1.0 --hash=sha256:{hashlib.sha256(one.read_bytes()).hexdigest()}\n")
    pip.install(python, [plain, hashed], schema.Artifactory(), log=lambda text: None)
    code = "import one, two; print(one.VERSION, two.VERSION)"
    assert subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout == "1.0 2.0\n"
