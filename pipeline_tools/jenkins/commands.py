"""`pipeline-tools jenkins`. Nothing heavy is imported at the top: `--help` must answer at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipeline_tools.config.jenkins import Jenkins

# Exit code of `seed --check` when something differs: what is there is not as it should be.
EXIT_DIFFERS = 3

_PLATFORM = click.option(
    "--platform", type=click.Path(path_type=Path), help="Platform file (also PIPELINE_TOOLS_PLATFORM)."
)


@click.group()
def jenkins() -> None:
    """Jobs as code."""


@jenkins.command()
@click.option("--check", is_flag=True, help="Change nothing: show what differs, and exit with 3 if anything does.")
@click.option("--prune", is_flag=True, help="Remove what was seeded and is not in the file any more, with its builds.")
@_PLATFORM
def seed(check: bool, prune: bool, platform: Path | None) -> int:
    """Make Jenkins' folders, jobs and views as the platform file says (section `jenkins`).

    What pipeline-tools did not make is not touched. A second time nothing is changed.
    """
    from pipeline_tools.jenkins import seed as seeding
    from pipeline_tools.masking import mask
    from pipeline_tools.systems.jenkins import from_config

    settings, place = _settings(platform)
    controller = from_config(settings, waiting=_tell)
    report = seeding.compare(controller, settings, place, prune=prune)
    todo = [change for change in report.changes if change.action != "left"]
    for change in report.changes:
        if not check:
            seeding.apply(controller, change)
        click.echo(mask(str(change)))
        for line in change.lines if check else ():
            click.echo(mask(f"    {line}"))
    click.echo(f"{len(todo)} {'differ' if check else 'changed'}, {report.same} as they should be")
    return EXIT_DIFFERS if check and todo else 0


def _settings(platform: Path | None) -> tuple[Jenkins, Callable[..., str]]:
    """The section `jenkins`, and a function that tells where a key of it was set."""
    from pipeline_tools.config.jenkins import Jenkins
    from pipeline_tools.config.layers import system

    settings, places = system("jenkins", platform)
    assert isinstance(settings, Jenkins)

    def place(*path: str) -> str:
        found: Any = next((places[path[:end]] for end in range(len(path), 0, -1) if path[:end] in places), "jenkins")
        return str(found)

    return settings, place


def _tell(line: str) -> None:
    from pipeline_tools.masking import mask

    click.echo(mask(line), err=True)
