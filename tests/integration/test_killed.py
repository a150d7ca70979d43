"""A run that is killed at any moment, and goes on to the same end."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.loaded import Loaded
from tests.integration.steps_project import Project


@pytest.mark.usefixtures("steps_for_tests")
def test_killed_at_any_moment_it_resumes_to_the_same_end(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for me in ("first", "left", "right", "last"):
        project.does(
            me,
            "import time\ntime.sleep(0.02)\n"
            f"(HERE / 'made-{me}').write_text(repr(sorted(ctx.outputs.items())))\n"
            f"result = {{'made': '{me}', 'of': sorted(ctx.outputs)}}",
        )

    def end() -> dict[str, Any]:
        made = {file.name: file.read_text() for file in project.folder.glob("made-*")}
        outputs = {step["id"]: step["outputs"] for step in project.read("run.json")["steps"]}
        return {"made": made, "outputs": outputs}

    tool = Loaded(project.folder)
    begun = time.monotonic()
    assert tool.run("run")[0] == 0
    whole = time.monotonic() - begun
    undisturbed = end()
    chance = random.Random(20260101)
    in_the_middle = 0
    for _ in range(50):
        for file in (*project.folder.glob("made-*"), *project.folder.glob(".pipeline/passed/*.json")):
            file.unlink()
        tool.start("run")
        time.sleep(chance.uniform(0, whole))
        tool.kill()
        for file in project.folder.glob(".pipeline/**/*.json"):
            json.loads(file.read_text())
        in_the_middle += 0 < len([*project.folder.glob(".pipeline/passed/*.json")]) < 4
        code, said = tool.run("run")
        assert code == 0, said
        assert end() == undisturbed
    assert in_the_middle > 5, "most kills come before or after all the work"
    tool.close()
