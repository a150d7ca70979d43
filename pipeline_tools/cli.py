"""The command line: arguments in, exit code out. The one place that catches errors.

Nothing heavy is imported here at the top: `pipeline-tools --help` must answer at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline_tools import __version__

if TYPE_CHECKING:
    from pipeline_tools.config.layers import Resolved
    from pipeline_tools.config.schema import Config
    from pipeline_tools.plan import Plan, PlannedStep

CHECKOUT = Path(__file__).resolve().parent.parent
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class LazyGroup(click.Group):
    """A group with one subgroup that lives in the checkout: the laboratory, which is not part of the package."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, the laboratory's included."""
        return sorted([*super().list_commands(ctx), "lab"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command; the laboratory's group is loaded when it is asked for."""
        if cmd_name == "lab":
            return _lab_group(whole="lab" in sys.argv[1:3])
        return super().get_command(ctx, cmd_name)


def _lab_group(*, whole: bool) -> click.Command:
    summary = "The whole platform on this machine, from real parts."
    if not whole:  # only its name and summary are wanted
        return click.Group("lab", help=summary)
    if not (CHECKOUT / "lab" / "commands.py").is_file():
        from pipeline_tools.errors import ConfigError

        raise ConfigError(
            "The laboratory is not part of the installed package.",
            hint="Clone the pipeline-tools repository and run `pipeline-tools lab` from its checkout.",
        )
    sys.path.insert(0, str(CHECKOUT))
    from lab.commands import lab

    group: click.Command = lab
    return group


def _project_option(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set a key; wins over every file."),
        click.option(
            "--platform",
            type=click.Path(path_type=Path),
            help="Platform file (also PIPELINE_TOOLS_PLATFORM).",
        ),
        click.option(
            "--project",
            type=click.Path(path_type=Path, file_okay=False, exists=True, resolve_path=True),
            default=".",
            help="Folder with pipeline.yml; default: here.",
        ),
    ):
        command = option(command)
    return command


def _run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--log-format", type=click.Choice(["auto", "plain", "json"]), default="auto", show_default=True),
        click.option("--quiet", "-q", is_flag=True, help="Show how each step ends, not its output."),
        click.option("--force", is_flag=True, help="Run also what has not changed."),
        click.option("--approve", is_flag=True, help="Approve deployments that need it (production)."),
        click.option("--environment", metavar="NAME", help="Leave out the steps of other environments."),
    ):
        command = option(command)
    return _project_option(command)


@click.group(cls=LazyGroup, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="pipeline-tools")
def cli() -> None:
    """Carry a service from source to production: the same steps on a laptop and in Jenkins.

    \b
    pipeline-tools plan               what would run, and in which order
    pipeline-tools run                the whole pipeline, up to the first approval
    pipeline-tools run --approve      the same, to production
    pipeline-tools step test          one step
    pipeline-tools config explain scan.namespace

    \b
    Exit codes: 0 passed, 1 defect of this tool, 2 configuration or usage, 3 quality (tests, gate),
    4 infrastructure, 5 credentials, 6 deployment failed, 130 interrupted.
    """


@cli.command()
@click.argument("steps", nargs=-1, metavar="[STEP]...")
@click.option("--until", metavar="STEP", help="Stop after this step.")
@_run_options
def run(steps: tuple[str, ...], until: str | None, **options: Any) -> int:
    """Run the pipeline, or the steps named. What has not changed since it passed is not repeated.

    An environment that needs an approval is deployed to only with --approve; without it the run ends before it.
    """
    return _execute(steps, until=until, strict=bool(steps), **options)


@cli.command()
@click.argument("name")
@_run_options
def step(name: str, **options: Any) -> int:
    """Run one step: `step deploy --environment test`, or `step deploy-test`."""
    return _execute((name,), until=None, strict=True, **options)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="As Jenkins reads it.")
@_project_option
def plan(as_json: bool, project: Path, platform: Path | None, settings: tuple[str, ...]) -> int:
    """Show the stages and steps of the pipeline, in order; nothing is run."""
    import json

    made, _ = _plan(project, platform, settings)
    if as_json:
        click.echo(json.dumps(made.as_json(), indent=2, ensure_ascii=False))
        return 0
    click.echo(f"{made.project} ({made.kind})")
    for stage in made.stages:
        notes = [
            *(["needs approval"] if stage.approval else []),
            *([f"lock {stage.lock}"] if stage.lock else []),
        ]
        click.echo(f"\n{stage.name}" + (f"  [{', '.join(notes)}]" if notes else ""))
        for branch in stage.branches:
            for planned in branch:
                click.echo(f"  {planned.id:<14} {planned.summary}")
    return 0


