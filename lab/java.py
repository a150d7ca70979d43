"""Finding a Java that SonarQube's server can run on."""

from __future__ import annotations

import os
import re
import shutil
from functools import cache
from pathlib import Path

from pipeline_tools import process

# SonarQube needs 21; Java 17, which many machines have, is refused by it.
OLDEST = 21


@cache
def find() -> Path | None:
    """The newest Java of the machine that is new enough and has the module that Elasticsearch wants, or None."""
    homes = [Path(home) for name in ("JAVA_HOME", "JDK_HOME") if (home := os.environ.get(name))]
    homes += sorted(Path("/usr/lib/jvm").glob("*"), reverse=True)
    found = [home / "bin" / "java" for home in homes]
    found += [Path(program)] if (program := shutil.which("java")) else []
    versions = [(_version(java), java.resolve()) for java in found if java.is_file()]
    good = [entry for entry in versions if entry[0] >= OLDEST]
    return max(good)[1] if good else None


def _version(java: Path) -> int:
    """The major version; 0 when it lacks ``jdk.jdi`` (a runtime without it cannot start Elasticsearch)."""
    modules = process.run([java, "--list-modules"], timeout=30, ok=range(256)).stdout
    match = re.search(r"^java\.base@(\d+)", modules, re.MULTILINE)
    return int(match[1]) if match and "\njdk.jdi@" in modules else 0
