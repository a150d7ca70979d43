"""`init` and then `run`, without a touch of an editor, on repositories as people have them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.test_run import commit, git, ledger, tool

LIBRARY = {
    "pyproject.toml": '[project]\nname = "doubler"\nversion = "1.0.0"\n',
    "src/doubler/__init__.py": "def double(x: int) -> int:\n    return 2 * x\n",
    "tests/test_double.py": "from doubler import double\n\n\ndef test_double() -> None:\n    assert double(2) == 4\n",
}
UNITTEST = {
    "calculator/__init__.py": "",
    "calculator/sums.py": "def add(a: int, b: int) -> int:\n    return a + b\n",
    "tests/__init__.py": "",
    "tests/testsums.py": "import unittest\n\nfrom calculator.sums import add\n\n\n"
    "class Sums(unittest.TestCase):\n    def test_add(self) -> None:\n        self.assertEqual(add(1, 2), 3)\n",
}
SERVICE = {
    "app/__init__.py": "STATUS = 'OK'\n",
    "tests/test_app.py": "import app\n\n\ndef test_status() -> None:\n    assert app.STATUS == 'OK'\n",
    "Dockerfile": "FROM scratch\nCOPY app /app\n",
    "chart/Chart.yaml": "apiVersion: v2\nname: app\nversion: 0.1.0\n",
    "chart/values.yaml": "replicas: 1\n",
    "chart/values-test.yaml": "replicas: 1\n",
    "chart/values-prod.yaml": "replicas: 2\n",
}
# A web application whose package is below `src`, with an application factory and pytest's fixtures.
FLASK = {
    "pyproject.toml": '[project]\nname = "shop"\nversion = "1.4.0"\ndependencies = ["flask"]\n'
    '[build-system]\nrequires = ["setuptools"]\n[tool.setuptools.packages.find]\nwhere = ["src"]\n',
    "requirements.txt": "flask==3.1.3\n",
    "requirements-dev.txt": "-r requirements.txt\npytest\npytest-cov\n",
    "src/shop/__init__.py": "from flask import Flask\n\n\ndef create_app() -> Flask:\n"
    "    from shop.views import pages\n\n    app = Flask(__name__)\n"
    "    app.register_blueprint(pages)\n    return app\n",
    "src/shop/views.py": "from flask import Blueprint, render_template\n\npages = Blueprint('pages', __name__)\n\n\n"
    "@pages.get('/')\ndef index() -> str:\n    return render_template('index.html', name='shop')\n",
    "src/shop/templates/index.html": "<h1>{{ name }}</h1>\n",
    "tests/conftest.py": "import pytest\n\nfrom shop import create_app\n\n\n@pytest.fixture\ndef client():\n"
    "    return create_app().test_client()\n",
    "tests/test_views.py": "def test_index(client) -> None:\n    assert b'<h1>shop</h1>' in client.get('/').data\n",
    "Dockerfile": "FROM python:3.11-slim\nCOPY . /app\nRUN pip install /app\nCMD ['flask', '--app', 'shop', 'run']\n",
    ".gitignore": "__pycache__/\n*.egg-info/\n",
}
# Two services, each in a folder of its own, that have nothing in common but the repository; one has a chart.
TWO_SERVICES = {
    "README.md": "# Two services\n",
    **{f"services/catalogue/{name}": text for name, text in SERVICE.items()},
    "services/orders/orders.py": "def total(prices: list[int]) -> int:\n    return sum(prices)\n",
    "services/orders/test_orders.py": "import orders\n\n\ndef test_total() -> None:\n"
    "    assert orders.total([1, 2]) == 3\n",
    "services/orders/Dockerfile": "FROM scratch\nCOPY orders.py /\n",
}


def repository(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "--quiet", "--initial-branch=develop")
    commit(folder)
    return folder


@pytest.mark.parametrize("files", [FLASK, LIBRARY, UNITTEST, SERVICE], ids=["flask", "library", "unittest", "service"])
def test_init_and_run_work_at_once(tmp_path: Path, files: dict[str, str]) -> None:
    project = repository(tmp_path / "shop", files)
    cache = os.environ.get("PIPELINE_TOOLS_CACHE", str(Path("~/.cache/pipeline-tools").expanduser()))
    newcomer = {"HOME": str(tmp_path), "PIPELINE_TOOLS_PLATFORM": "", "PIPELINE_TOOLS_CACHE": cache}
    first = tool(project, "init", **newcomer)
    assert first.returncode == 0, first.stderr
    result = tool(project, "run", **newcomer)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    outputs = ledger(project, "steps/test/outputs.json")
    assert (outputs["tests"], outputs["failed"], outputs["coverage_percent"]) == (1, 0, 100.0)

    before = {name: (project / name).read_bytes() for name in ("pipeline.yml", "Jenkinsfile")}
    assert tool(project, "init", **newcomer).returncode == 0
    assert before == {name: (project / name).read_bytes() for name in before}
    commit(project)
    assert tool(project, "run", **newcomer).returncode == 0


def test_init_and_run_work_at_once_on_a_repository_with_two_services(tmp_path: Path) -> None:
    whole = repository(tmp_path / "shop", TWO_SERVICES)
    newcomer = {"HOME": str(tmp_path), "PIPELINE_TOOLS_PLATFORM": ""}
    first = tool(whole, "init", **newcomer)
    assert first.returncode == 0, first.stderr
    assert "wrote services/orders/Jenkinsfile" in first.stdout
    planned = tool(whole, "plan", **newcomer)
    assert "catalogue (service)" in planned.stdout
    assert "orders (service)" in planned.stdout
    result = tool(whole, "run", **newcomer)
    assert result.returncode == 0, result.stderr
    for name in ("catalogue", "orders"):
        assert f"── services/{name}" in result.stderr
        assert ledger(whole / "services" / name, "steps/test/outputs.json")["tests"] == 1
    assert not (whole / ".pipeline").exists()

    (whole / "services/catalogue/tests/test_app.py").write_text("def test_status() -> None:\n    assert False\n")
    assert tool(whole, "run", **newcomer).returncode == 3
    assert ledger(whole / "services/orders", "run.json")["steps"][0]["status"] == "unchanged", "it has its turn"
    (whole / "services/catalogue/pipeline.yml").write_text("nmae: x\n")
    broken = tool(whole, "run", **newcomer)
    assert broken.returncode == 2
    assert "services/catalogue/pipeline.yml:1" in broken.stderr
    assert "= test unchanged" in broken.stderr


def test_a_service_on_a_laptop_without_servers_is_told_what_is_left_out(tmp_path: Path) -> None:
    project = repository(tmp_path / "shop", SERVICE)
    newcomer = {"HOME": str(tmp_path), "PIPELINE_TOOLS_PLATFORM": ""}
    tool(project, "init", **newcomer)
    result = tool(project, "run", **newcomer)
    left_out = [line for line in result.stderr.splitlines() if line.startswith("Left out: ")]
    assert len(left_out) == 1
    assert "image, chart, deploy-test" in left_out[0]
    assert "artifactory.docker" in left_out[0]
    assert [step["id"] for step in ledger(project, "run.json")["steps"]] == ["test"]

    named = tool(project, "step", "image", **newcomer)
    assert named.returncode == 2
    assert "image needs artifactory.url and artifactory.docker" in named.stderr

    platform = tmp_path / "platform.yml"
    platform.write_text("artifactory: {url: 'https://art.example'}\n")
    refused = tool(project, "run", "--platform", str(platform), **newcomer)
    assert refused.returncode == 2, "with a platform file nothing is left out in silence"
    assert "image needs artifactory.docker" in refused.stderr


def test_a_credential_that_is_not_there_is_told_before_anything_runs(tmp_path: Path) -> None:
    project = repository(tmp_path / "shop", LIBRARY)
    platform = tmp_path / "platform.yml"
    platform.write_text("sonarqube:\n  url: http://127.0.0.1:9\n  token: file:/nonexistent/token\n")
    words = ("--platform", str(platform))
    assert tool(project, "init", *words).returncode == 0
    result = tool(project, "run", *words)
    assert result.returncode == 5
    assert f"{platform}:3: sonarqube.token, which the step scan needs" in result.stderr
    assert not (project / ".pipeline/runs").exists(), "not even the tests ran"


def test_the_project_itself_and_pytest_are_installed_for_the_tests(tmp_path: Path) -> None:
    """A project whose test environment has nothing but what it declares."""
    files = {
        **LIBRARY,
        "pipeline.yml": "kind: library\nname: x\nscan: {enabled: false}\n"
        "test: {package: [doubler], requirements: [.]}\n",
    }
    project = repository(tmp_path / "shop", files)
    result = tool(project, "run", PIPELINE_TOOLS_CACHE=str(tmp_path / "cache"))
    assert result.returncode == 0, result.stderr
    assert ledger(project, "steps/test/outputs.json")["coverage_percent"] == 100.0


def test_the_doctor_of_a_chart_alone_says_which_key_is_missing(tmp_path: Path) -> None:
    for name in ("Chart.yaml", "values.yaml"):
        (tmp_path / name).write_text(SERVICE[f"chart/{name}"])
    git(tmp_path, "init", "--quiet")
    assert tool(tmp_path, "init").returncode == 0
    told = tool(tmp_path, "doctor", HOME=str(tmp_path), PIPELINE_TOOLS_PLATFORM="")
    (line,) = [line for line in told.stdout.splitlines() if line.startswith("✘ chart")]
    assert "artifactory.url and artifactory.helm not set → " in line
    assert told.returncode != 0
