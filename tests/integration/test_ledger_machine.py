"""The ledger under everything that is done to a project, beside a model that says which steps run and which do not.

What a step makes is its file's text, its word in the configuration and what the steps that it uses have made; it is
unchanged when all that is what it was when the step last passed, and it runs otherwise. Steps are real processes.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.integration.loaded import Loaded
from tests.integration.steps_project import Project

NEEDS: dict[str, tuple[str, ...]] = {"first": (), "left": ("first",), "right": ("first",), "last": ("left", "right")}
STEPS = st.sampled_from(sorted(NEEDS))
MAKES = "result = {{'text': {text!r}, 'word': ctx.inputs.word, 'of': [ctx.outputs[name] for name in {needs!r}]}}\n"
FAILS = "from pipeline_tools.errors import QualityError\nraise QualityError('as it was told')\n"


class Machine(RuleBasedStateMachine):
    """`passed` has what each step made when it last passed, as the ledger must have it."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pipeline-tools-"))
        self.project = Project(self.folder)
        self.texts: dict[str, str | None] = {}
        self.words = dict.fromkeys(NEEDS, "")
        self.passed: dict[str, Any] = {}
        for step in NEEDS:
            self.edit(step, "a")
        self.project.commit()
        self.tool = Loaded(self.folder)

    @rule(step=STEPS, text=st.sampled_from("ab"))
    def edit(self, step: str, text: str) -> None:
        self.texts[step] = text
        self.project.does(step, MAKES.format(text=text, needs=NEEDS[step]))

    @rule(step=STEPS)
    def let_fail(self, step: str) -> None:
        self.texts[step] = None
        self.project.does(step, FAILS)

    @rule(step=STEPS, word=st.sampled_from(["", "x"]))
    def configure(self, step: str, word: str) -> None:
        self.words[step] = word
        sections = "".join(f"{name}: {{word: '{word}'}}\n" for name, word in self.words.items() if word)
        (self.folder / "pipeline.yml").write_text(f"kind: library\nname: sample\n{sections}")

    @rule()
    def commit(self) -> None:
        self.project.commit()

    @rule(step=STEPS)
    def touch(self, step: str) -> None:
        (self.folder / f"do/{step}.py").touch()

    @rule(step=STEPS, whole=st.booleans())
    def damage(self, step: str, whole: bool) -> None:
        """What the ledger or the cache beside it has is lost in part: the step runs again, and nothing breaks."""
        record = self.folder / f".pipeline/passed/{step}.json"
        if record.exists():
            record.write_bytes(b"" if whole else record.read_bytes()[:-10])
            self.passed.pop(step, None)
        cache = self.folder / ".pipeline/files.json"
        if cache.exists():
            cache.write_text("{")

    def makes(self, step: str, made: dict[str, Any]) -> Any:
        """What a step makes when those that it needs have ``made`` this; None: it fails."""
        text = self.texts[step]
        return text and {"text": text, "word": self.words[step], "of": [made[name] for name in NEEDS[step]]}

    def expected(self, *, force: bool) -> dict[str, str]:
        """How each step ends in a run of all; what passes is remembered."""
        statuses: dict[str, str] = {}
        for step, needs in NEEDS.items():
            if any(statuses[need] not in ("passed", "unchanged") for need in needs):
                statuses[step] = "not run"
                continue
            made = self.makes(step, self.passed)
            if made is None:
                statuses[step] = "failed"
            elif not force and self.passed.get(step) == made:
                statuses[step] = "unchanged"
            else:
                statuses[step], self.passed[step] = "passed", made
        return statuses

    @rule(force=st.booleans())
    def run(self, force: bool) -> None:
        statuses = self.expected(force=force)
        code, said = self.tool.run("run", *["--force"] * force)
        assert self.project.statuses() == statuses, said
        assert code == (3 if "failed" in statuses.values() else 0), said

    @rule(step=STEPS)
    def run_one(self, step: str) -> None:
        """One step builds on what those before it made when they last passed, however long ago."""
        code, said = self.tool.run("step", step)
        made = self.makes(step, self.passed) if self.passed.keys() >= set(NEEDS[step]) else {}
        if made == {}:
            assert code == 2, said
            assert "has not passed yet" in said
        elif made is None:
            assert code == 3, said
        else:
            assert code == 0, said
            assert self.project.statuses() == {step: "unchanged" if self.passed.get(step) == made else "passed"}
            self.passed[step] = made

    @rule(seconds=st.floats(0.0, 0.6), force=st.booleans())
    def kill(self, seconds: float, force: bool) -> None:
        """Each step has then passed as before, or as it would have in this run; the next run knows which."""
        before = dict(self.passed)
        self.expected(force=force)
        self.tool.start("run", *["--force"] * force)
        time.sleep(seconds)
        self.tool.kill()
        after, self.passed = self.passed, {}
        for step in NEEDS:
            record = self.record(step)
            if record is not None:
                assert record in (before.get(step), after.get(step))
                self.passed[step] = record

    def record(self, step: str) -> Any:
        """What the ledger says that a step made when it last passed."""
        try:
            return json.loads((self.folder / f".pipeline/passed/{step}.json").read_text())["outputs"]
        except (OSError, ValueError):
            return None

    @invariant()
    def the_ledger_is_readable(self) -> None:
        for file in self.folder.glob(".pipeline/runs/**/*.json"):
            json.loads(file.read_text())
        for file in self.folder.glob(".pipeline/runs/*/events.jsonl"):
            for line in file.read_text().splitlines():
                json.loads(line)
        for step in NEEDS:
            assert self.record(step) == self.passed.get(step)

    def teardown(self) -> None:
        if hasattr(self, "tool"):
            self.tool.close()
            shutil.rmtree(self.folder)


@pytest.mark.usefixtures("steps_for_tests")
def test_a_step_runs_when_what_it_reads_has_changed_since_it_passed_and_only_then() -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=8, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
