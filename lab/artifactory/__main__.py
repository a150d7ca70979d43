"""``python -m lab.artifactory --config FILE``: serve until SIGTERM."""

from __future__ import annotations

from pathlib import Path

import click
import uvicorn

from lab.artifactory.app import create
from lab.artifactory.settings import read


@click.command()
@click.option("--config", type=click.Path(path_type=Path, exists=True), required=True, help="YAML configuration.")
def main(config: Path) -> None:
    """Serve Artifactory's API."""
    settings = read(config)
    app = create(settings)
    host, _, port = settings.listen.rpartition(":")
    uvicorn.run(app, host=host, port=int(port), log_level="warning", access_log=False, timeout_graceful_shutdown=5)


main()
