"""``python3 -m servicio``: serve; exit code 2 when a setting cannot be used."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

# Before the imports, which take a while: the first process of a container does not get a signal that it has no handler
# for. `server.run` sets its own.
for one in (signal.SIGTERM, signal.SIGINT):
    signal.signal(one, lambda *_: os._exit(0))

from servicio import counts  # noqa: E402
from servicio.settings import Settings, SettingsError  # noqa: E402


def main() -> int:
    """Serve with the settings of the environment; returns the exit code."""
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    # shared memory: it is there even where the root file system is read-only
    shared = Path("/dev/shm")  # noqa: S108
    folder = counts.make(shared if os.access(shared, os.W_OK) else None)
    from servicio import server  # it imports prometheus-client, which looks for that folder

    server.run(settings, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
