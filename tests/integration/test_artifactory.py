"""The laboratory's Artifactory, proven with the clients that people use, and our own client for it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
import yaml
from artifactory import ArtifactoryPath

from pipeline_tools.errors import ConfigError, CredentialError, InfrastructureError, QualityError
from pipeline_tools.systems.artifactory import Artifactory, Image
from tests.ports import free_port

DEPLOYER, READER = ("deployer", "deployer-pass-1"), ("reader", "reader-pass-2")
CHECKOUT = Path(__file__).resolve().parents[2]


def wait_for(url: str) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            requests.get(url, timeout=1)
        except requests.ConnectionError:
            assert time.monotonic() < end, f"{url} did not come up"
            time.sleep(0.1)
        else:
            return


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a server with a real registry behind it."""
    folder = tmp_path_factory.mktemp("artifactory")
    ports = free_port(), free_port()
    for name, password in (DEPLOYER, READER):
        (folder / f"{name}.password").write_text(password + "\n")
    registry = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
        "http": {"addr": f"127.0.0.1:{ports[0]}"},
    }
    (folder / "registry.yml").write_text(yaml.safe_dump(registry))
    users = [
        {"name": name, "password_file": str(folder / f"{name}.password"), "roles": [name]}
        for name in ("deployer", "reader")
    ]
    config = {
        "listen": f"127.0.0.1:{ports[1]}",
        "data": str(folder / "data"),
        "registry": f"http://127.0.0.1:{ports[0]}",
        "users": users,
    }
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    argv = [
        ["docker-registry", "serve", str(folder / "registry.yml")],
        [sys.executable, "-m", "lab.artifactory", "--config", str(folder / "config.yml")],
    ]
    processes = [subprocess.Popen(words, cwd=CHECKOUT, stderr=subprocess.DEVNULL) for words in argv]
    try:
        for port in ports:
            wait_for(f"http://127.0.0.1:{port}/")
        yield f"127.0.0.1:{ports[1]}"
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


@pytest.fixture(scope="module")
def url(host: str) -> str:
    return f"http://{host}/artifactory"


@pytest.fixture
def ours(url: str) -> Artifactory:
    return Artifactory(url, *DEPLOYER)


