"""`scan`: SonarQube's scanner in a pod, its quality gate, and what the server measured."""

from __future__ import annotations

import json
import os
import re
import xml.etree.ElementTree as ET
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipeline_tools import secrets
from pipeline_tools.errors import (
    ConfigError,
    InfrastructureError,
    PipelineError,
    QualityError,
)
from pipeline_tools.failures import explained
from pipeline_tools.masking import mask_values
from pipeline_tools.step import (
    ARTIFACTORY,
    KUBECONFIG,
    SONARQUBE_TOKEN,
    Context,
    Cpu,
    Credential,
    Duration,
    Json,
    Size,
    Step,
    StepInputs,
    Url,
    duration,
    size,
)

if TYPE_CHECKING:
    from pipeline_tools.config.schema import Config
    from pipeline_tools.systems.sonarqube import Gate

# Where the reports lie in the pod: outside of the sources, or they would be analysed themselves.
REPORTS = "/work/reports"
METRICS = (
    "ncloc",
    "coverage",
    "tests",
    "test_failures",
    "test_errors",
    "skipped_tests",
    "bugs",
    "vulnerabilities",
    "code_smells",
    "duplicated_lines_density",
)


class Inputs(StepInputs):
    """Where and how the scanner runs, and what it is told."""

    image: str = Field(
        "docker.io/sonarsource/sonar-scanner-cli:12.2.0.4256_8.1.0",
        description="Image with sonar-scanner, sh and tar that can run as user 1000.",
    )
    namespace: str = Field("pipeline-tools", description="Namespace of the pod. It must exist.")
    project_key: str | None = Field(None, description="Key of the project in SonarQube; null: the project's name.")
    sources: list[str] = Field(["."], description="Folders and files to analyse.")
    tests: list[str] = Field(["tests"], description="Folders of tests; those that do not exist are left out.")
    properties: dict[str, str] = Field({}, description="More properties for the scanner (sonar.python.version: 3.11).")
    cpu: Cpu = Field("100m", description="CPU that the pod requests, in cores or thousandths of one.")
    memory_request: Size = Field(size("512Mi"), description="Memory that the pod requests.")
    memory: Size = Field(size("2Gi"), description="Memory that the pod may use.")
    start_timeout: Duration = Field(
        duration("5m"), description="How long the pod may take to start, its image's pull included."
    )
    timeout: Duration = Field(duration("15m"), description="How long the pod may live.")
    gate_timeout: Duration = Field(duration("5m"), description="How long SonarQube may take to digest the analysis.")
    server_url_in_pod: Url | None = Field(None, description="Address of SonarQube as pods see it; null: sonarqube.url.")
    image_pull_secret: str | None = Field(
        None,
        description="Secret to pull the image with; null: made of Artifactory's credentials if the image is there.",
    )


def branch_scope(edition: str, branch: str, variables: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Parameters for the Web API and properties for the scanner that name the branch or pull request.

    Both are empty for the community edition, which takes neither. ``variables`` are the environment's: Jenkins'
    multibranch jobs check out a commit without a branch and name it, or the pull request, there.
    """
    branch = branch or variables.get("BRANCH_NAME", "")
    if edition == "community":
        return {}, {}
    if pull_request := variables.get("CHANGE_ID"):
        properties = {
            "sonar.pullrequest.key": pull_request,
            "sonar.pullrequest.branch": variables.get("CHANGE_BRANCH", branch),
            "sonar.pullrequest.base": variables.get("CHANGE_TARGET", "main"),
        }
        return {"pullRequest": pull_request}, properties
    return ({"branch": branch}, {"sonar.branch.name": branch}) if branch else ({}, {})


def properties_of(
    ctx: Context[Inputs], files: Iterable[Path], reports: Iterable[str], variables: Mapping[str, str]
) -> dict[str, str]:
    """What the scanner is told of the project; the project's own ``properties`` win, beside our exclusions.

    Raises:
        ConfigError: a source is not among ``files``, the tracked ones.
    """
    tracked = {PurePosixPath(file.as_posix()) for file in files}
    folders = {parent for file in tracked for parent in file.parents} | tracked
    sources = [PurePosixPath(name) for name in ctx.inputs.sources]
    for source in sources:
        if source not in folders:
            raise ConfigError(
                f"scan.sources names {source}, but git tracks nothing there.", hint="`git add` it, or correct the name."
            )
    tests = [test for test in map(PurePosixPath, ctx.inputs.tests) if test in folders]
    properties = {
        "sonar.projectKey": project_key(ctx),
        "sonar.projectName": ctx.config.name,
        "sonar.projectVersion": ctx.number,
        "sonar.buildString": ctx.version,
        "sonar.scm.revision": ctx.commit,
        # there is no history in the pod: git's would be many times the size of the files
        "sonar.scm.disabled": "true",
        "sonar.sourceEncoding": "UTF-8",
        "sonar.sources": ",".join(map(str, sources)),
    }
    if tests:
        properties["sonar.tests"] = ",".join(map(str, tests))
        # a file may not be both
        nested = [test for test in tests if any(source in (test, *test.parents) for source in sources)]
        if nested:
            properties["sonar.exclusions"] = ",".join(f"{test}/**" for test in nested)
    if "coverage.xml" in reports:
        properties["sonar.python.coverage.reportPaths"] = f"{REPORTS}/coverage.xml"
    if "junit.xml" in reports:
        properties["sonar.python.xunit.reportPath"] = f"{REPORTS}/junit.xml"
    if build := variables.get("BUILD_URL"):
        properties["sonar.links.ci"] = build
    excluded = [
        given["sonar.exclusions"] for given in (properties, ctx.inputs.properties) if "sonar.exclusions" in given
    ]
    return {**properties, **ctx.inputs.properties, **({"sonar.exclusions": ",".join(excluded)} if excluded else {})}


def project_key(ctx: Context[Inputs]) -> str:
    """The project's key in SonarQube."""
    return ctx.inputs.project_key or ctx.config.name


def relative_coverage(report: bytes, project: Path) -> tuple[bytes, int]:
    """A Cobertura report with every file named relative to ``project``, and how many could not be.

    coverage.py names files relative to absolute folders of the machine that ran the tests; in the pod there are others.
    """
    root = ET.fromstring(report)  # noqa: S314 — coverage.py wrote it a moment ago
    bases = ["", *(source.text or "" for source in root.iter("source"))]
    here = project.resolve()
    lost = 0
    for entry in root.iter("class"):
        name = entry.get("filename", "")
        candidates = ((here / base / name).resolve() for base in bases)
        found = [path for path in candidates if path.is_relative_to(here) and path.is_file()]
        if found:
            entry.set("filename", found[0].relative_to(here).as_posix())
        else:
            lost += 1
    for sources in root.findall("sources"):
        root.remove(sources)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True), lost


