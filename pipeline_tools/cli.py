"""The command line: arguments in, exit code out. The one place that catches errors.

Nothing heavy is imported here at the top: `pipeline-tools --help` must answer at once.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from pipeline_tools import __version__

if TYPE_CHECKING:
    from pipeline_tools.config.layers import Resolved
    from pipeline_tools.config.schema import Config
    from pipeline_tools.plan import Plan, PlannedStep

CHECKOUT = Path(__file__).resolve().parent.parent
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class LazyGroup(click.Group):
    """A group with subgroups in modules of their own; one lives in the checkout: the laboratory, not in the package."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, those in other modules included."""
        return sorted([*super().list_commands(ctx), "jenkins", "lab"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command; the laboratory's group is loaded when it is asked for."""
        if cmd_name == "lab":
            return _lab_group(whole="lab" in sys.argv[1:3])
        if cmd_name == "jenkins":
            from pipeline_tools.jenkins.commands import jenkins

            return jenkins
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


_FOLDER = click.option(
    "--project",
    type=click.Path(path_type=Path, file_okay=False, exists=True, resolve_path=True),
    default=".",
    help="Folder with pipeline.yml; default: here.",
)


def _project_option(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set a key; wins over every file."),
        click.option(
            "--platform",
            type=click.Path(path_type=Path),
            help="Platform file (also PIPELINE_TOOLS_PLATFORM).",
        ),
        _FOLDER,
    ):
        command = option(command)
    return command


def _run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--log-format",
            type=click.Choice(["auto", "plain", "json"]),
            default="auto",
            show_default=True,
            help="How the run is told: live on a terminal, as plain lines, or as JSON lines.",
        ),
        click.option("--quiet", "-q", is_flag=True, help="Show how each step ends, not its output."),
        click.option("--verbose", "-v", is_flag=True, help="Show also why each step runs, and every event."),
        click.option("--run", "join", metavar="ID", help="Be part of a run that several commands make together."),
        click.option("--force", is_flag=True, help="Run also what has not changed."),
        click.option("--approved-by", "approver", metavar="NAME", help="Who approved, for the record."),
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
    pipeline-tools init               write a pipeline.yml for this repository
    pipeline-tools plan               what would run, and in which order
    pipeline-tools run                the whole pipeline, up to the first approval
    pipeline-tools run --approve      the same, to production
    pipeline-tools step test          one step
    pipeline-tools config explain scan.namespace
    pipeline-tools lineage pod --environment prod

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
    In a folder without a pipeline.yml those in the folders below it are run, one after the other.
    """
    from pipeline_tools.config.layers import projects
    from pipeline_tools.errors import Interrupted, PipelineError

    above = options.pop("project")
    codes = []
    for project in projects(above):
        if project != above:
            click.echo(f"── {project.relative_to(above)}", err=True)
        try:
            codes.append(_execute(steps, until=until, strict=bool(steps), project=project, **options))
        except PipelineError as error:
            _tell(error)
            codes.append(error.exit_code)
        if codes[-1] == Interrupted.exit_code:
            break
    return next((code for code in codes if code), 0)


@cli.command()
@click.argument("name")
@_run_options
def step(name: str, **options: Any) -> int:
    """Run one step: `step deploy --environment test`, or `step deploy-test`."""
    try:
        return _execute((name,), until=None, strict=True, **options)
    except Exception as error:
        if options["join"]:  # the run's other commands, and who waits for its record, must know
            from pipeline_tools.plan import id_of
            from pipeline_tools.run import refused
            from pipeline_tools.steps import registry

            environment = options["environment"]
            step_id = id_of(name, environment) if environment and name in registry() else name
            refused(options["project"], options["join"], step_id, error)
        raise


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="As Jenkins reads it.")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="With --json: write it to this file instead."
)
@click.option("--kind", metavar="KIND", help="Fail unless the project is of this kind.")
@click.option("--until", metavar="STEP", help="Stop after this step.")
@click.option("--environment", metavar="NAME", help="Leave out the steps of other environments.")
@click.option("--force", is_flag=True, help="With --json: the steps run also when nothing has changed.")
@_project_option
def plan(
    as_json: bool,
    output: Path | None,
    kind: str | None,
    until: str | None,
    environment: str | None,
    force: bool,
    project: Path,
    platform: Path | None,
    settings: tuple[str, ...],
) -> int:
    """Show the stages and steps of the pipeline, in order; nothing is run."""
    import json

    from pipeline_tools import ci
    from pipeline_tools.config.layers import projects
    from pipeline_tools.errors import ConfigError

    if output and not as_json:
        raise ConfigError("--output is for --json only.", hint="Give both, or send what is printed to a file.")
    if as_json:
        made, steps, configuration = _planned(
            project, platform, settings, until=until, environment=environment, kind=kind
        )
        asked = ci.caller(project, force=force, environ=os.environ)
        document = ci.document(made, steps, lambda name: configuration(name).config, asked)
        text = json.dumps(document, indent=2, ensure_ascii=False)
        if output is None:
            click.echo(text)
        else:
            from pipeline_tools.ledger import writing

            with writing(output):
                output.parent.mkdir(parents=True, exist_ok=True)
                output.write_text(text + "\n", encoding="utf-8")
        return 0
    for number, folder in enumerate(projects(project)):
        made, steps, _ = _planned(folder, platform, settings, until=until, environment=environment, kind=kind)
        click.echo("\n" * bool(number) + f"{made.project} ({made.kind})")
        for stage in made.stages:
            if not any(planned in steps for branch in stage.branches for planned in branch):
                continue
            notes = [
                *(["needs approval"] if stage.approval else []),
                *([f"lock {stage.lock}"] if stage.lock else []),
            ]
            click.echo(f"\n{stage.name}" + (f"  [{', '.join(notes)}]" if notes else ""))
            for branch in stage.branches:
                for planned in (each for each in branch if each in steps):
                    click.echo(f"  {planned.id:<14} {planned.summary}")
    return 0


@cli.command()
@click.option("--count", "-n", type=click.IntRange(min=1), default=20, show_default=True, help="How many, at most.")
@_FOLDER
def history(count: int, project: Path) -> int:
    """List the last runs, the newest first."""
    from rich.console import Console

    from pipeline_tools.ledger import Ledger
    from pipeline_tools.report.history import listing

    # a table is cut to the console's width, and a part of an id may be that of several runs
    listing(Ledger(project), Console(highlight=False, emoji=False, width=1000), count=count)
    return 0


@cli.command()
@click.argument("run_id", metavar="[RUN]", default="latest")
@_FOLDER
def show(run_id: str, project: Path) -> int:
    """Show a run: its id, the beginning of it, or `latest`."""
    from rich.console import Console

    from pipeline_tools.ledger import Ledger
    from pipeline_tools.report.history import details, find

    ledger = Ledger(project)
    details(ledger, find(ledger, run_id), Console(highlight=False, emoji=False, soft_wrap=True))
    return 0


@cli.command()
@click.argument("one", metavar="RUN")
@click.argument("other", metavar="[RUN]", default="latest")
@_FOLDER
def diff(one: str, other: str, project: Path) -> int:
    """Tell why steps ran again: what they read in one run and not, or otherwise, in another (default: the latest)."""
    from pipeline_tools.ledger import Ledger
    from pipeline_tools.report.history import difference, find

    ledger = Ledger(project)
    for line in difference(ledger, find(ledger, one), find(ledger, other)):
        click.echo(line)
    return 0


@cli.command()
@click.argument("kind", type=click.Choice(["request", "pod", "release", "image", "model", "commit"]))
@click.argument("name", required=False)
@click.option("--environment", metavar="NAME", help="Look in this environment only.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with the graph as well.")
@_project_option
def lineage(
    kind: str,
    name: str | None,
    environment: str | None,
    as_json: bool,
    html: Path | None,
    project: Path,
    platform: Path | None,
    settings: tuple[str, ...],
) -> int:
    """Follow a thing to what it was made from, down to the data's sources, and back to what runs.

    \b
    lineage pod --environment prod          the first pod of the project's release
    lineage pod prod/NAME                   that pod
    lineage release prod/NAME
    lineage image sha256:…                  or a tag, or HOST/REPOSITORY/NAME@sha256:…
    lineage model NAME==VERSION
    lineage commit 1a2b3c4d                 of data, of a model or of a service: what runs that came from it?
    lineage request https://HOST/…          ask, and follow the answer's headers
    lineage request FILE                    the headers of an answer that was saved (`curl -D FILE`); -: standard input

    Exit codes: 0 the chain is whole, 2 there is no such thing, 3 a link is missing (what is known is printed all the
    same), 4 or 5 a system did not answer, or refused us.
    """
    import json

    from pipeline_tools.lineage import answers, start
    from pipeline_tools.lineage.world import Systems

    _, configuration = _plan(project, platform, settings)
    world = Systems(project, lambda wanted: configuration(wanted).config, environment)
    if kind == "request":
        graph, key = start.answer(world, *answers.read(name))
    else:
        graph, key = start.trace(world, kind, name)
    if as_json:
        from pipeline_tools.masking import mask_values

        click.echo(json.dumps(mask_values({"start": key, **graph.as_json()}), indent=2, ensure_ascii=False))
    else:
        from rich.console import Console

        from pipeline_tools.lineage.show import table

        console = Console(highlight=False, emoji=False)
        console.width = max(console.width, 160) if not console.is_terminal else console.width
        table(graph, key, console)
    if html is not None:
        from pipeline_tools.ledger import writing
        from pipeline_tools.report.html import write_lineage

        with writing(html):
            write_lineage(graph, key, html)
    return graph.exit_code


@cli.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@click.argument("key", required=False)
@click.option("--environment", metavar="NAME", help="As this environment sees it.")
@_project_option
def explain(
    key: str | None, environment: str | None, project: Path, platform: Path | None, settings: tuple[str, ...]
) -> int:
    """Print the value of KEY (such as scan.namespace), where it was set, what it overrode and who locked it.

    Without KEY: every key that is set anywhere, and where; the defaults in the declarations are left out.
    """
    from pipeline_tools.config import explain as explaining
    from pipeline_tools.config.layers import load

    resolved = load(project, platform=platform, environment=environment, settings=settings)
    for line in explaining.explain(resolved, key) if key else explaining.overview(resolved):
        click.echo(line)
    return 0


@config.command("show")
@click.option("--resolved", is_flag=True, help="With every default: the whole as the steps see it.")
@click.option("--environment", metavar="NAME", help="As this environment sees it.")
@click.option("--json", "as_json", is_flag=True, help="As JSON instead of YAML.")
@_project_option
def show_config(
    resolved: bool,
    environment: str | None,
    as_json: bool,
    project: Path,
    platform: Path | None,
    settings: tuple[str, ...],
) -> int:
    """Print the configuration with all its layers merged. Credentials in it are references: it can be shown."""
    import json

    import yaml

    from pipeline_tools.config.explain import whole
    from pipeline_tools.config.layers import load

    loaded = load(project, platform=platform, environment=environment, settings=settings)
    shown = whole(loaded, defaults=resolved)
    if as_json:
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        click.echo(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True), nl=False)
    return 0


@cli.command()
@_project_option
def doctor(project: Path, platform: Path | None, settings: tuple[str, ...]) -> int:
    """Check that everything the project's pipeline needs is there: tools, servers, credentials."""
    from pipeline_tools.doctor import examine

    made, configuration = _plan(project, platform, settings)
    findings = examine(made, lambda environment: configuration(environment).config)
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


@cli.command()
@click.option(
    "--platform",
    type=click.Path(path_type=Path),
    help="Platform file (also PIPELINE_TOOLS_PLATFORM): what servers exist.",
)
@click.option(
    "--project",
    type=click.Path(path_type=Path, file_okay=False, exists=True, resolve_path=True),
    default=".",
    help="Folder to look at and to write to; default: here.",
)
def init(project: Path, platform: Path | None) -> int:
    """Look at a repository, and write a pipeline.yml and a Jenkinsfile with which `pipeline-tools run` works.

    A file that exists is left as it is, and that is no error: the command can be repeated. It also brings the schema
    for editors into .pipeline/, which git does not track. A folder with several projects gets a pipeline for each.
    """
    from pipeline_tools.init import write

    for line in write(project, platform=platform):
        click.echo(line)
    return 0


@cli.command()
@click.argument("form", type=click.Choice(["project", "platform"]), default="project")
def schema(form: Literal["project", "platform"]) -> int:
    """Print the JSON Schema of pipeline.yml, or of the platform file, with which an editor completes and checks it.

    \b
    pipeline-tools schema > pipeline.schema.json
    and as the first line of pipeline.yml:
    # yaml-language-server: $schema=pipeline.schema.json
    """
    from pipeline_tools.generate import schema_text

    click.echo(schema_text(form), nl=False)
    return 0


@cli.command(hidden=True)
@click.option("--check", is_flag=True, help="Fail when a file is not as it would be generated.")
def generate(check: bool) -> int:
    """Write the files that are made from the steps' declarations (for those who work on pipeline-tools)."""
    from pipeline_tools.generate import generate as write

    return write(CHECKOUT, check=check)


def _plan(
    project: Path, platform: Path | None, settings: tuple[str, ...]
) -> tuple[Plan, Callable[[str | None], Resolved]]:
    """The plan, and a function that gives the configuration of an environment (loaded once each)."""
    from functools import cache

    from pipeline_tools import plan as planning
    from pipeline_tools import secrets
    from pipeline_tools.config.layers import load

    @cache
    def resolved(environment: str | None) -> Resolved:
        return load(project, platform=platform, environment=environment, settings=settings)

    made = planning.make(lambda environment: resolved(environment).config)
    secrets.read_from(resolved(None).config.kubernetes)
    return made, resolved


def _planned(
    project: Path,
    platform: Path | None,
    settings: tuple[str, ...],
    *,
    until: str | None,
    environment: str | None,
    kind: str | None,
) -> tuple[Plan, list[PlannedStep], Callable[[str | None], Resolved]]:
    """As `_plan`, and the steps of it that are asked for."""
    from pipeline_tools import ci
    from pipeline_tools import plan as planning

    made, configuration = _plan(project, platform, settings)
    if kind:
        ci.check_kind(made, kind)
    configuration(environment)  # an environment that does not exist is not just one without steps
    return made, planning.select(made, until=until, environment=environment), configuration


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
    approver: str | None,
    join: str | None,
    force: bool,
    quiet: bool,
    verbose: bool,
    log_format: Any,
) -> int:
    from pipeline_tools import display
    from pipeline_tools import plan as planning
    from pipeline_tools.config.layers import platform_file
    from pipeline_tools.masking import mask_strays
    from pipeline_tools.report.terminal import summary
    from pipeline_tools.run import Request, execute

    mask_strays()
    if platform:  # a step that calls this program for another project means the same platform
        os.environ["PIPELINE_TOOLS_PLATFORM"] = str(platform.absolute())
    made, configuration = _plan(project, platform, settings)
    configuration(environment)  # an environment that does not exist is not just one without steps
    chosen: list[PlannedStep] = planning.select(made, steps=steps, until=until, environment=environment)
    for name in {planned.environment for planned in chosen}:
        configuration(name)  # a mistake in a later environment's section is told before anything runs
    named = bool(steps or until or platform_file(platform))
    chosen = _ready(made, chosen, lambda name: configuration(name).config, named=named, approve=approve)
    request = Request(
        project=project,
        plan=made,
        steps=chosen,
        configuration=configuration,
        approved=approve,
        approver=approver,
        strict_approval=strict or environment is not None,
        force=force,
        join=join,
    )
    shown = display.make(log_format, quiet=quiet, verbose=verbose)
    try:
        record = execute(request, shown)
    finally:
        with suppress(BrokenPipeError):
            shown.close()
    if log_format != "json":
        with suppress(BrokenPipeError):  # how it went is in the exit code as well
            summary(record)
    return record.exit_code or 0


def _ready(
    made: Plan,
    chosen: list[PlannedStep],
    configuration: Callable[[str | None], Config],
    *,
    named: bool,
    approve: bool,
) -> list[PlannedStep]:
    """The steps, checked before anything runs.

    Who has no platform file and names no step is at the beginning: the steps that need a server are left out.
    """
    from pipeline_tools import preflight

    if not named:
        kept, left_out = preflight.leave_out(chosen, configuration)
        if left_out:
            click.echo(left_out, err=True)
        chosen = list(kept)
        if not chosen:
            click.echo("Nothing is left to run: every step is switched off or left out.", err=True)
    begin = [planned for planned in chosen if approve or not made.stage_of(planned).approval]
    preflight.check_servers(begin, configuration)
    preflight.check_credentials(begin, configuration)
    return chosen


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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name may have what the terminal cannot show
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(_catching(lambda: cli.main(prog_name="pipeline-tools", standalone_mode=False))())
