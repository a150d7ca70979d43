"""A changed label in the data travels through the four projects to a changed answer in production."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.layout import Lab
from lab.repositories import Clone
from tests.e2e.conftest import ledger, own_environments, platform, running_digests, statuses, tool

pytestmark = pytest.mark.e2e

# What is said otherwise: every claim about a fly screen was for the blind maker, and is now for the carpenter. They are
# few enough that the labels stay as balanced as the data's own tests want them.
WORD, BEFORE, AFTER = "mosquitera", "persianas", "carpintería"


@pytest.fixture(scope="module", autouse=True)
def environments(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """TEST and PROD of these tests' own."""
    with own_environments(lab, "from-data", (1, 2), tmp_path_factory.mktemp("environments")):
        yield


@pytest.fixture(scope="module")
def clones(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Clone]]:
    """Clones of the laboratory's projects, of these tests' own; at the end the data are again as in the checkout."""
    own = Lab.from_environment()
    folder = tmp_path_factory.mktemp("projects")
    made = {name: Clone(own, name, folder=folder / name) for name in ("data", "model", "service")}
    yield made
    made["data"].synchronise()


def run(clone: Clone, *words: str, folder: str = ".") -> dict[str, Any]:
    """Run a project's pipeline to the end; the outputs of each step."""
    result = tool(clone.folder / folder, "run", *words, seconds=900)
    assert result.returncode == 0, result.stderr[-6000:]
    return {step["id"]: step["outputs"] for step in ledger(clone.folder / folder, "run.json")["steps"]}


def relabel(data: Path) -> int:
    """Change the label of these claims in all sources; how many claims it was."""
    changed = 0
    for pattern, claim_begins, label in (
        ("fuentes/*.csv", r"^", r"[;,][^;,]*$"),
        ("fuentes/*.jsonl", r"^", r'"gremios": .*$'),
        ("fuentes/notas/*.txt", r"^=== ", r"^Gremio: .*$"),
    ):
        for file in data.glob(pattern):
            encoding = "latin-1" if file.name == "siniestros.csv" else "utf-8"
            text = file.read_bytes().decode(encoding, "surrogateescape")
            claims = re.split(rf"(?m)(?={claim_begins})", text)
            for number, claim in enumerate(claims):
                found = re.search(rf"(?m){label}", claim)
                if WORD in claim.lower() and found:
                    said = re.sub(BEFORE, AFTER, found[0], flags=re.IGNORECASE)
                    claims[number] = claim[: found.start()] + said + claim[found.end() :]
                    changed += said != found[0]
            file.write_bytes("".join(claims).encode(encoding, "surrogateescape"))
    return changed


def answers(url: str, text: str) -> str:
    with urllib.request.urlopen(f"{url}/api/v1/modelo?texto={urllib.parse.quote(text)}", timeout=10) as answer:
        return str(answer.read().decode())


def test_a_changed_label_becomes_a_changed_answer_in_production(lab: Path, clones: dict[str, Clone]) -> None:
    service = clones["service"]
    url = platform()["environments"]["prod"]["verify"]["url"]
    # production answers as the data say now
    quick = ["--approve", "--set", "scan.enabled=false", "--set", "test.paths=[tests/test_model.py]"]
    quick += ["--set", "test.options=[]"]
    run(service, *quick, folder="service")
    assert answers(url, WORD) == BEFORE

    data = clones["data"]
    assert relabel(data.folder) > 20
    data.commit("fix: fly screens are the carpenter's")
    checked = run(data)
    promoted = checked["promote"]
    assert promoted["version"] != "0.1.0"
    assert checked["check"]["figures"]["curated"] > 6000

    model = clones["model"]
    model.use_data()
    model.commit("feat: learn from the data's new version")
    made = run(model)
    assert made["evaluate"]["champion"], "it was compared with the model that the service pins"
    assert made["promote"]["submodules"][0]["commit"] == promoted["commit"]
    with zipfile.ZipFile(model.folder / made["export"]["wheel"]) as wheel:
        about = json.loads(wheel.read("clasificador_modelo/linaje.json"))
    assert (about["data"]["commit"], about["code"]["commit"]) == (promoted["commit"], made["promote"]["commit"])
    properties = made["publish"]["properties"]
    assert properties["lineage.data.revision"] == promoted["commit"]
    assert properties["vcs.revision"] == made["promote"]["commit"]
    assert answers(url, WORD) == BEFORE, "nothing is in production that nobody accepted"

    service.accept()
    pinned = (service.folder / "service/requirements.txt").read_text()
    assert (
        f"clasificador-modelo=={made['publish']['version']} \\\n    --hash=sha256:{made['publish']['sha256']}" in pinned
    )
    delivered = run(service, *quick, folder="service")
    assert answers(url, WORD) == AFTER
    assert running_digests(lab, "prod") == {delivered["image"]["digest"]}


def test_again_each_pipeline_finds_everything_done(clones: dict[str, Clone]) -> None:
    for name, ran in (("data", {"promote"}), ("model", {"promote"})):
        run(clones[name])
        ended = statuses(clones[name].folder)
        assert {step for step, status in ended.items() if status == "passed"} == ran
