"""Takes the files that `capture` has closed to Artifactory: a sidecar of the service, ``python3 -m servicio.upload``.

A process of its own, so that the one that reads what strangers send has neither the password nor a way out.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import logging.config
import signal
import socket
import sys
import threading
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

from servicio import logs
from servicio.capture import CLOSED, close_left
from servicio.settings import Settings, SettingsError, variable

TIMEOUT = 10.0  # of one file, in seconds without a sign of the server

log = logging.getLogger("servicio.upload")


class Upload:
    """Sends closed files to ``upload_url``/DAY/HOST/ and removes those that have arrived.

    Raises:
        SettingsError: a setting is missing.
    """

    def __init__(self, settings: Settings):
        missing = [variable(name) for name in ("capture_dir", "upload_url") if not getattr(settings, name)]
        if missing:
            raise SettingsError("\n".join(f"{name} is not set" for name in missing))
        assert settings.capture_dir is not None and settings.upload_url is not None
        self._folder = settings.capture_dir
        self._url = str(settings.upload_url).rstrip("/")
        self._headers = {"Content-Type": "application/x-ndjson", "User-Agent": "servicio"}
        if settings.upload_username is not None:
            password = settings.upload_password.get_secret_value() if settings.upload_password else ""
            user = base64.b64encode(f"{settings.upload_username}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {user}"

    def run(self, stop: threading.Event, interval: float) -> int:
        """Send every ``interval`` seconds; when ``stop`` is set, what is left, once; the files that stayed behind."""
        while not stop.wait(interval):
            self.send()
        close_left(self._folder)  # the service has ended
        return self.send()

    def send(self) -> int:
        """Send what is closed; returns how many files stay for the next time."""
        files = sorted(self._folder.glob(f"*{CLOSED}"))
        for number, file in enumerate(files):
            try:
                self._put(file)
            except OSError as error:
                # an HTTPError or URLError, too; the next file would not fare better
                log.error("%d files wait: %s could not be sent: %s", len(files) - number, file.name, error)
                return len(files) - number
            file.unlink()
            log.info("sent %s", file.name)
        return 0

    def _put(self, file: Path) -> None:
        """The same file again has the same address, so that one that was sent and not removed is not there twice."""
        day = file.name.removeprefix("captura-")[:8]
        content = file.read_bytes()
        headers = {**self._headers, "X-Checksum-Sha256": hashlib.sha256(content).hexdigest()}
        url = f"{self._url}/{day}/{socket.gethostname()}/{file.name}"
        put = urllib.request.Request(url, data=content, method="PUT", headers=headers)  # noqa: S310 — Settings saw to it
        with urllib.request.urlopen(put, timeout=TIMEOUT) as answer:  # noqa: S310
            if answer.status not in (HTTPStatus.OK, HTTPStatus.CREATED):
                raise OSError(f"the server answered {answer.status}")


def main() -> int:
    """Send until SIGTERM; returns the exit code: 0, 1 when files stayed behind, 2 when a setting cannot be used."""
    try:
        settings = Settings.from_environment()
        upload = Upload(settings)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    logging.config.dictConfig(logs.configuration(settings.log_level))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return 1 if upload.run(stop, settings.upload_interval) else 0


if __name__ == "__main__":
    sys.exit(main())
