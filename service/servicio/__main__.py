"""``python3 -m servicio``: serve; exit code 2 when a setting cannot be used."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from servicio.settings import Settings, SettingsError


def main() -> int:
    """Serve with the settings of the environment; returns the exit code."""
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    # Shared memory: it is there even where the root file system is read-only. prometheus-client reads the variable when
    # it is imported.
    shared = Path("/dev/shm")  # noqa: S108
    counts = tempfile.mkdtemp(prefix="servicio-", dir=shared if os.access(shared, os.W_OK) else None)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = counts
    from servicio import server

    server.run(settings, Path(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
