"""A malformed configuration gives one message with its place and what to do, exit code 2, and leaves nothing behind."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline_tools.cli import _catching, cli

SECRET = "hunter2-hunter2"
BOMB = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@dataclass(frozen=True)
class Case:
    """``place`` and ``says`` are parts of the message, ``hint`` of the advice."""

    text: str | bytes
    place: str
    says: str
    hint: str = ""
    platform: str | None = None
    variables: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] = ()


CASES = {
    "bad YAML": Case("name: x\nscan: [a\n", "pipeline.yml:3:", "is not valid YAML"),
    "a colon in text": Case("name: x: y\n", "pipeline.yml:1:", "mapping values", "needs quotes"),
    "a tab": Case("name: x\nscan:\n\tnamespace: a\n", "pipeline.yml:3:", "found character '\\t'", "Indent with spaces"),
    "an open quote": Case("name: 'x\n", "pipeline.yml:2:", "is not valid YAML"),
    "two documents": Case("name: x\n---\nname: y\n", "pipeline.yml:2:", "another document", "remove the line `---`"),
    "a control character": Case("name: x\nkind: \x00\n", "pipeline.yml:2:", "a character that YAML does not allow"),
    "half of a character": Case('name: x\nkind: "\\uD800"\n', "pipeline.yml:2:", "half of a character"),
    "an unknown tag": Case("name: !!python/object:os.system x\n", "pipeline.yml:1:", "could not determine"),
    "a tag that lies": Case("name: x\ntest: {timeout: !!int x}\n", "pipeline.yml:2:", "not what its tag"),
    "a number without end": Case(f"name: {'9' * 5000}\n", "pipeline.yml:1:", "not what its tag or its form"),
    "not UTF-8": Case(b"name: x\n# caf\xe9\n", "pipeline.yml:2:", "is not UTF-8 text", "Save the file as UTF-8"),
    "UTF-16": Case("name: x\n".encode("utf-16"), "pipeline.yml:1:", "is not UTF-8 text"),
    "a huge file": Case("# " + "x" * 300_000, "pipeline.yml:", "is larger than 256 KiB", "the right file"),
    "deep nesting": Case(f"name: {'[' * 5000}", "pipeline.yml:1:", "is nested too deeply"),
    "an alias bomb": Case(BOMB, "pipeline.yml:", "with its aliases followed it has more than"),
    "an alias to itself": Case("name: x\nscan: &a\n  properties: *a\n", "pipeline.yml:2:", "it has no end"),
    "a list in itself": Case("name: x\ntest: {paths: &a [*a]}\n", "pipeline.yml:2:", "it has no end"),
    "an unknown alias": Case(f"name: *{SECRET}\n", "pipeline.yml:1:", "undefined alias", "needs quotes"),
    "a merge of a value": Case("name: x\nscan:\n  <<: 3\n", "pipeline.yml:3:", "`<<` merges a section"),
    "a key twice": Case("name: x\nkind: library\nname: y\n", "pipeline.yml:3:", "a second time", "pipeline.yml:1"),
    "a key twice inside": Case("name: x\nscan: {cpu: 1m,\n cpu: 2m}\n", "pipeline.yml:3:", "the key scan.cpu stands"),
    "a list as a key": Case("name: x\n? [a]\n: b\n", "pipeline.yml:2:", "a key must be a plain name"),
    "a list for the whole": Case("- name: x\n", "pipeline.yml:1:", "expected keys and values"),
    "text for the whole": Case("name\n", "pipeline.yml:1:", "expected keys and values"),
    "an unknown key": Case("name: x\nscna: {}\n", "pipeline.yml:2:", "Did you mean 'scan'?", "Valid keys"),
    "an unknown key in a step": Case("name: x\nscan: {namspace: a}\n", "pipeline.yml:2:", "Did you mean 'namespace'?"),
    "an unknown key in a system": Case("name: x\nsonarqube: {ulr: a}\n", "pipeline.yml:2:", "Did you mean 'url'?"),
    "an unknown key in an environment": Case(
        "name: x\nenvironments:\n  prod: {aproval: true}\n", "pipeline.yml:3:", "Did you mean 'approval'?"
    ),
    "an unknown key of a step there": Case(
        "name: x\nenvironments:\n  prod:\n    deploy: {timeot: 1m}\n", "pipeline.yml:4:", "Did you mean 'timeout'?"
    ),
    "a number as a key": Case("name: x\n1: y\n", "pipeline.yml:2:", "unknown key '1'"),
    "no name": Case("kind: library\n", "pipeline.yml:1:", "the key 'name' is missing", "name: my-service"),
    "an empty file": Case("", "pipeline.yml:1:", "the key 'name' is missing"),
    "null for the name": Case("name:\n", "pipeline.yml:1:", "name: input should be a valid string"),
    "a bad name": Case("name: My_Service\n", "pipeline.yml:1:", "write lower-case letters, digits and hyphens"),
    "a bad environment's name": Case(
        "name: x\nenvironments:\n  Test_1: {}\n", "pipeline.yml:3:", "environments.Test_1: write lower-case"
    ),
    "a bad version": Case("name: x\nversion: '1.0'\n", "pipeline.yml:2:", "version: write three numbers"),
    "a version without quotes": Case("name: x\nversion: 1.0\n", "pipeline.yml:2:", "a valid string", "quotes: '1.0'"),
    "a switch for text": Case("name: on\n", "pipeline.yml:1:", "a valid string", "put quotes"),
    "an unknown kind": Case("name: x\nkind: servce\n", "pipeline.yml:2:", "'model' or 'chart'", "mean 'service'?"),
    "a list for a section": Case("name: x\nscan: [a]\n", "pipeline.yml:2:", "takes keys, not a value", "Its keys are"),
    "an empty section": Case("name: x\nscan:\n", "pipeline.yml:2:", "is empty", "Its keys are"),
    "a list for environments": Case("name: x\nenvironments: [test]\n", "pipeline.yml:2:", "takes keys, not a value"),
    "text for a map": Case("name: x\nverify: {golden: a}\n", "pipeline.yml:2:", "golden: takes keys, not a value"),
    "keys for a value": Case("name: x\nscan: {cpu: {max: 1}}\n", "pipeline.yml:2:", "scan.cpu: takes a value"),
    "text for a list": Case("name: x\ntest: {paths: tests}\n", "pipeline.yml:2:", "a valid list", "[tests]"),
    "a number in a list": Case(
        "name: x\ntest:\n  paths:\n  - a\n  - 3\n", "pipeline.yml:5:", "paths.1:", "quotes: '3'"
    ),
    "text for a switch": Case("name: x\nscan: {enabled: perhaps}\n", "pipeline.yml:2:", "a valid boolean"),
    "a duration without a unit": Case("name: x\ntest: {timeout: 30}\n", "pipeline.yml:2:", "such as 30s, 5m or 2h"),
    "a negative duration": Case("name: x\ntest: {timeout: -5m}\n", "pipeline.yml:2:", "such as 30s, 5m or 2h"),
    "an endless duration": Case("name: x\ntest: {timeout: 999999999d}\n", "pipeline.yml:2:", "of a year at most"),
    "a bad size": Case("name: x\nscan: {memory: 4 gigs}\n", "pipeline.yml:2:", "such as 512Mi or 4Gi"),
    "a bad size in an environment": Case(
        "name: x\nenvironments:\n  test:\n    jenkins:\n      agent: {memory: 4GB}\n",
        "pipeline.yml:5:",
        "such as 512Mi or 4Gi",
    ),
    "a bad CPU": Case("name: x\nscan: {cpu: two}\n", "pipeline.yml:2:", "such as 100m"),
    "a bad address": Case("name: x\njenkins: {url: jenkins}\n", "pipeline.yml:2:", "https://HOST/PATH"),
    "a pasted token": Case(f"name: x\nsonarqube: {{token: {SECRET}}}\n", "pipeline.yml:2:", "must be a reference"),
    "a pasted password": Case(f"name: x\nartifactory:\n  password: {SECRET}\n", "pipeline.yml:3:", "must be a ref"),
    "a pasted list": Case(f"name: x\nsonarqube: {{token: [{SECRET}]}}\n", "pipeline.yml:2:", "must be a reference"),
    "a pasted section": Case(f"name: x\nsonarqube: {SECRET}\n", "pipeline.yml:2:", "takes keys, not a value"),
    "a pasted tag": Case(f"name: x\nsonarqube:\n  token: !{SECRET}\n", "pipeline.yml:3:", "could not determine"),
    "a password in an address": Case(
        f"name: x\nartifactory: {{url: 'https://me:{SECRET}@host/x'}}\n", "pipeline.yml:2:", "without user or password"
    ),
    "a pasted token that another layer overrides": Case(
        "name: x\nsonarqube: {token: env:TOKEN}\n",
        "platform.yml:1:",
        "must be a reference",
        platform=f"sonarqube: {{token: {SECRET}}}\n",
    ),
    "a platform file that is malformed": Case("name: x\n", "platform.yml:2:", "valid YAML", platform="scan: [\n"),
    "a platform file that is not there": Case(
        "name: x\n", "--platform:", "does not exist", words=("--platform", "/nonexistent/platform.yml")
    ),
    "a wrong type in the platform file": Case(
        "name: x\n", "platform.yml:1:", "a duration with its unit", platform="scan: {timeout: 5}\n"
    ),
    "a locked key": Case(
        "name: x\nscan: {enabled: false}\n",
        "pipeline.yml:2:",
        "locked by the platform file (",
        "Remove it here",
        platform="locked: [scan.enabled]\n",
    ),
    "a locked key in an environment": Case(
        "name: x\nenvironments:\n  test:\n    verify: {enabled: false}\n",
        "pipeline.yml:4:",
        "environments.test.verify.enabled is locked",
        platform="locked:\n- verify\n",
    ),
    "a step in an environment that is in none": Case(
        "name: x\nenvironments:\n  test:\n    scan: {enabled: false}\n",
        "pipeline.yml:4:",
        "the step 'scan' runs before any environment",
        "at the top of the file",
    ),
    "a locked approval": Case(
        "name: x\nenvironments:\n  prod: {approval: false}\n",
        "pipeline.yml:3:",
        "environments.prod.approval is locked",
        platform="locked: [environments.prod.approval]\n",
    ),
    "a locked key in a variable": Case(
        "name: x\n",
        "PIPELINE_TOOLS_SCAN__ENABLED:",
        "scan.enabled is locked",
        platform="locked: [scan]\n",
        variables=(("PIPELINE_TOOLS_SCAN__ENABLED", "false"),),
    ),
    "a locked key in a flag": Case(
        "name: x\n",
        "--set environments.prod:",
        "environments.prod.approval is locked",
        platform="locked: [environments]\n",
        words=("--set", "environments.prod={approval: false}"),
    ),
    "a lock that locks nothing": Case(
        "name: x\n", "platform.yml:3:", "Did you mean 'enabled'?", platform="locked:\n- test\n- scan.enabld\n"
    ),
    "a lock that is no list": Case("name: x\n", "platform.yml:1:", "a list of keys", platform="locked: {scan: 1}\n"),
    "a lock in a project": Case("name: x\nlocked: [scan]\n", "pipeline.yml:2:", "unknown key", "Only the platform"),
    "an unknown variable": Case(
        "name: x\n",
        "PIPELINE_TOOLS_PLATFROM:",
        "Did you mean 'PIPELINE_TOOLS_PLATFORM'?",
        variables=(("PIPELINE_TOOLS_PLATFROM", "x"),),
    ),
    "an unknown key in a variable": Case(
        "name: x\n",
        "PIPELINE_TOOLS_SCAN__NAMSPACE:",
        "Did you mean 'namespace'?",
        variables=(("PIPELINE_TOOLS_SCAN__NAMSPACE", "x"),),
    ),
    "a bad value in a variable": Case(
        "name: x\n",
        "PIPELINE_TOOLS_SCAN__TIMEOUT:",
        "a duration with its unit",
        variables=(("PIPELINE_TOOLS_SCAN__TIMEOUT", "5"),),
    ),
    "a token in a variable": Case(
        "name: x\n",
        "PIPELINE_TOOLS_SONARQUBE__TOKEN:",
        "must be a reference",
        variables=(("PIPELINE_TOOLS_SONARQUBE__TOKEN", SECRET),),
    ),
    "a flag without a value": Case("name: x\n", "--set scan:", "expected key=value", "YAML", words=("--set", "scan")),
    "a flag that is no YAML": Case(
        "name: x\n", "--set test.paths:", "is not valid YAML", words=("--set", "test.paths=[a")
    ),
    "an unknown key in a flag": Case(
        "name: x\n", "--set scan.cpus:", "Did you mean 'cpu'?", words=("--set", "scan.cpus=1")
    ),
    "a wrong type in a flag": Case("name: x\n", "--set test:", "takes keys", words=("--set", "test=3")),
    "a token in a flag": Case(
        "name: x\n",
        "--set sonarqube.token:",
        "must be a reference",
        words=("--set", f"sonarqube.token={SECRET}"),
    ),
    "an unknown environment": Case(
        "name: x\n", "--environment prd:", "Did you mean 'prod'?", "are: prod, test", words=("--environment", "prd")
    ),
}


def run(words: Sequence[str]) -> int:
    return _catching(lambda: cli.main([*words], prog_name="pipeline-tools", standalone_mode=False))()


def tree(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("command", [("run",), ("config", "show")], ids=" ".join)
def test_a_malformed_configuration_is_told_once_and_leaves_nothing(
    case: Case,
    command: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = case.text.encode() if isinstance(case.text, str) else case.text
    (tmp_path / "pipeline.yml").write_bytes(text)
    for name, value in case.variables:
        monkeypatch.setenv(name, value)
    words = [*command, "--project", str(tmp_path), *case.words]
    if case.platform is not None:
        (tmp_path / "platform.yml").write_text(case.platform)
        words += ["--platform", str(tmp_path / "platform.yml")]
    before = tree(tmp_path)

    begun = time.monotonic()
    assert run(words) == 2
    assert time.monotonic() - begun < 30, "what is endless is noticed"

    printed = capsys.readouterr()
    message, *advice = printed.err.splitlines()
    assert message.startswith("configuration error: ")
    assert case.place in message
    assert case.says in message
    assert case.hint in " ".join(advice)
    assert len(advice) <= 1, "one mistake, one message"
    assert printed.out == ""
    assert SECRET not in printed.err
    assert tree(tmp_path) == before


def test_there_are_at_least_thirty() -> None:
    assert len(CASES) >= 30


@pytest.mark.parametrize("what", ["a folder", "nothing", "a broken link"])
def test_something_else_in_place_of_the_file(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pipeline.yml"
    if what == "a folder":
        path.mkdir()
    elif what == "a broken link":
        path.symlink_to("nowhere")
    before = tree(tmp_path)
    assert run(["run", "--project", str(tmp_path)]) == 2
    message, *advice = capsys.readouterr().err.splitlines()
    assert ("is a folder, not a file" if what == "a folder" else "There is no pipeline.yml") in message
    assert what == "a folder" or "pipeline-tools init" in advice[0]
    assert tree(tmp_path) == before
