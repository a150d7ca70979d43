"""The bundled service as it is shipped: its image, its page, and the predictions that it keeps."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
import yaml
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from benchmarks.service import pods
from lab.layout import NODE_IP
from pipeline_tools.config import layers
from tests.e2e.conftest import CHECKOUT, outputs, platform, tool

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=platform()["docker"]["host"], timeout=120)
    yield client
    client.close()


# The image


def test_the_same_inputs_make_the_same_image(
    lab: Path, workspace: Path, service_image: str, engine: docker.DockerClient
) -> None:
    service = workspace / "service"
    built = outputs(service, "image")
    engine.images.remove(f"{built['repository']}:{built['tag']}", force=True)
    for file in service.rglob("*"):
        if ".pipeline" not in file.parts:
            os.utime(file)
    result = tool(service, "step", "image", "--force", "--set", "image.cache=false")
    assert result.returncode == 0, result.stderr[-5000:]
    assert "Using cache" not in result.stderr
    assert "Successfully built" in result.stderr
    assert outputs(service, "image")["digest"] == built["digest"]


def test_it_runs_without_root_shell_or_anything_to_write_to_and_says_that_it_is_healthy(
    service_image: str, engine: docker.DockerClient
) -> None:
    image = engine.images.pull(service_image, auth_config=_login())
    settings = image.attrs["Config"]
    assert settings["User"] == "10001:10001"
    assert settings["Cmd"][0] == "python3" and settings["Healthcheck"]["Test"][:2] == ["CMD", "python3"]
    labels = {name.removeprefix("org.opencontainers.image.") for name in settings["Labels"]}
    assert {"title", "version", "revision", "description", "licenses", "base.name"} <= labels
    container = engine.containers.run(
        service_image, detach=True, read_only=True, cap_drop=["ALL"], security_opt=["no-new-privileges"]
    )
    try:
        shell = container.exec_run(["python3", "-c", "import os; os.remove('/bin/sh')"])
        assert b"Read-only file system" in shell.output or b"Permission denied" in shell.output
        end = time.monotonic() + 60
        while engine.api.inspect_container(str(container.id))["State"]["Health"]["Status"] != "healthy":
            assert time.monotonic() < end, container.logs()[-2000:]
            time.sleep(0.5)
        code = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/api/v1/status').read().decode())"
        assert container.exec_run(["python3", "-c", code]).output == b"OK\n"
        container.stop(timeout=20)
        assert container.wait()["StatusCode"] == 0
    finally:
        container.remove(force=True)


def test_it_adds_little_to_its_base(service_image: str, engine: docker.DockerClient) -> None:
    image = engine.images.pull(service_image, auth_config=_login())
    base = engine.images.get(platform()["image"]["build_args"]["BASE_IMAGE"])
    own = image.attrs["Size"] - base.attrs["Size"]
    assert image.attrs["RootFS"]["Layers"][: len(base.attrs["RootFS"]["Layers"])] == base.attrs["RootFS"]["Layers"]
    assert own < 60e6, f"{own / 1e6:.0f} MB on a base of {base.attrs['Size'] / 1e6:.0f} MB"


def _login() -> dict[str, str]:
    credentials = Path(os.environ["PIPELINE_TOOLS_LAB_DIR"]) / "credentials"
    return {"username": "ci", "password": (credentials / "artifactory-password").read_text().strip()}


# The chart


class _Strict(yaml.SafeLoader):
    """Refuses a key that stands twice, of which Kubernetes takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"{keys}{node.start_mark}"
        return super().construct_mapping(node, deep)


