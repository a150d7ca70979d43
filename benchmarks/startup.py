"""How long `pipeline-tools --help` takes, beside `python -c pass`, in turns: run it with the Python of `.venv`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 20


def seconds(argv: list[str]) -> float:
    """Wall time of one run of ``argv``, in seconds."""
    begun = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    """Run both in turns and print medians and their ratio."""
    baseline = [sys.executable, "-c", "pass"]
    ours = [str(Path(sys.executable).with_name("pipeline-tools")), "--help"]
    for argv in (baseline, ours):
        seconds(argv)
    pairs = [(seconds(baseline), seconds(ours)) for _ in range(ROUNDS)]
    base, help_ = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"python -c pass          {base * 1000:6.1f} ms")
    print(f"pipeline-tools --help   {help_ * 1000:6.1f} ms")
    print(f"ratio                   {help_ / base:6.2f}")


if __name__ == "__main__":
    main()
