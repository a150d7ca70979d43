"""``pipeline-tools lab``: the commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, Popen

import click
from filelock import FileLock, Timeout
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lab import builds, engine, pki, platform, world
from lab import doctor as health
from lab.layout import CHECKOUT, Lab
from lab.parts import PARTS, Part
from pipeline_tools.errors import ConfigError, InfrastructureError

COLOURS = {"ready": "green", "failed": "red", "theirs": "cyan", "down": "red"}


@click.group()
@click.pass_context
def lab(context: click.Context) -> None:
    """The whole platform on this machine, from real parts.

    \b
    PIPELINE_TOOLS_LAB_DIR   its folder (default ~/.cache/pipeline-tools/labs/default)
    PIPELINE_TOOLS_LAB_PORT  base of its ports (default 20000)
    Another folder and base give a second laboratory beside the first.
    """
    context.obj = Lab.from_environment()


@lab.command()
@click.option("--background", is_flag=True, help="Return at once; `lab wait PART...` waits for parts.")
@click.option("--wait", "wanted", multiple=True, metavar="PART", help="With --background: return when PART is ready.")
@click.option(
    "--platform",
    "theirs",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True),
    help="A platform file: the servers that it names are used instead of parts of the laboratory.",
)
@click.pass_obj
def up(lab: Lab, background: bool, wanted: tuple[str, ...], theirs: Path | None) -> int:
    """Start what does not run yet; on a fresh machine build it first. Safe to repeat."""
    servers = platform.own(lab, theirs) if os.geteuid() == 0 else {}
    health.insist(lab, servers)
    lab.make_folders()
    platform.remember(lab, servers)
    if background or wanted:
        _in_background(lab)
        return _wait(lab, wanted) if wanted else 0
    start = time.monotonic()
    with _locked(lab):
        _note_engine(lab, os.getpid())
        console = Console(highlight=False, emoji=False, soft_wrap=True)

        def show(part: str, text: str) -> None:
            console.print(f"{time.monotonic() - start:7.1f} s  [bold]{part:<13}[/bold] {escape(text)}")

        try:
            _up(lab, engine.Progress(lab=lab, show=show))
        except KeyboardInterrupt:
            click.echo("What is up stays up: `lab up` goes on from here, `lab down` stops it.", err=True)
            raise
    _table(lab, live=False)
    click.echo(f"\nup in {time.monotonic() - start:.0f} s; what uses it needs:")
    click.echo(f"export PIPELINE_TOOLS_PLATFORM={lab.dir}/platform.yml PATH={lab.dir}/bin:$PATH")
    return 0


def _up(lab: Lab, progress: engine.Progress) -> None:
    health.install_packages(lambda text: progress.show("packages", text))
    own = platform.own(lab)
    parts, replaced = engine.split(set(own))
    pki.write(lab)
    platform.make_credentials(lab)
    platform.write(lab)
    _link_tools(lab)
    configuration = lab.configuration()
    same = all(file.is_file() and file.read_text() == text for file, text in configuration.items())
    if not (same and world.running(lab)):
        # after a kill, a reboot or a new version of the laboratory: away with what is left, and from the start
        world.stop(lab)
        lab.make_folders()
        for file, text in configuration.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        world.start(lab)
        progress.show("laboratory", f"namespaces and network are up in {lab.dir}")
    for part in replaced:
        progress.say(part.name, "theirs")
    for part in parts:
        progress.say(part.name, "waiting")
    engine.bring_up(lab, parts, progress)


@lab.command()
@click.argument("parts", nargs=-1, metavar="[PART]...")
@click.pass_obj
def wait(lab: Lab, parts: tuple[str, ...]) -> int:
    """Wait until the parts named (or all) are ready, while `lab up --background` is at work."""
    return _wait(lab, parts)


def _wait(lab: Lab, parts: tuple[str, ...]) -> int:
    wanted = parts or tuple(part.name for part in PARTS)
    for name in wanted:
        if name not in {part.name for part in PARTS}:
            raise ConfigError(f"There is no part {name!r}.", hint="Parts: " + ", ".join(part.name for part in PARTS))
    start, told = time.monotonic(), dict[str, str]()
    while True:
        states = engine.read(lab)
        busy = _engine(lab) is not None
        for name in wanted:
            state = states.get(name, engine.State())
            text = f"{state.status}{f': {state.detail}' if state.detail else ''}"
            if told.get(name) != text:
                told[name] = text
                click.echo(f"{time.monotonic() - start:7.1f} s  {name:<13} {text}")
            if state.status == "failed":
                raise InfrastructureError(f"{name} failed: {state.detail}", hint=f"See {lab.log / 'up.log'}.")
        if all(states.get(name, engine.State()).status in ("ready", "theirs") for name in wanted):
            return 0
        if not busy:
            raise InfrastructureError("The laboratory is not coming up.", hint=f"See {lab.log / 'up.log'}; `lab up`.")
        time.sleep(0.3)


@lab.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.pass_obj
def status(lab: Lab, as_json: bool) -> int:
    """Ask every part whether it answers; exits with 4 when one does not."""
    if not as_json:
        return _table(lab, live=True)
    rows = _rows(lab, live=True)
    click.echo(json.dumps(rows, indent=2))
    return 0 if all(row["state"] in ("ready", "theirs") for row in rows) else InfrastructureError.exit_code


@lab.command()
@click.pass_obj
def down(lab: Lab) -> int:
    """Stop it. Nothing of it is left running, mounted or listening; its data and the builds stay."""
    _down(lab)
    return 0


def _down(lab: Lab) -> None:
    start = time.monotonic()
    if (pid := _engine(lab)) is not None and pid != os.getpid():
        os.kill(pid, signal.SIGTERM)  # `lab up` is at work
    if not lab.dir.is_dir():
        click.echo("There is no laboratory here.")
        return
    with _locked(lab):
        world.stop(lab)
    click.echo(f"down in {time.monotonic() - start:.1f} s; data stays in {lab.dir}, builds in {lab.builds}")


@lab.command()
@click.confirmation_option("--yes", prompt="Delete the laboratory's data?")
@click.pass_obj
def reset(lab: Lab) -> int:
    """Stop it and delete its data and credentials; the builds stay."""
    _down(lab)
    shutil.rmtree(lab.dir, ignore_errors=True)
    return 0


@lab.command()
@click.pass_obj
def setup(lab: Lab) -> int:
    """Install the packages and make the builds, without starting anything."""
    health.insist(lab)
    lab.make_folders()
    health.install_packages(click.echo)
    for build in builds.BUILDS.values():
        start = time.monotonic()
        folder = build.ensure(lab.builds, partial(_echo, build.name))
        click.echo(f"{build.name} {build.version}: {folder} ({time.monotonic() - start:.0f} s)")
    return 0


def _echo(name: str, line: str) -> None:
    click.echo(f"{name}: {line}")


@lab.command()
@click.pass_obj
def doctor(lab: Lab) -> int:
    """Check whether a laboratory can work on this machine; changes nothing."""
    findings = health.examine(lab)
    for finding in findings:
        click.echo(f"{'✔' if finding.good else '✘'} {finding.name:<15} {finding.text}")
    return 0 if all(finding.good for finding in findings) else ConfigError.exit_code


def _link_tools(lab: Lab) -> None:
    """``bin/`` with the clients, for PATH; the links lead somewhere as soon as they are built."""
    folder = lab.dir / "bin"
    folder.mkdir(exist_ok=True)
    for build, program in (("helm", "helm"), ("kubernetes", "kubectl")):
        link = folder / program
        link.unlink(missing_ok=True)
        link.symlink_to(builds.BUILDS[build].folder(lab.builds) / program)


def _locked(lab: Lab) -> FileLock:
    """The laboratory's lock, for a `with`; says so when another command has it."""
    lock = FileLock(lab.dir / "lock")
    try:
        lock.acquire(timeout=0.1)
    except Timeout:
        click.echo("waiting for another `lab` command to finish …", err=True)
        lock.acquire()
    return lock