@pytest.mark.parametrize(
    "values", [{}, {"autoscaling": {"memory": None}}, {"secret": {"A": "b"}, "ingress": {"tls": []}}]
)
@pytest.mark.parametrize("captures", [False, True])
def test_no_key_of_the_chart_stands_twice(values: dict[str, Any], captures: bool) -> None:
    image = {"repository": "r.example.com/a", "digest": f"sha256:{'0' * 64}", "version": "1"}
    capture = {"enabled": captures, "url": "https://a.example.com/b", "existingSecret": "to"}
    given = yaml.safe_dump({"image": image, "capture": capture, **values})
    argv = ["helm", "template", "a", str(CHECKOUT / "chart"), "--values", "-"]
    text = subprocess.run(argv, input=given, check=True, capture_output=True, text=True).stdout
    objects = {found["kind"]: found for found in yaml.load_all(text, _Strict) if found}
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert variables["SERVICIO_POD"] == "$(NAMESPACE)/$(POD)"
    assert ("SERVICIO_CAPTURE_DIR" in variables) is captures
    if captures:
        (volume,) = pod["volumes"]
        most = (int(variables["SERVICIO_CAPTURE_FILES"]) + 1) * int(variables["SERVICIO_CAPTURE_FILE_BYTES"])
        assert most < int(volume["emptyDir"]["sizeLimit"]) < 1.1 * most
    metrics = [metric["resource"]["name"] for metric in objects["HorizontalPodAutoscaler"]["spec"]["metrics"]]
    assert metrics == (["cpu"] if "autoscaling" in values else ["cpu", "memory"])


# Predictions that are kept for retraining


def test_kept_predictions_come_to_artifactory_the_last_ones_too_and_what_cannot_is_dropped_and_counted(
    service_image: str, tmp_path: Path
) -> None:
    config = layers.load(CHECKOUT / "service", environment="test").config
    login = _login()
    folder = f"generic-local/capturas-{time.time():.0f}"
    artifactory = str(config.artifactory.url)
    host = artifactory.partition("://")[2].partition("/")[0]
    url = f"{artifactory.replace(host.partition(':')[0], NODE_IP)}/{folder}"
    session = requests.Session()
    session.auth = (login["username"], login["password"])

    def kept(path: str = folder) -> list[dict[str, Any]]:
        listed = session.get(f"{artifactory}/api/storage/{path}", timeout=10)
        records: list[dict[str, Any]] = []
        for child in listed.json()["children"] if listed.ok else ():
            if child["folder"]:
                records += kept(path + child["uri"])
            else:
                lines = session.get(f"{artifactory}/{path}{child['uri']}", timeout=10).text.splitlines()
                records += map(json.loads, lines)
        return records

    def ask(pod: str, text: str, times: int = 1) -> None:
        code = f"""
import urllib.request as u
for _ in range({times}):
    u.urlopen(u.Request('http://127.0.0.1:8080/api/v2/modelo', data={text.encode()!r}, method='POST')).read()
"""
        cluster.python(pod, code)

    def dropped(pod: str) -> bool:
        code = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9090/metrics').read().decode())"
        return 'servicio_capture_dropped_total{reason="files"}' in cluster.python(pod, code)

    with pods.cluster(config, service_image) as cluster:
        for name, password in (("kept", login["password"]), ("refused", "wrong")):
            secret = {"username": login["username"], "password": password}
            about = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"to-{name}"}}
            cluster.apply({**about, "stringData": secret})
            capture = {"enabled": True, "url": url, "existingSecret": f"to-{name}", "fileAge": "1", "interval": "1"}
            if name == "refused":
                capture |= {"files": "1", "fileBytes": "1"}
            cluster.apply(*pods.chart(cluster, name, capture=capture, replicaCount=1))
        for name in ("kept", "refused"):
            cluster.kubectl("rollout", "status", f"deployment/{name}", "--timeout=120s", seconds=150)
        pod, unlucky = (pods.pods(cluster, name)[0]["metadata"]["name"] for name in ("kept", "refused"))
        ask(pod, "Me llamo Ana García, 612 345 678: gotea el grifo")
        pods.eventually(kept, "the file in Artifactory")
        (record,) = kept()
        assert record["text"] == "Me llamo [nombre], [teléfono]: gotea el grifo"
        assert record["tokens"][0]["token"] == "fontanería"
        assert set(record["model"]) == {"version", "digest", "data"}
        served = cluster.python(pod, "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/').headers)")
        assert f"served-by: {cluster.namespace}/{pod}" in served.lower()

        ask(pod, "se ha roto la persiana", 20)
        cluster.kubectl("delete", "deployment", "kept", "--wait=false")
        pods.eventually(lambda: len(kept()) == 21, "what was kept until the end")

        ask(unlucky, "no hay luz", 5)
        pods.eventually(lambda: dropped(unlucky), "that it was counted")
        logs = ("logs", unlucky, "--container", "upload")
        pods.eventually(lambda: "could not be sent: HTTP Error 401" in cluster.kubectl(*logs), "that it was said")
        assert "wrong" not in cluster.kubectl(*logs)
        assert len(kept()) == 21


