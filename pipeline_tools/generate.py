"""The files that are made from the steps' declarations: `make generate` writes them, CI fails on a difference."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pipeline_tools import __version__
from pipeline_tools.steps import registry


def steps_json() -> str:
    """`resources/steps.json`: what Groovy must know of each step."""
    steps = {
        step.name: {
            "summary": step.summary,
            "credentials": [
                {"id": credential.id, "type": credential.type, "variables": list(credential.variables)}
                for credential in step.credentials
            ],
            "reports": dict(step.reports),
        }
        for step in registry().values()
    }
    return json.dumps({"version": 1, "library": __version__, "steps": steps}, indent=2, ensure_ascii=False) + "\n"


def generate(checkout: Path, *, check: bool) -> int:
    """Write the generated files, or with ``check`` only compare; returns the number of those that differ (0 or 1)."""
    path, text = checkout / "resources" / "steps.json", steps_json()
    same = path.is_file() and path.read_text(encoding="utf-8") == text
    if same:
        return 0
    if check:
        click.echo(f"{path.relative_to(checkout)} is out of date: run `make generate` and commit it.", err=True)
        return 1
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    click.echo(f"wrote {path.relative_to(checkout)}")
    return 0
