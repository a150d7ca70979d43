"""A project whose steps are those of `steps/sitecustomize.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

TOOL = [sys.executable, "-m", "pipeline_tools"]
STEPS = Path(__file__).parent / "steps"
# a platform file of the one who runs the tests names steps that are not there
INHERITED = {name: value for name, value in os.environ.items() if not name.startswith("PIPELINE_TOOLS_")}
ENVIRONMENT = {**INHERITED, "PYTHONPATH": str(STEPS), "PIPELINE_TOOLS_RUN__WAIT": "10ms"}


class Project:
    """A project whose steps do what its files say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "pipeline.yml").write_text("kind: library\nname: sample\n")
        (folder / "do").mkdir()
        for name in ("first", "left", "right", "last"):
            self.does(name, f"result = {{'made': '{name}'}}")
        self.git("init", "--quiet", "--initial-branch=master")
        self.commit()

    def git(self, *words: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
        subprocess.run(["git", *identity, *words], cwd=self.folder, check=True)

    def commit(self) -> None:
        self.git("add", ".")
        self.git("commit", "--quiet", "--allow-empty", "--message", "change")

    def does(self, step: str, code: str) -> None:
        """``HERE`` is the project's folder, for files that a step leaves."""
        (self.folder / f"do/{step}.py").write_text(f"HERE = ctx.project\n{code}")

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*TOOL, *words], cwd=self.folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *words: str) -> tuple[int, str]:
        with self.start(*(words or ("run",))) as process:
            _, said = process.communicate(timeout=120)
        return process.returncode, said

    def read(self, name: str) -> Any:
        return json.loads((self.folder / ".pipeline/latest" / name).read_text())

    def statuses(self) -> dict[str, str]:
        return self.statuses_of("../latest")

    def statuses_of(self, run: str) -> dict[str, str]:
        file = self.folder / ".pipeline/runs" / run / "run.json"
        return {step["id"]: step["status"] for step in json.loads(file.read_text())["steps"]}

    def events(self, kind: str) -> list[Any]:
        lines = (self.folder / ".pipeline/latest/events.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == kind]
