"""What `init` finds in a repository, and what it writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline_tools import init, plan
from pipeline_tools.config.layers import load, projects
from pipeline_tools.errors import ConfigError
from tests.unit.test_malformed import run, tree

TEST = "def test_one():\n    assert True\n"
UNITTEST = "import unittest\n\nclass One(unittest.TestCase):\n    def test_one(self):\n        pass\n"


def repository(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def written(folder: Path, files: dict[str, str], platform: str = "") -> dict[str, object]:
    repository(folder, files)
    (folder / "platform.yml").write_text(platform)
    lines = list(init.write(folder, platform=folder / "platform.yml"))
    assert "wrote pipeline.yml" in lines
    assert load(folder, platform=folder / "platform.yml").config.name
    found: dict[str, object] = yaml.safe_load((folder / "pipeline.yml").read_text())
    return found


def planned(folder: Path) -> plan.Plan:
    return plan.make(lambda environment: load(folder, environment=environment).config)


OFF = {"enabled": False}


def test_a_library(tmp_path: Path) -> None:
    files = {
        "pyproject.toml": '[project]\nname = "My_Library"\nversion = "2.3.4"\n',
        "my_library/__init__.py": "",
        "tests/test_it.py": TEST,
        "tests/conftest.py": "",
        "docs/conf.py": "",
        ".venv/lib/test_other.py": TEST,
    }
    assert written(tmp_path, files) == {
        "kind": "library",
        "name": "my-library",
        "version": "2.3.4",
        "test": {"paths": ["tests"], "package": ["my_library"]},
        "scan": OFF,
    }
    assert [step.id for step in planned(tmp_path).steps()] == ["test"]


def test_a_src_layout_with_requirements(tmp_path: Path) -> None:
    files = {
        "src/shop/__init__.py": "",
        "src/shop/test_helpers.py": "class Helper: ...\n",
        "requirements.txt": "flask\n",
        "requirements-dev.txt": "pytest\n",
        "tests/unit/test_it.py": TEST,
    }
    assert written(tmp_path, files)["test"] == {
        "paths": ["tests"],
        "package": ["shop"],
        "requirements": ["requirements.txt", "requirements-dev.txt"],
        "options": ["-o", "pythonpath=src"],
    }


@pytest.mark.parametrize(
    ("described", "requirements"),
    [
        ({"pyproject.toml": '[project]\nname = "a"\ndependencies = ["flask"]\n'}, ["."]),
        ({"pyproject.toml": '[project]\nname = "a"\noptional-dependencies = {dev = ["pytest"]}\n'}, [".[dev]"]),
        ({"setup.cfg": "[metadata]\nname = a\n[options]\ninstall_requires =\n  flask\n"}, ["."]),
        ({"setup.cfg": "[metadata]\nname = a\n[options.extras_require]\ntest =\n  x\n"}, [".[test]"]),
        ({"setup.cfg": "[metadata]\nname = a\n"}, None),
        ({"pyproject.toml": "[project\n"}, None),
        ({"setup.cfg": "no section\n"}, None),
    ],
)
def test_what_the_project_itself_wants(tmp_path: Path, described: dict[str, str], requirements: object) -> None:
    section = written(tmp_path, {**described, "a.py": "", "test_a.py": TEST})["test"]
    assert isinstance(section, dict)
    assert section.get("requirements") == requirements


def test_unittest_names_that_pytest_does_not_take_by_itself(tmp_path: Path) -> None:
    section = written(tmp_path, {"calculator.py": "", "tests/tests.py": UNITTEST})["test"]
    assert section == {
        "paths": ["tests"],
        "package": ["calculator"],
        "options": ["-o", "python_files=test*.py *_test.py"],
    }


def test_a_service_with_a_chart(tmp_path: Path) -> None:
    files = {
        "app.py": "",
        "test_app.py": TEST,
        "Dockerfile": "FROM scratch\n",
        "deploy/chart/Chart.yaml": "name: a\n",
        "deploy/chart/values-test.yaml": "",
    }
    found = written(tmp_path, files, "sonarqube: {url: https://sonar.example}\n")
    assert "scan" not in found, "there is a SonarQube"
    assert found["image"] == {"dockerfile": "Dockerfile"}
    assert found["chart"] == {"path": "deploy/chart"}
    assert found["test"] == {"paths": ["."], "package": ["app"]}
    assert found["environments"] == {
        "test": {"deploy": {"values": ["deploy/chart/values-test.yaml"]}},
        "prod": {"deploy": {"values": []}},
    }


def test_a_service_without_a_chart_and_a_chart_without_a_service(tmp_path: Path) -> None:
    written(tmp_path / "one", {"Dockerfile": "", "main.go": ""})
    steps = [step.id for step in planned(tmp_path / "one").steps()]
    assert steps == ["image"]
    assert written(tmp_path / "two", {"Chart.yaml": "", "templates/a.yaml": ""})["kind"] == "chart"
    assert [step.id for step in planned(tmp_path / "two").steps()] == ["chart"]
    assert "chartPipeline()" in (tmp_path / "two/Jenkinsfile").read_text()


@pytest.mark.parametrize(("file", "kind"), [("train.py", "model"), ("claims.csv", "data")])
def test_of_a_model_and_of_data_it_is_said_that_they_have_pipelines_of_their_own(
    tmp_path: Path, file: str, kind: str
) -> None:
    repository(tmp_path, {"app.py": "", file: ""})
    assert any(f"`kind: {kind}`" in line for line in init.write(tmp_path, platform=None))


def test_what_is_locked_is_not_set(tmp_path: Path) -> None:
    assert "scan" not in written(tmp_path, {"a.py": "", "test_a.py": TEST}, "locked: [scan.enabled]\n")


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"a.py": ""}, "a Python library"),
        ({"entrenar.py": "", "ejecutar.sh": "", "x.csv": ""}, "a model"),
        ({"clean.py": "", "raw/claims.csv": ""}, "a data set with its programs"),
        ({"Dockerfile": "", "a.py": ""}, "a Python service"),
        ({"Dockerfile": ""}, "a service"),
        ({"Chart.yaml": ""}, "a helm chart"),
    ],
)
def test_what_it_looks_like(tmp_path: Path, files: dict[str, str], what: str) -> None:
    assert init.look(repository(tmp_path, files)).what == what


def test_nothing_is_overwritten_and_it_can_be_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repository(tmp_path, {"a.py": "", "test_a.py": TEST, "Jenkinsfile": "mine"})
    assert run(["init", "--project", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "wrote pipeline.yml\nJenkinsfile exists: left as it is\n" in said
    assert "git init" in said
    assert (tmp_path / "Jenkinsfile").read_text() == "mine"
    before = tree(tmp_path)
    assert run(["init", "--project", str(tmp_path)]) == 0
    assert "pipeline.yml exists: left as it is" in capsys.readouterr().out
    assert tree(tmp_path) == before

    (tmp_path / "pipeline.yml").write_text("name: A\n")
    assert run(["init", "--project", str(tmp_path)]) == 0
    assert "pipeline.yml:1: name: write lower-case letters" in capsys.readouterr().out, "a mistake in it is told"


def test_a_dangling_link_is_not_followed(tmp_path: Path) -> None:
    repository(tmp_path, {"a.py": ""})
    (tmp_path / "Jenkinsfile").symlink_to(tmp_path / "elsewhere")
    list(init.write(tmp_path, platform=None))
    assert not (tmp_path / "elsewhere").exists()


def test_the_jenkinsfile_of_a_project_inside_of_a_repository_names_it(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    repository(tmp_path, {"services/o'clock/a.py": ""})
    list(init.write(tmp_path / "services/o'clock", platform=None))
    text = (tmp_path / "services/o'clock/Jenkinsfile").read_text()
    assert text == "@Library('pipeline-tools') _\nlibraryPipeline(project: 'services/o\\'clock')\n"
    repository(tmp_path, {"a.py": ""})
    list(init.write(tmp_path, platform=None))
    assert (tmp_path / "Jenkinsfile").read_text() == "@Library('pipeline-tools') _\nlibraryPipeline()\n"


def test_several_projects_in_one_repository_get_a_pipeline_each(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    files = {"one/Dockerfile": "", "services/two/pyproject.toml": "", "services/two/a.py": "", "README.md": ""}
    repository(tmp_path, {**files, "one/chart/requirements.txt": "", "docs/requirements.txt": "sphinx\n"})
    lines = list(init.write(tmp_path, platform=None))
    for name in ("one/pipeline.yml", "one/Jenkinsfile", "services/two/pipeline.yml", "services/two/Jenkinsfile"):
        assert f"wrote {name}" in lines
    assert (
        f"  git add {' '.join(line.removeprefix('wrote ') for line in lines if line.startswith('wrote '))}"
        in (lines[-1].partition(" && ")[0])
    )
    assert "project: 'services/two'" in (tmp_path / "services/two/Jenkinsfile").read_text()
    assert not (tmp_path / "pipeline.yml").exists()
    assert projects(tmp_path) == [tmp_path / "one", tmp_path / "services/two"]
    assert projects(tmp_path / "one") == [tmp_path / "one"]


def test_if_one_of_several_projects_is_not_understood_nothing_is_written(tmp_path: Path) -> None:
    repository(tmp_path, {"one/Dockerfile": "", "two/requirements.txt": ""})
    before = tree(tmp_path)
    with pytest.raises(ConfigError, match="two has no Python program"):
        list(init.write(tmp_path, platform=None))
    assert tree(tmp_path) == before


def test_an_empty_folder_is_no_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", "--project", str(tmp_path)]) == 2
    assert "nothing to make a pipeline of" in capsys.readouterr().err
    assert tree(tmp_path) == {}


@given(st.text())
def test_any_name_becomes_a_valid_one(text: str) -> None:
    found = init.Found(
        name=init._name(text),
        version=None,
        what="a service",
        tests=[],
        packages=[],
        options=[],
        requirements=[],
        dockerfile=None,
        chart=None,
        values={},
    )
    said = yaml.safe_load(init.pipeline_text(found, scan=True))
    assert said["name"] == found.name