def relative_junit(report: bytes, files: Iterable[Path]) -> bytes:
    """A JUnit report with every class named relative to the project, whose tracked files are given.

    pytest names them relative to its root directory, which may be above the project: where a setup.cfg is, for
    instance. SonarQube drops the tests of classes whose file it does not find.
    """
    modules = {file.with_suffix("").parts for file in files if file.suffix == ".py"}
    root = ET.fromstring(report)  # noqa: S314 — pytest wrote it a moment ago
    for case in root.iter("testcase"):
        parts = tuple(case.get("classname", "").split("."))
        for start in range(len(parts)):
            if any(parts[start:end] in modules for end in range(start + 1, len(parts) + 1)):
                case.set("classname", ".".join(parts[start:]))
                break
    renamed: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return renamed


def _reports(ctx: Context[Inputs], files: Iterable[Path]) -> dict[str, bytes]:
    """Reports of the step `test`, by the name that they get in the pod."""
    outputs = ctx.outputs.get("test", {})
    found: dict[str, bytes] = {}
    for kind in ("coverage", "junit"):
        if path := outputs.get(kind):
            found[f"{kind}.xml"] = (ctx.project / path).read_bytes()
    if "coverage.xml" in found:
        found["coverage.xml"], lost = relative_coverage(found["coverage.xml"], ctx.project)
        if lost:
            ctx.log(f"warning: the coverage of {lost} files is lost: they are not in the project's folder")
    if "junit.xml" in found:
        found["junit.xml"] = relative_junit(found["junit.xml"], files)
    return found


def _asks(config: Config) -> tuple[Credential, ...]:
    from pipeline_tools.systems.pod import is_ours

    inputs = config.section("scan")
    ours = not inputs.image_pull_secret and is_ours(inputs.image, config.artifactory)
    return (SONARQUBE_TOKEN, KUBECONFIG, *((ARTIFACTORY,) if ours else ()))


class _Output:
    """The scanner's output on its way to the log: what is needed of it is kept."""

    def __init__(self, ctx: Context[Inputs]) -> None:
        self._log = ctx.log
        self.task = ""
        self.errors: deque[str] = deque(maxlen=8)

    def __call__(self, line: str) -> None:
        self._log(line)
        if found := re.search(r"/api/ce/task\?id=([\w-]+)", line):
            self.task = found[1]
        if "ERROR" in line:
            self.errors.append(line)


def failure(exit_code: int, errors: Sequence[str]) -> PipelineError:
    """Our error for a scanner that failed, from what it printed. It exits with 2 when its user is to blame."""
    kind = ConfigError if exit_code == 2 else InfrastructureError
    hint = "Correct scan.properties or the files that it names." if exit_code == 2 else ""
    message = f"sonar-scanner failed with exit code {exit_code}."
    return explained(
        "scanner", "\n".join(errors), message, otherwise=kind, hint=hint or "The scanner's output is in the step's log."
    )


