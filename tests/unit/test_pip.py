"""What requirements files name, and the logins that pip finds."""

from __future__ import annotations

from pathlib import Path

import pytest

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
