"""`pipeline-tools jenkins`. Nothing heavy is imported at the top: `--help` must answer at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipeline_tools.config.schema import Jenkins

# Exit code of `seed --check` when something differs: what is there is not as it should be.
EXIT_DIFFERS = 3

_PLATFORM = click.option(
    "--platform", type=click.Path(path_type=Path), help="Platform file (also PIPELINE_TOOLS_PLATFORM)."
)


@click.group()
def jenkins() -> None:
    """Jobs as code; start a build and watch it; check a Jenkinsfile."""


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


@jenkins.command()
@click.argument("job")
@click.option("--wait", is_flag=True, help="Show the console, and exit as the build ends.")
@click.option("--commit", metavar="COMMIT", help="Start no second build for this commit: follow the one it has.")
@click.option("--force", is_flag=True, help="With --commit: start a build all the same.")
@click.option("--parameter", "-p", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of the build.")
@click.option(
    "--patience",
    default="10m",
    show_default=True,
    metavar="DURATION",
    help="How long Jenkins may not answer, as when it is restarted.",
)
@_PLATFORM
def trigger(
    job: str,
    wait: bool,
    commit: str | None,
    force: bool,
    parameters: tuple[str, ...],
    patience: str,
    platform: Path | None,
) -> int:
    """Start a build of JOB: a full name such as claims/service/master.

    \b
    Exit codes with --wait: 0 SUCCESS; 3 UNSTABLE; of a FAILURE the code that the build's error.json
    names, or else 3; 130 ABORTED, NOT_BUILT, or cancelled in the queue.
    """
    from pipeline_tools.errors import ConfigError, Interrupted
    from pipeline_tools.jenkins.trigger import Asked, Build, Trigger
    from pipeline_tools.masking import mask_strays
    from pipeline_tools.step import duration
    from pipeline_tools.systems.jenkins import from_config

    mask_strays()
    try:
        seconds = duration(patience)
    except ValueError as error:
        raise ConfigError(f"--patience {patience}: {error}.") from error
    settings, _ = _settings(platform)
    controller = from_config(settings, patience=seconds, waiting=_tell)
    if commit and not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", commit):
        # one commit must have one name: Jenkins joins only requests that are alike
        raise ConfigError(f"--commit {commit}: write the whole hash of a commit, as `git rev-parse HEAD` prints it.")
    asked = Asked(job=job.strip("/"), parameters=_values(parameters), commit=commit, force=force)
    one = Trigger(controller, asked, say=_tell, show=click.echo)
    began = one.start()
    if isinstance(began, Build):
        _tell(f"The commit has a build already: {began.url}")
    else:
        _tell(f"In the queue: {controller.url}/queue/item/{began}/")
    if not wait:
        return 0
    try:
        build = one.wait(began)
    except KeyboardInterrupt:
        raise Interrupted("Interrupted: nobody watches the build any more.", hint=one.left_running(began)) from None
    failure = one.judge(build)
    if failure is not None:
        raise failure
    _tell(f"{asked.job} #{build.number} passed.")
    return 0


@jenkins.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default="Jenkinsfile")
@_PLATFORM
def lint(file: Path, platform: Path | None) -> int:
    """Check a Jenkinsfile at the server; nothing of it is run. Exit code 2 when it is wrong."""
    from pipeline_tools.errors import ConfigError
    from pipeline_tools.jenkins.lint import check
    from pipeline_tools.systems.jenkins import from_config

    settings, _ = _settings(platform)
    wrong = check(from_config(settings, waiting=_tell), file)
    if wrong:
        first, *others = wrong
        raise ConfigError(first, details="\n".join(others))
    click.echo(f"{file}: no errors")
    return 0


def _settings(platform: Path | None) -> tuple[Jenkins, Callable[..., str]]:
    """The section `jenkins`, and a function that tells where a key of it was set."""
    from pipeline_tools import secrets
    from pipeline_tools.config.layers import system
    from pipeline_tools.config.schema import Jenkins, Kubernetes

    settings, places = system("jenkins", platform)
    cluster, _ = system("kubernetes", platform)
    assert isinstance(settings, Jenkins)
    assert isinstance(cluster, Kubernetes)
    secrets.read_from(cluster)

    def place(*path: str) -> str:
        found: Any = next((places[path[:end]] for end in range(len(path), 0, -1) if path[:end] in places), "jenkins")
        return str(found)

    return settings, place


def _values(parameters: tuple[str, ...]) -> dict[str, str]:
    from pipeline_tools.errors import ConfigError

    found = {}
    for each in parameters:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise ConfigError(f"--parameter {each}: expected NAME=VALUE.")
        found[name] = value
    return found


def _tell(line: str) -> None:
    from pipeline_tools.masking import mask

    click.echo(mask(line), err=True)
