"""The laboratory's tables and files, without starting anything."""

from __future__ import annotations

import json
import os
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from lab import builds, doctor, engine, java, platform, world
from lab.layout import Lab, secret
from lab.parts import PARTS
from pipeline_tools.errors import ConfigError


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(java, "find", lambda: Path("/usr/bin/java"))
    made = Lab(dir=tmp_path / "lab", port=30000, cache=tmp_path)
    made.make_folders()
    return made


def test_every_part_needs_parts_that_exist_and_none_needs_itself() -> None:
    known: set[str] = set()
    waiting = list(PARTS)
    while waiting:
        free = [part for part in waiting if known.issuperset(part.needs)]
        assert free, f"these wait for each other: {[part.name for part in waiting]}"
        known |= {part.name for part in free}
        waiting = [part for part in waiting if part not in free]


def test_every_program_of_a_part_is_in_the_supervisors_configuration_and_the_other_way_round(lab: Lab) -> None:
    lines = lab.render("supervisord.conf").splitlines()
    configured = {line[len("[program:") : -1] for line in lines if line.startswith("[program:")}
    assert configured == {program for part in PARTS for program in part.programs}


def test_every_configuration_file_is_rendered_and_the_structured_ones_are_valid(lab: Lab) -> None:
    for file, text in lab.configuration().items():
        assert "{{" not in text
        if file.suffix in (".yml", ".yaml"):
            assert list(yaml.safe_load_all(text))
        if file.suffix == ".conflist":
            assert json.loads(text)["name"] == "lab"


def test_every_version_is_read_from_its_manifest() -> None:
    for build in builds.BUILDS.values():
        assert build.version[0].isdigit()
        assert build.version != "0", build.name


def test_a_change_of_the_manifest_is_a_new_build(tmp_path: Path) -> None:
    manifest = tmp_path / "go.mod"
    build = builds.Build(name="x", version="1", manifest=manifest, make=lambda folder, log: None)
    manifest.write_text("one")
    first = build.folder(tmp_path)
    manifest.write_text("two")
    assert build.folder(tmp_path) != first


def test_a_build_that_failed_is_not_taken_for_one_that_is_there(tmp_path: Path) -> None:
    manifest = tmp_path / "go.mod"
    manifest.write_text("x")

    def fail(folder: Path, log: builds.Log) -> None:
        (folder / "half").touch()
        raise OSError("no space left")

    build = builds.Build(name="x", version="1", manifest=manifest, make=fail)
    with pytest.raises(OSError, match="no space"):
        build.ensure(tmp_path, print)
    assert not build.folder(tmp_path).exists()


def test_the_users_own_servers_replace_their_parts_and_what_would_need_them() -> None:
    replaced = {part.name for part in engine.split({"docker", "sonarqube"})[1]}
    assert replaced == {"docker", "sonarqube", "base-image", "scanner"}
    replaced = {part.name for part in engine.split({"docker", "kubernetes"})[1]}
    assert {"containerd", "etcd", "api-server", "kubernetes", "dns", "metrics"} <= replaced
    assert engine.split(set())[1] == []


def test_only_the_servers_that_a_platform_file_names_count_as_the_users_own(tmp_path: Path) -> None:
    file = tmp_path / "platform.yml"
    file.write_text("sonarqube: {url: 'https://sonar.example.com'}\ndocker: {host: null}\nscan: {namespace: ci}\n")
    assert platform.read(file) == {"sonarqube": {"url": "https://sonar.example.com"}}
    file.write_text("locked: [scan]\nsonarqube: {url: 'https://sonar.example.com'}\n")
    assert platform.read(file) == {"sonarqube": {"url": "https://sonar.example.com"}}
    file.write_text("locked: [scan]\nsonarqube: yes\n")
    with pytest.raises(ConfigError, match=r"platform\.yml: `sonarqube` must be a section, such as"):
        platform.read(file)
    file.write_text("sonarqube\n")
    with pytest.raises(ConfigError, match="not made of sections"):
        platform.read(file)


