"""The command in a process that has everything loaded: of many short runs, Python's start would be most of the time."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import Pipe, forkserver, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pipeline_tools.display
import pipeline_tools.report.html
import pipeline_tools.report.terminal  # noqa: F401  what a run imports
from pipeline_tools import cli
from pipeline_tools.config import schema
from pipeline_tools.process import HELD_BACK, prepare

schema.model()


@contextmanager
def steps_for_tests(environment: dict[str, str]) -> Iterator[None]:
    """In this block every `Loaded` has ``environment``, and with it the steps that are on its PYTHONPATH."""
    server: Any = forkserver._forkserver
    server._stop()
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(environment)
        prepare(__name__)
    finally:
        os.environ.clear()
        os.environ.update(before)
    yield
    server._stop()


class Loaded:
    """`pipeline-tools` in a folder, one command after the other, in one process until that is killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._said = Path(tempfile.mkdtemp(prefix="pipeline-tools-")) / "said"
        self._begin()

    def _begin(self) -> None:
        self._commands, there = Pipe()
        arguments = (str(self._folder), str(self._said), there)
        self._process = get_context("forkserver").Process(target=_serve, args=arguments)
        self._process.start()
        there.close()

    def start(self, *words: str) -> None:
        """Begin a command."""
        self._commands.send(words)

    def run(self, *words: str) -> tuple[int, str]:
        """Exit code and output of a command."""
        self.start(*words)
        assert self._commands.poll(120)
        code: int = self._commands.recv()
        return code, self._said.read_text()

    def kill(self) -> None:
        """Kill it, in the middle of a command; the next command is another process's."""
        self._process.kill()
        self._process.join()
        self._commands.close()
        self._begin()

    def close(self) -> None:
        """End it."""
        self._commands.close()
        self._process.join()
        self._said.unlink(missing_ok=True)
        self._said.parent.rmdir()


def _serve(folder: str, said: str, commands: Connection) -> None:
    os.chdir(folder)
    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    while True:
        try:
            words = commands.recv()
        except EOFError:
            return
        os.ftruncate(output, 0)
        command = partial(cli.cli.main, list(words), prog_name="pipeline-tools", standalone_mode=False)
        commands.send(cli._catching(command)())
