"""Publish wheels to the Artifactory of a platform file: ``python -m lab.publish PLATFORM WHEEL...``.

``python -m lab.publish PLATFORM --has NAME VERSION`` exits with 0 when it has that version already.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import yaml

from pipeline_tools.config.schema import Artifactory
from pipeline_tools.systems.artifactory import from_config


def main(platform: Path, wheels: list[Path]) -> None:
    """Upload each wheel where PyPI clients look for it; the same bytes again are no change, others are refused."""
    settings = Artifactory.model_validate(yaml.safe_load(platform.read_text(encoding="utf-8"))["artifactory"])
    artifactory = from_config(settings)
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        target = f"{settings.pypi}/{name.replace('_', '-')}/{version}/{wheel.name}"
        deployed = artifactory.upload(wheel, target, _properties(wheel))
        print(f"published {wheel.name} sha256:{deployed.sha256}")  # noqa: T201


def _properties(wheel: Path) -> dict[str, str]:
    """What the model was made from, as its wheel says it."""
    with zipfile.ZipFile(wheel) as archive:
        name = next((name for name in archive.namelist() if name.endswith("/linaje.json")), None)
        about = json.loads(archive.read(name)) if name else {"code": {}, "data": {}, "metrics": {}}
    commits = {"vcs.revision": about["code"].get("commit"), "lineage.data.revision": about["data"].get("commit")}
    figures = about["metrics"].get("hand_written", {})
    metrics = {f"lineage.metric.{figure}": str(value) for figure, value in figures.items()}
    return {key: value for key, value in commits.items() if value} | metrics


def has(platform: Path, name: str, version: str) -> bool:
    """Whether a version of a package is published."""
    settings = Artifactory.model_validate(yaml.safe_load(platform.read_text(encoding="utf-8"))["artifactory"])
    return bool(from_config(settings).children(f"{settings.pypi}/{name}/{version}"))


if __name__ == "__main__":
    if sys.argv[2] == "--has":
        sys.exit(not has(Path(sys.argv[1]), sys.argv[3], sys.argv[4]))
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
