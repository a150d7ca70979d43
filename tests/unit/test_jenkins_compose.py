"""What brings up a real Jenkins: it cannot be run here, so its parts are held against each other."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import Any

import yaml

from pipeline_tools import __version__
from pipeline_tools.config.layers import system
from pipeline_tools.config.schema import Jenkins
from tests.jenkins_server import PLUGINS

CHECKOUT = Path(__file__).resolve().parents[2]
HERE = CHECKOUT / "resources" / "jenkins"


def read(name: str) -> Any:
    return yaml.safe_load((HERE / name).read_text("utf-8"))


def test_images_and_plugins_have_versions() -> None:
    compose = read("compose.yaml")
    dockerfile = (HERE / "Dockerfile").read_text("utf-8")
    assert compose["services"]["jenkins"]["image"] == f"pipeline-tools-jenkins:{__version__}"
    assert re.search(r"^FROM jenkins/jenkins:[0-9.]+-lts-jdk21$", dockerfile, re.MULTILINE)
    lines = [line for line in (HERE / "plugins.txt").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert lines and lines == sorted(lines, key=lambda line: line.partition(":")[0])
    assert all(re.fullmatch(r"[a-z0-9-]+:[0-9][0-9a-z._-]+", line) for line in lines)
    names = [line.partition(":")[0] for line in lines]
    assert len(set(names)) == len(names)
    # what a seeded job is made of
    assert {plugin.partition("@")[0] for plugin in PLUGINS.values()} <= set(names)


def test_what_is_copied_is_there_and_not_ignored() -> None:
    kept = [line[1:] for line in (HERE / "Dockerfile.dockerignore").read_text("utf-8").splitlines() if line[0] == "!"]
    copies = re.findall(r"^COPY (?:--\S+ )?(.+) \S+$", (HERE / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    sources = [source for copy in copies for source in copy.split()]
    assert len(sources) == 8
    for source in sources:
        assert (CHECKOUT / source).exists()
        assert any(fnmatch.fnmatch(source, pattern) or source.startswith(f"{pattern}/") for pattern in kept)


def test_secrets_and_variables_come_from_the_compose_file() -> None:
    service = read("compose.yaml")["services"]["jenkins"]
    used = set(re.findall(r"\$\{(\w+)", (HERE / "jenkins.yaml").read_text("utf-8")))
    assert used == {*service["secrets"], "JENKINS_PORT", "LIBRARY_VERSION"}
    assert used - set(service["secrets"]) <= service["environment"].keys()
    assert set(service["secrets"]) == read("compose.yaml")["secrets"].keys()


def test_its_jobs_are_of_the_repository_that_it_has() -> None:
    section, _ = system("jenkins", HERE / "platform.yml")
    assert isinstance(section, Jenkins)
    (job,) = section.jobs.values()
    assert job.repository == "file:///library" and (CHECKOUT / job.jenkinsfile).is_file()


def test_the_library_is_this_checkout() -> None:
    (library,) = read("jenkins.yaml")["unclassified"]["globalLibraries"]["libraries"]
    assert library["name"] == "pipeline-tools"
    remote = library["retriever"]["modernSCM"]["scm"]["git"]["remote"]
    (mount,) = [each for each in read("compose.yaml")["services"]["jenkins"]["volumes"] if isinstance(each, dict)]
    assert remote == f"file://{mount['target']}" and mount["read_only"]
    assert (HERE / mount["source"]).resolve() == CHECKOUT