def _in_background(lab: Lab) -> None:
    log = lab.log / "up.log"
    engine.forget(lab)
    with log.open("wb") as output:
        child = Popen(
            [sys.executable, "-m", "lab", "up"],
            cwd=CHECKOUT,
            stdin=DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    _note_engine(lab, child.pid)
    click.echo(f"the laboratory is coming up in the background: {log}")


def _note_engine(lab: Lab, pid: int) -> None:
    # not in lab.run, which goes when what is left of an earlier laboratory is cleared away
    beside = lab.dir / f".engine.{os.getpid()}"
    beside.write_text(json.dumps({"pid": pid, "born": world.born(pid)}))
    beside.replace(lab.dir / "engine.json")


def _engine(lab: Lab) -> int | None:
    """The process that is bringing the laboratory up, if there is one."""
    try:
        noted = json.loads((lab.dir / "engine.json").read_text())
    except FileNotFoundError:
        return None
    return int(noted["pid"]) if noted["born"] and world.born(noted["pid"]) == noted["born"] else None


def _row(lab: Lab, part: Part, *, live: bool) -> dict[str, str]:
    state = engine.read(lab).get(part.name, engine.State(status="down"))
    if live and state.status == "ready" and not (world.running(lab) and part.ready(lab)):
        state.status = "down"
    return {
        "part": part.name,
        "version": part.shown_version(),
        "state": state.status,
        "address": part.address(lab) if state.status != "theirs" else "your own",
        "login": part.login(lab) if state.status != "theirs" else "",
        "log": str(lab.log / f"{part.programs[0]}.log") if part.programs else "",
    }


def _rows(lab: Lab, *, live: bool) -> list[dict[str, str]]:
    return [_row(lab, part, live=live) for part in PARTS]


def _table(lab: Lab, *, live: bool) -> int:
    rows = _rows(lab, live=live)
    table = Table("part", "version", "state", "address", "log in with", "log", box=None, pad_edge=False)
    for row in rows:
        colour = COLOURS.get(row["state"], "yellow")
        cells = [row["part"], row["version"], f"[{colour}]{row['state']}[/{colour}]"]
        cells += [escape(row[name].replace(str(lab.dir), "$LAB")) for name in ("address", "login", "log")]
        table.add_row(*cells)
    click.echo(f"LAB={lab.dir}")
    console = Console(highlight=False, emoji=False)
    (console if console.is_terminal else Console(highlight=False, emoji=False, width=220)).print(table)
    return 0 if all(row["state"] in ("ready", "theirs") for row in rows) else InfrastructureError.exit_code
