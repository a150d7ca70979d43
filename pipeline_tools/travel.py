"""The ledger on its way: to the repository manager after a run and back before the next, which may be elsewhere.

What travels of each step is the last time that it passed, and the files that it left then. Each journey is an artifact
of its own, ``pipeline-tools/ledgers/PROJECT/BRANCH/TIME-RUN.tar.gz`` in the generic repository: nothing is overwritten,
so no permission to delete is needed.
"""

from __future__ import annotations

import re
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from pipeline_tools.config.schema import Config
from pipeline_tools.errors import InfrastructureError
from pipeline_tools.ledger import FOLDER, OURS, read_json
from pipeline_tools.systems.artifactory import from_config


def _place(config: Config, branch: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", branch or "detached")
    return f"{config.artifactory.generic}/pipeline-tools/ledgers/{config.name}/{safe}"


def push(project: Path, config: Config, branch: str, run_id: str) -> str:
    """Publish the ledger; returns its address.

    Raises:
        PipelineError: the repository manager does not take it.
    """
    ledger = project / FOLDER
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{run_id}.tar.gz"
    with tempfile.TemporaryDirectory(prefix="pipeline-tools-") as folder:
        packed = Path(folder) / name
        with tarfile.open(packed, "w:gz") as archive:
            for record in sorted(ledger.glob("passed/*.json")):
                archive.add(record, record.relative_to(ledger).as_posix())
                content = read_json(record) or {}
                left = ledger / "runs" / str(content.get("run")) / "steps" / record.stem
                for file in sorted(left.rglob("*")):
                    if file.is_file() and file.name not in OURS:
                        archive.add(file, file.relative_to(ledger).as_posix())
        deployed = from_config(config.artifactory).upload(packed, f"{_place(config, branch)}/{name}", {"run": run_id})
    return deployed.url


def pull(project: Path, config: Config, branch: str) -> list[str]:
    """Bring the newest published ledger of the branch; of each step the record that is newer counts.

    Returns:
        The ids of the steps of which a record was taken over; empty also when nothing was published yet.

    Raises:
        PipelineError: the repository manager does not give it.
    """
    server = from_config(config.artifactory)
    place = _place(config, branch)
    names = sorted(name for name in server.children(place) if name.endswith(".tar.gz"))
    if not names:
        return []
    ledger = project / FOLDER
    taken = []
    with tempfile.TemporaryDirectory(prefix="pipeline-tools-") as folder:
        packed, unpacked = Path(folder) / "ledger.tar.gz", Path(folder) / "ledger"
        server.download(f"{place}/{names[-1]}", packed)
        try:
            with tarfile.open(packed) as archive:
                archive.extractall(unpacked, filter="data")
        except tarfile.TarError as error:
            raise InfrastructureError(f"The ledger {names[-1]} is damaged.", details=str(error)) from error
        for record in sorted(unpacked.glob("passed/*.json")):
            new, old = read_json(record), read_json(ledger / "passed" / record.name)
            if not isinstance(new, dict) or (old and str(old.get("time")) >= str(new.get("time"))):
                continue
            came = unpacked / "runs" / str(new.get("run")) / "steps" / record.stem
            for file in came.rglob("*"):
                if file.is_file():
                    _move(file, ledger / file.relative_to(unpacked))
            _move(record, ledger / "passed" / record.name)  # last: a record whose files are not there is worth nothing
            taken.append(record.stem)
    return taken


def _move(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.new")
    beside.write_bytes(file.read_bytes())
    beside.replace(target)
