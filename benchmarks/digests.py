"""How long the digest of what a step reads takes, beside one `git status` of the same repository, in turns.

Of 100,000 small files, and of 5 GB in 5,000 files; each of them tracked, or tracked but converted when it is checked
out (`text=auto`), so that git's word is not enough and every file is looked at. Once all is warm, and the first time.
Run it with the Python of `.venv`; how many files, and how many MB the large ones have together, may be given as
arguments. It takes some minutes, most of them for git to store the files, and twice as much disk as the large files.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipeline_tools import ledger
from pipeline_tools.reads import Reads

FILES, MEGABYTES = 100_000, 5_000
IN_FOLDER = 100
ROUNDS = 7
STATUS = ["git", "status", "--porcelain"]


def git(folder: Path, *words: str) -> None:
    """Run git as someone."""
    options = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "core.compression=0", "-c", "gc.auto=0"]
    subprocess.run(["git", *options, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def small(folder: Path, count: int) -> None:
    """Files of some hundred bytes, a hundred in a folder."""
    for number in range(count):
        file = folder / f"package{number // 10_000}/module{number // IN_FOLDER}/file{number}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"number = {number}\n" * 20)


def large(folder: Path, megabytes: int) -> None:
    """Files of random bytes, one MB each."""
    randomness = random.Random(5)
    for number in range(megabytes):
        file = folder / f"images{number // IN_FOLDER}/image{number}.bin"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(randomness.randbytes(1_000_000))


def digest(folder: Path) -> str:
    """What a run asks for before a step."""
    return ledger.digest({"files": Reads(folder).of(["."])})


def seconds(work: Callable[[], object]) -> float:
    """Wall time, in seconds."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def compare(name: str, folder: Path) -> None:
    """Print one line."""
    first = seconds(lambda: digest(folder))
    time.sleep(3)  # what has only just changed is not taken to be settled
    digest(folder)
    pairs = [
        (seconds(lambda: subprocess.run(STATUS, cwd=folder, check=True)), seconds(lambda: digest(folder)))
        for _ in range(ROUNDS)
    ]
    status, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"{name:32} git status {status * 1000:6.0f} ms, digest {ours * 1000:6.0f} ms: {ours / status:.2f} times; "
        f"the first time {first * 1000:.0f} ms"
    )


def main() -> None:
    """Make the repositories and print a line for each."""
    files, megabytes = (int(word) for word in sys.argv[1:3]) if len(sys.argv) > 2 else (FILES, MEGABYTES)
    for name, fill, size in ((f"{files:,} files", small, files), (f"{megabytes / 1000:g} GB", large, megabytes)):
        with tempfile.TemporaryDirectory(prefix="pipeline-tools-") as scratch:
            folder = Path(scratch)
            git(folder, "init", "--quiet")
            (folder / ".pipeline").mkdir()
            (folder / ".pipeline/.gitignore").write_text("*\n")
            fill(folder, size)
            git(folder, "add", ".")
            git(folder, "commit", "--quiet", "--message", "first")
            subprocess.run(STATUS, cwd=folder, check=True)
            compare(f"{name}, tracked", folder)
            (folder / ".git/info/attributes").write_text("* text=auto\n")
            compare(f"{name}, converted", folder)


if __name__ == "__main__":
    main()