def run(*argv: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    result = subprocess.run(
        argv, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def wheel(folder: Path, name: str, version: str) -> Path:
    """A small valid wheel."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


# ── our client ──


def test_a_file_goes_in_with_properties_and_comes_back(ours: Artifactory, tmp_path: Path) -> None:
    file = tmp_path / "a b.txt"
    file.write_bytes(b"content")
    target = "generic-local/dir/a b.txt"
    first = ours.upload(file, target, {"commit": "1;2=3", "año": "ñ"})
    assert first.new
    assert first.sha256 == hashlib.sha256(b"content").hexdigest() == ours.sha256(target)
    assert not ours.upload(file, target, {}).new, "the same bytes again are no change"
    assert ours.properties(target) == {"commit": ["1;2=3"], "año": ["ñ"]}
    ours.download(target, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"content"
    file.write_bytes(b"other")
    with pytest.raises(QualityError, match="with other content"):
        ours.upload(file, target, {})
    assert ours.sha256("generic-local/none") is None
    assert ours.properties("generic-local/none") == {}


def test_artifacts_are_found_by_their_properties(url: str, ours: Artifactory, tmp_path: Path) -> None:
    data = {"lineage.data.revision": "c0ffee12", "vcs.revision": "abc[1]"}
    for name, properties in (("one", data), ("two", {**data, "lineage.data.revision": "c0ffee99"}), ("three", {})):
        (tmp_path / name).write_text(name)
        ours.upload(tmp_path / name, f"generic-local/found/{name}", properties)

    def names(repository: str = "generic-local", **properties: str) -> list[str]:
        found = ours.find(repository, {name.replace("_", "."): value for name, value in properties.items()})
        return [artifact.target for artifact in found]

    both = ["generic-local/found/one", "generic-local/found/two"]
    assert names(lineage_data_revision="c0ffee12") == ["generic-local/found/one"]
    assert names(lineage_data_revision="c0ffee*") == names(lineage_data_revision="") == both
    assert names(lineage_data_revision="c0ffee??", vcs_revision="abc[1]") == both
    assert names(lineage_data_revision="C0FFEE12") == names(lineage_data_revision="c0ffee") == []
    assert names("pypi-local", lineage_data_revision="c0ffee*") == []
    (one,) = ours.find("generic-local", {"lineage.data.revision": "c0ffee12"})
    assert (one.sha256, one.value("vcs.revision"), one.value("other")) == (ours.sha256(one.target), "abc[1]", "")
    assert one == ours.artifact("generic-local/found/one")
    assert ours.artifact("generic-local/found/none") is None

    # what the documentation says of it: addresses alone unless more is asked for, no repository named means all
    search = f"{url}/api/search/prop"
    plain = requests.get(search, params={"lineage.data.revision": "c0ffee12"}, auth=READER, timeout=10).json()
    assert plain == {"results": [{"uri": f"{url}/api/storage/generic-local/found/one"}]}
    for query, user, status in (("", READER, 400), ("?a=b", ("reader", "wrong"), 401), ("?a=b&repos=no", READER, 404)):
        assert requests.get(search + query, auth=user, timeout=10).status_code == status


def push(host: str, name: str, content: bytes, kind: str, tag: str | None = None) -> dict[str, str | int]:
    """Put a blob, or with ``tag`` a manifest, as the registry's protocol says; returns its descriptor."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    where = f"http://{host}/v2/docker-local/{name}"
    if tag is None:
        place = requests.post(f"{where}/blobs/uploads/", auth=DEPLOYER, timeout=10).headers["Location"]
        answer = requests.put(place, params={"digest": digest}, data=content, auth=DEPLOYER, timeout=10)
    else:
        headers = {"Content-Type": kind}
        answer = requests.put(f"{where}/manifests/{tag}", data=content, headers=headers, auth=DEPLOYER, timeout=10)
    assert answer.status_code == 201, answer.text
    return {"mediaType": kind, "digest": digest, "size": len(content)}


def test_the_labels_of_an_image_and_of_one_for_several_platforms(host: str, ours: Artifactory) -> None:
    oci = "application/vnd.oci.image"
    labelled = json.dumps({"config": {"Labels": {"a": "ñ"}}}).encode()
    config = push(host, "labelled", labelled, f"{oci}.config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": f"{oci}.manifest.v1+json", "config": config, "layers": []}
    first = push(host, "labelled", json.dumps(manifest).encode(), f"{oci}.manifest.v1+json", "one")
    # an attestation stands before the image
    others = [{**first, "platform": {"os": os, "architecture": "amd64"}} for os in ("unknown", "linux")]
    index = {"schemaVersion": 2, "mediaType": f"{oci}.index.v1+json", "manifests": others}
    both = push(host, "labelled", json.dumps(index).encode(), f"{oci}.index.v1+json", "many")

    image = f"{host}/docker-local/labelled"
    for reference, digest in (("one", first["digest"]), (first["digest"], first["digest"]), ("many", both["digest"])):
        assert ours.image(image, str(reference)) == Image(digest=str(digest), labels={"a": "ñ"})
    assert ours.image(image, "none") is None
    assert ours.image(f"{host}/docker-local/none", "one") is None
    assert sorted(ours.tags(image)) == ["many", "one"]
    assert ours.tags(f"{host}/docker-local/none") == []

    for kind, content in ((f"{oci}.config.v1+json", b"{}"), ("application/vnd.other", b"\xff no JSON")):
        other = {**manifest, "config": push(host, "labelled", content, kind)}
        push(host, "labelled", json.dumps(other).encode(), f"{oci}.manifest.v1+json", "bare")
        found = ours.image(image, "bare")
        assert found is not None and found.labels == {}


def test_errors_have_their_class(url: str, ours: Artifactory, tmp_path: Path) -> None:
    ours.ping()
    with pytest.raises(CredentialError, match="refused the login"):
        Artifactory(url, DEPLOYER[0], "wrong").ping()
    file = tmp_path / "f"
    file.write_text("x")
    with pytest.raises(CredentialError):
        Artifactory(url, *READER).upload(file, "generic-local/reader", {})
    with pytest.raises(InfrastructureError, match="does not answer"):
        Artifactory(f"http://127.0.0.1:{free_port()}/artifactory", *DEPLOYER).ping()
    with pytest.raises(ConfigError, match="404"):
        ours.download("generic-local/none", tmp_path / "none")


# ── public clients ──


def test_curl(url: str, tmp_path: Path) -> None:
    file = tmp_path / "f.txt"
    file.write_text("by curl")
    login = ["--user", ":".join(DEPLOYER)]
    run("curl", "--fail", "--silent", *login, "--upload-file", str(file), f"{url}/generic-local/curl/f.txt;by=curl")
    assert run("curl", "--fail", "--silent", *login, f"{url}/generic-local/curl/f.txt") == "by curl"
    assert '"by":["curl"]' in run("curl", "--silent", *login, f"{url}/api/storage/generic-local/curl/f.txt?properties")


def test_dohq_artifactory(url: str, tmp_path: Path) -> None:
    file = tmp_path / "f.txt"
    file.write_text("by dohq")
    path = ArtifactoryPath(f"{url}/generic-local/dohq/f.txt", auth=DEPLOYER)
    path.deploy_file(file, parameters={"by": "dohq"})
    assert path.exists()
    assert path.read_text() == "by dohq"
    assert path.properties == {"by": ["dohq"]}
    assert path.stat().sha256 == hashlib.sha256(b"by dohq").hexdigest()


def test_twine_and_pip(url: str, tmp_path: Path) -> None:
    packed = wheel(tmp_path, "lab_sample", "1.2.3")
    upload = [
        sys.executable,
        "-m",
        "twine",
        "upload",
        "--non-interactive",
        "--repository-url",
        f"{url}/api/pypi/pypi-local",
    ]
    variables = {"TWINE_USERNAME": DEPLOYER[0], "TWINE_PASSWORD": DEPLOYER[1]}
    run(*upload, str(packed), env=variables)
    run(*upload, str(packed), env=variables)  # again: the same file is no error

    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login {READER[0]} password {READER[1]}\n")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-cache-dir", "--target", str(tmp_path / "t")]
    index = ["--index-url", f"{url}/api/pypi/pypi-local/simple"]
    run(*pip, *index, "lab-sample==1.2.3", env={"NETRC": str(netrc), "PIP_FIND_LINKS": ""})
    assert "1.2.3" in (tmp_path / "t/lab_sample/__init__.py").read_text()


def test_helm(host: str, url: str, tmp_path: Path) -> None:
    assert shutil.which("helm"), "lab/with-lab puts the laboratory's helm on PATH"
    home = {f"HELM_{name}_HOME": str(tmp_path / name) for name in ("CACHE", "CONFIG", "DATA")}
    run("helm", "create", "sample", cwd=tmp_path, env=home)
    run("helm", "package", "sample", cwd=tmp_path, env=home)
    login = ["--username", DEPLOYER[0], "--password", DEPLOYER[1]]
    run("helm", "registry", "login", host, *login, "--plain-http", env=home)
    run("helm", "push", "sample-0.1.0.tgz", f"oci://{host}/helm-local", "--plain-http", cwd=tmp_path, env=home)
    into = ["--destination", str(tmp_path / "out")]
    (tmp_path / "out").mkdir()
    run("helm", "pull", f"oci://{host}/helm-local/sample", "--version", "0.1.0", "--plain-http", *into, env=home)
    assert (tmp_path / "out/sample-0.1.0.tgz").is_file()
    assert Artifactory(url, *DEPLOYER).manifest_digest(f"{host}/helm-local/sample", "0.1.0") is not None
    assert Artifactory(url, *DEPLOYER).manifest_digest(f"{host}/helm-local/sample", "9.9.9") is None

    # the classic way: put the file there, read the index
    put = requests.put(
        f"{url}/helm-local/sample-0.1.0.tgz",
        data=(tmp_path / "sample-0.1.0.tgz").read_bytes(),
        auth=DEPLOYER,
        timeout=10,
    )
    assert put.status_code == 201
    run("helm", "repo", "add", "lab", f"{url}/api/helm/helm-local", *login, "--pass-credentials", env=home)
    (tmp_path / "classic").mkdir()
    run("helm", "pull", "lab/sample", "--destination", str(tmp_path / "classic"), env=home)
    assert (tmp_path / "classic/sample-0.1.0.tgz").is_file()


# ── hostile and unlucky ──


@pytest.mark.parametrize(
    ("method", "path", "user", "status"),
    [
        ("GET", "/artifactory/generic-local/x", None, 401),
        ("GET", "/artifactory/generic-local/x", ("deployer", "deployer-pass-2"), 401),
        ("GET", "/artifactory/generic-local/x", ("nobody", ""), 401),
        ("GET", "/v2/", None, 401),
        ("PUT", "/artifactory/generic-local/x", READER, 403),
        ("POST", "/v2/docker-local/x/blobs/uploads/", READER, 403),
        ("DELETE", "/artifactory/generic-local/keep", DEPLOYER, 403),
        ("GET", "/artifactory/generic-local/none", READER, 404),
        ("GET", "/artifactory/nowhere/x", READER, 404),
        ("GET", "/v2/nowhere/x/tags/list", READER, 404),
        ("GET", "/artifactory/generic-local/a/%2e%2e/%2e%2e/%2e%2e/etc/passwd", READER, 400),
        ("PUT", "/artifactory/generic-local/..%2f..%2fevil", DEPLOYER, 400),
        ("GET", "/artifactory/generic-local/keep.artifact.json", READER, 400),
        ("GET", "/artifactory/generic-local/a//b", READER, 400),
    ],
)
def test_what_is_refused(
    host: str, url: str, method: str, path: str, user: tuple[str, str] | None, status: int
) -> None:
    requests.put(f"{url}/generic-local/keep", data=b"", auth=DEPLOYER, timeout=10)
    # requests would tidy the path: curl sends it as it is
    login = ["--user", ":".join(user)] if user else []
    said = run(
        "curl",
        "--silent",
        "--path-as-is",
        "--request",
        method,
        *login,
        "--write-out",
        "\n%{http_code}",
        f"http://{host}{path}",
    )
    body, _, code = said.rpartition("\n")
    assert int(code) == status
    assert '"errors"' in body


def test_a_wrong_checksum_stores_nothing(url: str) -> None:
    target = f"{url}/generic-local/sum"
    answer = requests.put(target, data=b"x", headers={"X-Checksum-Sha256": "0" * 64}, auth=DEPLOYER, timeout=10)
    assert answer.status_code == 409
    assert requests.get(target, auth=DEPLOYER, timeout=10).status_code == 404


def test_a_cut_off_upload_stores_nothing(host: str, url: str) -> None:
    name, _, port = host.partition(":")
    session = requests.Request("PUT", f"{url}/generic-local/cut", auth=DEPLOYER).prepare()
    with socket.create_connection((name, int(port))) as connection:
        head = f"PUT /artifactory/generic-local/cut HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000\r\n"
        connection.sendall(f"{head}Authorization: {session.headers['Authorization']}\r\n\r\n".encode() + b"x" * 1000)
    time.sleep(0.5)
    assert requests.get(f"{url}/generic-local/cut", auth=DEPLOYER, timeout=10).status_code == 404


def test_an_artifact_is_not_overwritten_and_uploads_at_once_leave_a_whole_one(url: str) -> None:
    contents = [bytes([65 + number]) * 300_000 for number in range(8)]

    def put(content: bytes) -> int:
        return requests.put(f"{url}/generic-local/race", data=content, auth=DEPLOYER, timeout=30).status_code

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(put, contents))
    assert 201 in codes
    assert set(codes) <= {201, 403}
    answer = requests.get(f"{url}/generic-local/race", auth=DEPLOYER, timeout=10)
    assert answer.content in contents
    assert answer.headers["X-Checksum-Sha256"] == hashlib.sha256(answer.content).hexdigest()
    assert put(b"later") == 403


def test_a_registry_that_is_gone_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("secret-pass-3")
    port = free_port()
    config = {
        "listen": f"127.0.0.1:{port}",
        "data": str(tmp_path / "data"),
        "registry": f"http://127.0.0.1:{free_port()}",
        "users": [{"name": "u", "password_file": str(tmp_path / "p"), "roles": ["reader"]}],
    }
    (tmp_path / "c.yml").write_text(yaml.safe_dump(config))
    argv = [sys.executable, "-m", "lab.artifactory", "--config", str(tmp_path / "c.yml")]
    with subprocess.Popen(argv, cwd=CHECKOUT, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/")
            answer = requests.get(f"http://127.0.0.1:{port}/v2/", auth=("u", "secret-pass-3"), timeout=10)
        finally:
            process.terminate()
    assert answer.status_code == 502
    assert "does not answer" in answer.json()["errors"][0]["message"]