@cli.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@click.argument("key")
@click.option("--environment", metavar="NAME", help="As this environment sees it.")
@_project_option
def explain(key: str, environment: str | None, project: Path, platform: Path | None, settings: tuple[str, ...]) -> int:
    """Print the value of KEY (such as scan.namespace), where it was set and what it overrode."""
    from pipeline_tools.config.explain import explain as lines
    from pipeline_tools.config.layers import load

    for line in lines(load(project, platform=platform, environment=environment, settings=settings), key):
        click.echo(line)
    return 0


@cli.command()
@_project_option
def doctor(project: Path, platform: Path | None, settings: tuple[str, ...]) -> int:
    """Check that everything the project's pipeline needs is there: tools, servers, credentials."""
    from pipeline_tools.doctor import examine

    made, configuration = _plan(project, platform, settings)
    findings = examine(made, configuration)
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        click.echo(f"{'✔' if finding.error is None else '✘'} {finding.name:<{width}}  {finding.says}")
    failures = [finding.error for finding in findings if finding.error is not None]
    return failures[0].exit_code if failures else 0


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the completion script for a shell: `eval "$(pipeline-tools completion bash)"`."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(cli, {}, "pipeline-tools", "_PIPELINE_TOOLS_COMPLETE").source())
    return 0


@cli.command(hidden=True)
@click.option("--check", is_flag=True, help="Fail when a file is not as it would be generated.")
def generate(check: bool) -> int:
    """Write the files that are made from the steps' declarations (for those who work on pipeline-tools)."""
    from pipeline_tools.generate import generate as write

    return write(CHECKOUT, check=check)


def _plan(
    project: Path, platform: Path | None, settings: tuple[str, ...]
) -> tuple[Plan, Callable[[str | None], Config]]:
    """The plan, and a function that gives the configuration of an environment (loaded once each)."""
    from functools import cache

    from pipeline_tools import plan as planning
    from pipeline_tools.config.layers import load

    @cache
    def resolved(environment: str | None) -> Resolved:
        return load(project, platform=platform, environment=environment, settings=settings)

    return planning.make(resolved(None).config), lambda environment: resolved(environment).config


def _execute(
    steps: tuple[str, ...],
    *,
    until: str | None,
    strict: bool,
    project: Path,
    platform: Path | None,
    settings: tuple[str, ...],
    environment: str | None,
    approve: bool,
    force: bool,
    quiet: bool,
    log_format: Any,
) -> int:
    from pipeline_tools import display
    from pipeline_tools import plan as planning
    from pipeline_tools.masking import mask_strays
    from pipeline_tools.report.terminal import summary
    from pipeline_tools.run import Request, execute

    mask_strays()
    made, configuration = _plan(project, platform, settings)
    chosen: list[PlannedStep] = planning.select(made, steps=steps, until=until, environment=environment)
    for name in {planned.environment for planned in chosen}:
        configuration(name)  # a mistake in a later environment's section is told before anything runs
    request = Request(
        project=project,
        plan=made,
        steps=chosen,
        configuration=configuration,
        approved=approve,
        strict_approval=strict or environment is not None,
        force=force,
    )
    shown = display.make(log_format, quiet=quiet)
    record = execute(request, shown)
    if log_format != "json":
        summary(record)
    return record.exit_code


def _tell(error: Any) -> None:
    """Print an error as a person wants it: what happened, what the tool said, what to do."""
    from pipeline_tools.masking import mask

    lines = [click.style(f"{error.kind} error: ", fg="red", bold=True) + error.message]
    lines += [f"  {line}" for line in error.details.splitlines()]
    lines += [f"→ {error.hint}"] if error.hint else []
    lines += [f"→ {error.link}"] if error.link else []
    click.echo(mask("\n".join(lines)), err=True)


def _terminate(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _catching(function: Callable[[], int | None]) -> Callable[[], int]:
    @wraps(function)
    def caught() -> int:
        from pipeline_tools.errors import EXIT_DEFECT, Interrupted, PipelineError

        try:
            return function() or 0
        except PipelineError as error:
            _tell(error)
            return error.exit_code
        except (KeyboardInterrupt, click.Abort):
            click.echo("Interrupted.", err=True)
            return Interrupted.exit_code
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except BrokenPipeError:
            # the reader of our output went away (`| head`): nothing is left to say
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return EXIT_DEFECT
        except Exception:
            import traceback

            from pipeline_tools.masking import mask

            click.echo(mask(traceback.format_exc()), err=True)
            click.echo("This is a defect of pipeline-tools: please report it with the lines above.", err=True)
            return EXIT_DEFECT

    return caught


def main() -> None:
    """The entry point of ``pipeline-tools``."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(_catching(lambda: cli.main(prog_name="pipeline-tools", standalone_mode=False))())
