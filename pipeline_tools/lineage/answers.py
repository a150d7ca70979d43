"""An answer of the service: asked for now, or its headers as they were saved."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from pipeline_tools.errors import ConfigError
from pipeline_tools.systems import service

FORM = "Write the address of the service (https://HOST/…), or the file with an answer's headers (`curl -D FILE`)."


def read(name: str | None) -> tuple[Mapping[str, str], str]:
    """Headers of the answer, their names in lower case, and what is shown of it.

    Args:
        name: an address, a file, or ``-`` for standard input.

    Raises:
        ConfigError: there is no such file, or no headers are in it.
        InfrastructureError: the address does not answer.
    """
    if not name:
        raise ConfigError("It must be named.", hint=FORM)
    if re.match(r"https?://", name):
        return service.headers(name), name
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}.", hint=FORM) from error
    found = parse(text)
    if not found:
        raise ConfigError(f"There are no headers in {name}.", hint=FORM)
    return found, "an answer" if name == "-" else name


def parse(text: str) -> dict[str, str]:
    """The headers in what a client saved: of several answers (a redirect, a 100 Continue) those of the last one."""
    found: dict[str, str] = {}
    ended = False
    for line in text.lstrip().splitlines():
        if re.match(r"HTTP/[0-9.]+ [0-9]{3}", line):
            found, ended = {}, False
        elif ended:
            break  # the body
        elif not line.strip():
            ended = True
        elif header := re.fullmatch(r"([\w-]+):\s*(.*?)\s*", line, re.ASCII):
            found[header[1].lower()] = header[2]
    return found