# The page


@pytest.fixture(scope="module")
def page(lab: Path, workspace: Path) -> Iterator[tuple[webdriver.Chrome, str]]:
    """A browser, and the address of the service in TEST."""
    service = workspace / "service"
    result = tool(service, "run", "--environment", "test")
    assert result.returncode == 0, result.stderr[-5000:]
    address = str(outputs(service, "verify-test")["url"])
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    yield browser, address
    browser.quit()


def rows(browser: webdriver.Chrome) -> list[tuple[str, float, str]]:
    """Trade, length of its bar, and the number beside it."""
    WebDriverWait(browser, 10).until(lambda it: it.find_elements(By.CSS_SELECTOR, "#gremios li"))
    return [
        (cells[0].text, float(str(row.find_element(By.TAG_NAME, "meter").get_attribute("value"))), cells[1].text)
        for row in browser.find_elements(By.CSS_SELECTOR, "#gremios li")
        if (cells := row.find_elements(By.TAG_NAME, "span"))
    ]


def test_the_page_shows_trades_as_bars_and_which_model_said_so(page: tuple[webdriver.Chrome, str]) -> None:
    browser, address = page
    told = requests.get(f"{address}/api/v1/status?format=json", timeout=10).json()["model"]
    answer = requests.post(f"{address}/api/v2/modelo", data=b"gotea el grifo", timeout=10).json()
    browser.get(address)
    browser.find_element(By.ID, "texto").send_keys("gotea el grifo")
    browser.find_element(By.TAG_NAME, "button").click()
    shown = [
        (token["token"], float(token["score"]), str(token["score"])) for token in answer["classification"]["tokens"]
    ]
    assert rows(browser) == shown
    assert shown[0][0] == "fontanería"
    footer = browser.find_element(By.ID, "modelo").text
    assert told["version"] in footer and told["digest"] in footer and told["lineage"]["data"]["sha256"] in footer
    assert browser.get_log("browser") == [], "no error, nothing that its own policy forbids"  # type: ignore[no-untyped-call]


def test_an_address_with_a_text_can_be_sent_to_somebody(page: tuple[webdriver.Chrome, str]) -> None:
    browser, address = page
    browser.get(f"{address}/?texto=se+ha+roto+la+persiana")
    assert rows(browser)[0][0] == "persianas"
    assert browser.find_element(By.ID, "texto").get_attribute("value") == "se ha roto la persiana"


def test_what_goes_wrong_is_said(page: tuple[webdriver.Chrome, str]) -> None:
    browser, address = page
    browser.get(address)
    button, notice = browser.find_element(By.TAG_NAME, "button"), browser.find_element(By.ID, "aviso")
    browser.execute_script("document.getElementById('texto').value = 'a'.repeat(10001)")
    button.click()
    WebDriverWait(browser, 10).until(lambda _: "10001" in notice.text)
    browser.set_network_conditions(offline=True, latency=0, throughput=1)
    try:
        button.click()
        WebDriverWait(browser, 10).until(lambda _: notice.text == "El servicio no contesta.")
    finally:
        browser.delete_network_conditions()
