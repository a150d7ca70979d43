from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from servicio.settings import Settings, SettingsError, table

from tests.conftest import serving

SERVICE = Path(__file__).resolve().parents[1]


def test_settings_come_from_the_environment() -> None:
    found = Settings.from_environment({"SERVICIO_MAX_BYTES": "7", "PORT": "81", "WORKERS": "2", "HOME": "/"})
    assert (found.max_bytes, found.port, found.workers) == (7, 81, 2)


def test_all_that_is_wrong_is_said_at_once() -> None:
    wrong = {"SERVICIO_MAX_CHARACTERS": "-1", "SERVICIO_MAX_WIAT": "1", "PORT": "http", "SERVICIO_LOG_LEVEL": "LOUD"}
    with pytest.raises(SettingsError) as error:
        Settings.from_environment(wrong)
    said = str(error.value).splitlines()
    assert len(said) == 4
    assert "SERVICIO_MAX_WIAT is unknown: perhaps you meant SERVICIO_MAX_WAIT" in said
    for name, value in wrong.items():
        assert any(line.startswith(name) for line in said)
        assert name == "SERVICIO_MAX_WIAT" or any(repr(value) in line for line in said)


def test_a_wrong_setting_ends_the_start() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "servicio"],
        cwd=SERVICE,
        env={"SERVICIO_RUNNING": "0", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert result.returncode == 2
    assert "SERVICIO_RUNNING" in result.stderr


def test_the_readme_has_the_table() -> None:
    assert table() in (SERVICE / "README.md").read_text(encoding="utf-8"), "python3 -m servicio.settings prints it"


def test_each_answer_tells_its_pod_when_that_is_known() -> None:
    with serving(POD="prod/web-7d9c-x1") as running:
        for answer in (running.classify(), running.get("/api/v1/status"), running.get("/none")):
            assert answer.headers["served-by"] == "prod/web-7d9c-x1"
    with serving() as running:
        assert "served-by" not in running.classify().headers