def _run(ctx: Context[Inputs]) -> Mapping[str, Json]:
    from pipeline_tools.systems.pod import SOURCE, Task, pod_session, pull_credentials
    from pipeline_tools.systems.release import connect
    from pipeline_tools.systems.sonarqube import from_config

    kubernetes = connect(ctx.config.kubernetes)
    server = from_config(ctx.config.sonarqube)
    version, edition = server.version(), server.edition()
    ctx.log(f"SonarQube {version} ({edition}) at {server.url}")
    scope, branch = branch_scope(edition, ctx.branch, os.environ)
    files = ctx.files()
    reports = _reports(ctx, files)
    properties = {**branch, **properties_of(ctx, files, reports, os.environ)}
    task = Task(
        name=f"{ctx.config.name}-scan",
        image=ctx.inputs.image,
        # not through the image's entrypoint: SonarSource's own would put the token on the command line
        command=("sonar-scanner", *(f"-D{key}={value}" for key, value in properties.items())),
        env={"SONAR_HOST_URL": ctx.inputs.server_url_in_pod or server.url},
        secrets={"SONAR_TOKEN": secrets.resolve(ctx.config.sonarqube.token)},
        cpu=ctx.inputs.cpu,
        memory_request=ctx.inputs.memory_request,
        memory=ctx.inputs.memory,
        timeout=ctx.inputs.timeout,
        start_timeout=ctx.inputs.start_timeout,
        pull_secret=ctx.inputs.image_pull_secret,
        pull=None if ctx.inputs.image_pull_secret else pull_credentials(ctx.inputs.image, ctx.config.artifactory),
    )
    sent: dict[str, Path | bytes] = {f"{PurePosixPath(SOURCE).name}/{file.as_posix()}": file for file in files}
    sent |= {f"{PurePosixPath(REPORTS).name}/{name}": data for name, data in reports.items()}
    output = _Output(ctx)
    with pod_session(kubernetes, ctx.inputs.namespace, task, output) as session:
        ctx.log(
            f"pod {ctx.inputs.namespace}/{session.name}: sending {len(files)} tracked files, {len(reports)} reports"
        )
        session.send(ctx.project, sent)
        code = session.run()
    if code != 0:
        raise failure(code, output.errors)
    if not output.task:
        raise InfrastructureError("The scanner did not say which task of SonarQube has its report.")
    analysis = server.wait(output.task, ctx.inputs.gate_timeout, ctx.log)
    gate = server.gate(analysis)
    measures = server.measures(project_key(ctx), METRICS, **scope)
    outputs = {
        "gate": gate.status,
        "dashboard": server.dashboard(project_key(ctx), **scope),
        "analysis": analysis,
        "project_key": project_key(ctx),
        "measures": measures,
    }
    _report(ctx, gate, outputs)
    return outputs


def _report(ctx: Context[Inputs], gate: Gate, outputs: Mapping[str, Json]) -> None:
    """Leave the verdict as a file, and in the log; a red gate is an error."""
    about = {**outputs, "commit": ctx.commit, "conditions": [asdict(condition) for condition in gate.conditions]}
    text = json.dumps(mask_values(about), indent=2, ensure_ascii=False)
    (ctx.out / "gate.json").write_text(text + "\n", encoding="utf-8")
    ctx.log("measures: " + ", ".join(f"{name} {value}" for name, value in outputs["measures"].items()))
    ctx.log(f"quality gate: {gate.status} → {outputs['dashboard']}")
    if gate.status == "ERROR":
        failed = [str(condition) for condition in gate.failed]
        raise QualityError(
            f"The quality gate of {outputs['project_key']} is red: {'; '.join(failed)}.",
            hint="Mend what the page shows, commit and run again; the figures are also in gate.json of this step.",
            link=outputs["dashboard"],
            details="\n".join(failed),
        )


def _still_there(ctx: Context[Inputs], outputs: Mapping[str, Json]) -> bool:
    from pipeline_tools.systems.sonarqube import NotFound, from_config

    try:
        from_config(ctx.config.sonarqube).gate(outputs["analysis"])
    except NotFound:
        return False
    return True


EXAMPLE = """\
name: my-service
scan:
  sources: [my_service, Dockerfile]
  namespace: ci
  memory: 4Gi
  gate_timeout: 10m
  properties:
    sonar.python.version: "3.11"
"""

STEP: Step[Any] = Step(
    name="scan",
    summary="analyse the code with SonarQube in a pod and ask its quality gate",
    stage="Build",
    inputs=Inputs,
    jenkins="scanCode",
    outputs={
        "gate": "OK, ERROR, or NONE if the project has no gate",
        "dashboard": "the project's page in SonarQube",
        "analysis": "id of the analysis",
        "project_key": "key of the project in SonarQube",
        "measures": "value by metric: coverage, tests, bugs and others",
    },
    example=EXAMPLE,
    requires=("sonarqube.url",),
    credentials=(SONARQUBE_TOKEN, ARTIFACTORY, KUBECONFIG),
    asks=_asks,
    systems=("sonarqube", "kubernetes", "artifactory"),
    needs=("test",),
    uses=("test",),
    reports={"archive": "gate.json"},
    run=_run,
    still_there=_still_there,
)