def test_the_platform_file_refers_to_secrets_and_never_holds_one(lab: Lab) -> None:
    platform.make_credentials(lab)
    platform.write(lab)
    text = (lab.dir / "platform.yml").read_text()
    for name in ("artifactory-password", "artifactory-admin-password", "git-password"):
        file = lab.credentials / name
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.read_text() not in text
    assert yaml.safe_load(text)["artifactory"]["password"] == f"file:{lab.credentials / 'artifactory-password'}"


def test_the_users_own_server_is_copied_into_the_platform_file(lab: Lab) -> None:
    platform.remember(lab, {"kubernetes": {"context": "theirs"}})
    platform.write(lab)
    written = yaml.safe_load((lab.dir / "platform.yml").read_text())
    assert written["kubernetes"] == {"context": "theirs"}
    assert "environments" not in written


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    assert secret(tmp_path / "a", "first") == "first"
    assert secret(tmp_path / "a", "second") == "first"


def test_everything_that_is_missing_is_told_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "find", lambda: None)
    monkeypatch.setattr(doctor, "missing_packages", lambda: ["docker.io"])
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(doctor, "_available_memory", lambda: 2 * doctor.GIB)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(ConfigError) as refused:
        doctor.insist(lab)
    for name in (
        "packages: no apt-get here to install docker.io",
        "java",
        "memory: 2 GB available; 5 are needed",
        "go:",
    ):
        assert f"✘ {name}" in refused.value.details


def test_a_world_of_an_earlier_boot_is_not_taken_for_a_running_one(lab: Lab) -> None:
    assert not world.running(lab)
    mine = {"unshare": 1, "inside": 1, "slirp": 1}
    (lab.run / "world.json").write_text(
        json.dumps({**mine, "born": dict.fromkeys(mine, world.born(1)), "boot": "other"})
    )
    assert not world.running(lab)


@pytest.mark.parametrize("moment", ["the namespaces come up", "the last port is forwarded"])
def test_an_interrupted_start_leaves_no_process_and_no_half_of_a_world(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    ended: list[str] = []

    def detached(argv: list[str], *, log: object, keep: tuple[int, ...]) -> object:
        if argv[0] == "slirp4netns":
            os.write(keep[0], b"1")  # it is ready
        end = partial(ended.append, argv[0])
        return SimpleNamespace(pid=os.getpid(), poll=lambda: None, kill=end, wait=lambda: None)

    def child(pid: int) -> int:
        if moment == "the namespaces come up":
            raise KeyboardInterrupt
        return pid

    def ask(lab: Lab, question: dict[str, dict[str, int]]) -> dict[str, str]:
        assert world.running(lab)
        if question["arguments"]["host_port"] == list(lab.forwarded.values())[-1]:
            raise KeyboardInterrupt
        return {}

    (lab.run / "supervisor.sock").touch()
    for name, fake in (("_detached", detached), ("_child", child), ("_ask_slirp", ask)):
        monkeypatch.setattr(world, name, fake)
    for name in ("_check_ports", "_make_cgroups"):
        monkeypatch.setattr(world, name, lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        world.start(lab)
    assert ended == ["unshare"] + ["slirp4netns"] * (moment == "the last port is forwarded")
    assert world.read(lab) is None


def test_compilations_take_turns_in_their_order() -> None:
    turns = engine.Turns(["first", "second", "third", "fourth"], at_once=2)
    begun: list[str] = []
    gates = {name: threading.Event() for name in ("first", "second", "third", "fourth")}

    def work(name: str) -> None:
        with turns.turn(name):
            begun.append(name)
            assert gates[name].wait(10)

    def has_begun(*names: str) -> bool:
        end = time.monotonic() + 10
        while set(begun) != set(names) and time.monotonic() < end:
            time.sleep(0.005)
        return set(begun) == set(names)

    threads = [threading.Thread(target=work, args=(name,)) for name in reversed(gates)]
    for thread in threads:
        thread.start()
    assert has_begun("first", "second")
    gates["second"].set()
    assert has_begun("first", "second", "third")
    for gate in gates.values():
        gate.set()
    assert has_begun(*gates)
    for thread in threads:
        thread.join(10)
