"""`export`: the project's own program builds what is published, under the version that was promoted."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from pipeline_tools.errors import ConfigError, QualityError
from pipeline_tools.step import Context, Duration, Json, Step, StepInputs, duration
from pipeline_tools.systems import packages, program


class Inputs(StepInputs):
    """How the wheel is built."""

    command: list[str] = Field(
        [],
        description="The program, run in the project's folder; `{version}` is the version, `{out}` the folder for it.",
    )
    timeout: Duration = Field(duration("30m"), description="How long it may take.")


def _run(ctx: Context[Inputs]) -> Mapping[str, Json]:
    version = str(ctx.outputs["promote"]["version"])
    with tempfile.TemporaryDirectory(prefix="pipeline-tools-") as folder:
        command = program.filled(ctx.inputs.command, {"out": folder, "version": version}, "export.command")
        done = program.call(ctx, command, key="export.command", timeout=ctx.inputs.timeout)
        if done.exit_code:
            raise QualityError(f"{command[0]} says that what it built is not good enough.")
        built = sorted(Path(folder).glob("*.whl"))
        if len(built) != 1:
            raise ConfigError(
                f"{command[0]} left {len(built)} wheels in the folder that it was given.",
                hint="export.command must write one wheel into {out}.",
            )
        wheel = packages.wheel(built[0])
        if wheel.version != version:
            raise ConfigError(
                f"{built[0].name} has the version {wheel.version}, but {version} was promoted.",
                hint="Give {version} to the program: the version comes from tags and commits, never by hand.",
            )
        content = built[0].read_bytes()
    file = ctx.out / built[0].name
    file.write_bytes(content)
    return {
        "wheel": ctx.relative(file),
        "name": wheel.name,
        "version": wheel.version,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
    }


def _still_there(ctx: Context[Inputs], outputs: Mapping[str, Json]) -> bool:
    return (ctx.project / str(outputs["wheel"])).is_file()


EXAMPLE = """\
kind: model
name: my-model
export:
  command: [./build.sh, --version, "{version}", --out, "{out}"]
"""

STEP = Step(
    name="export",
    summary="build the model's wheel under the version that was promoted",
    stage="Export",
    inputs=Inputs,
    jenkins="exportModel",
    outputs={
        "wheel": "the wheel, relative to the project",
        "name": "name of the package",
        "version": "its version",
        "sha256": "digest of the wheel",
        "size_bytes": "its size",
    },
    example=EXAMPLE,
    memory=1024 * 2**20,
    needs=("promote",),
    uses=("promote",),
    run=_run,
    still_there=_still_there,
)
