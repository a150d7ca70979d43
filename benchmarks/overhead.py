"""What a run costs over the same commands in a shell script, and what a run costs in which nothing changed.

A project with 20 steps, one after the other, each of which reads all of its 200 files and calls one program: the
SHA-256 of 2 GB of zeros, some seconds of work for one core. A shell script calls the same 20 programs. Each is between
two looks at the clock, so that the time between programs can be told from theirs. Both in turns; run it with the Python
of `.venv`. As its argument may be given how many MB each program reads.
"""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

STEPS = 20
FILES = 200
ROUNDS = 2
UNCHANGED_ROUNDS = 10
MEGABYTES = 2000

TOOL = str(Path(sys.executable).with_name("pipeline-tools"))
# In the place of the real steps, in every process that has its folder on PYTHONPATH.
INSTEAD = """
from pathlib import Path
from pipeline_tools import steps
from pipeline_tools.process import run
from pipeline_tools.step import Step, StepInputs

NAMES = [f"step{number:02}" for number in range(%d)]

def do(ctx):
    run(["sh", Path(__file__).parent / "program.sh"], timeout=600, log=ctx.log)
    return {"done": True}

made = {
    name: Step(name=name, summary="call a program", stage=name, inputs=StepInputs, outputs={}, example="", run=do,
               needs=tuple(NAMES[max(0, at - 1) : at]))
    for at, name in enumerate(NAMES)
}
steps.registry = lambda: made

from pipeline_tools import plan

plan.KINDS["library"] = tuple(NAMES)
"""


def make(folder: Path, megabytes: int) -> Path:
    """The project, and beside it the program and the script; returns the project's folder."""
    with (folder / "large").open("wb") as file:
        file.truncate(megabytes * 1_000_000)
    clock = f"date +%s.%N >>{shlex.quote(str(folder))}/clock"
    program = f"{clock}\nsha256sum {shlex.quote(str(folder))}/large\n{clock}\n"
    (folder / "program.sh").write_text(program)
    (folder / "script.sh").write_text("set -e\n" + f"sh {shlex.quote(str(folder))}/program.sh\n" * STEPS)
    (folder / "sitecustomize.py").write_text(INSTEAD % STEPS)
    project = folder / "project"
    (project / "src").mkdir(parents=True)
    (project / "pipeline.yml").write_text("kind: library\nname: sample\nrun: {jobs: 1}\n")
    for number in range(FILES):
        (project / f"src/{number}.py").write_text(f"number = {number}\n" * 50)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "first"]):
        subprocess.run([*git, *words], cwd=project, check=True)
    return project


def seconds(argv: Sequence[str], project: Path) -> float:
    """Wall time of a command in the project, in seconds."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PIPELINE_TOOLS_")}
    begun = time.time()
    subprocess.run(
        argv,
        cwd=project,
        env={**inherited, "PYTHONPATH": str(project.parent)},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.time() - begun


def between(project: Path, argv: Sequence[str]) -> tuple[float, list[float], float]:
    """Run the 20 programs.

    Returns:
        Seconds in all; before the first program, and between each of the others and the one before it; after the last.
    """
    clock = project.parent / "clock"
    clock.unlink(missing_ok=True)
    begun = time.time()
    whole = seconds(argv, project)
    ended = time.time()
    times = [begun, *map(float, clock.read_text().split()), ended]
    gaps = [two - one for one, two in pairwise(times)][::2]
    assert len(gaps) == STEPS + 1
    return whole, gaps[:-1], gaps[-1]


def main() -> None:
    """Print both, and what lies between."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else MEGABYTES
    with tempfile.TemporaryDirectory(prefix="pipeline-tools-") as scratch:
        project = make(Path(scratch), megabytes)
        script, run = ["sh", str(project.parent / "script.sh")], [TOOL, "run", "--force"]
        seconds([TOOL, "run"], project)
        pairs = [(between(project, script), between(project, run)) for _ in range(ROUNDS)]
        by_hand, ours = (statistics.median(each[which][0] for each in pairs) for which in (0, 1))
        print(f"shell script, {STEPS} programs     {by_hand:7.2f} s")
        print(f"pipeline-tools run --force    {ours:7.2f} s, {100 * (ours / by_hand - 1):+.1f} %")
        for name, which in (("script", 0), ("run", 1)):
            gaps = [1000 * gap for each in pairs for gap in each[which][1][1:]]
            first = 1000 * statistics.median(each[which][1][0] for each in pairs)
            last = 1000 * statistics.median(each[which][2] for each in pairs)
            print(
                f"{name:6} between two programs: median {statistics.median(gaps):4.0f} ms, at most {max(gaps):4.0f}; "
                f"before the first {first:4.0f}, after the last {last:4.0f}"
            )
        rounds = range(UNCHANGED_ROUNDS)
        times = [(seconds([TOOL, "--version"], project), seconds([TOOL, "run"], project)) for _ in rounds]
        start, unchanged = (statistics.median(each[which] for each in times) for which in (0, 1))
        print(f"pipeline-tools --version      {start * 1000:5.0f} ms")
        print(f"a run, nothing changed        {unchanged * 1000:5.0f} ms, {(unchanged - start) * 1000:+.0f}")


if __name__ == "__main__":
    main()
