"""What is read out of SonarQube's answers."""

from __future__ import annotations

import requests

from pipeline_tools.errors import ConfigError, CredentialError, InfrastructureError
from pipeline_tools.systems.sonarqube import NotFound, SonarQube, parse_gate, parse_measures


def answer(status: int, body: str) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response._content = body.encode()
    return response


def test_a_red_gate_names_each_condition() -> None:
    gate = parse_gate(
        {
            "projectStatus": {
                "status": "ERROR",
                "conditions": [
                    {
                        "status": "OK",
                        "metricKey": "bugs",
                        "comparator": "GT",
                        "errorThreshold": "0",
                        "actualValue": "0",
                    },
                    {
                        "status": "ERROR",
                        "metricKey": "coverage",
                        "comparator": "LT",
                        "errorThreshold": "80",
                        "actualValue": "45.5",
                    },
                ],
            }
        }
    )
    assert gate.status == "ERROR"
    assert [str(condition) for condition in gate.failed] == ["coverage is 45.5, but must be at least 80"]


def test_a_project_without_a_gate() -> None:
    assert parse_gate({"projectStatus": {"status": "NONE"}}).failed == []


def test_measures_are_numbers_where_they_can_be() -> None:
    measures = parse_measures(
        {
            "component": {
                "measures": [
                    {"metric": "coverage", "value": "91.7"},
                    {"metric": "tests", "value": "12"},
                    {"metric": "new_bugs", "period": {"index": 1, "value": "0"}},
                    {"metric": "alert_status", "value": "OK"},
                ]
            }
        }
    )
    assert measures == {"coverage": 91.7, "tests": 12, "new_bugs": 0, "alert_status": "OK"}


def test_a_refusal_becomes_an_error_of_the_right_class() -> None:
    server = SonarQube("https://sonar.example/", "token")
    expected = {401: CredentialError, 403: CredentialError, 404: NotFound, 400: NotFound, 500: InfrastructureError}
    for status, kind in expected.items():
        error = server._refused("api/x", answer(status, '{"errors": [{"msg": "because"}]}'))
        assert type(error) is kind
        assert "because" in error.details + error.message
    assert issubclass(NotFound, ConfigError)


def test_the_dashboard_of_a_branch() -> None:
    server = SonarQube("https://sonar.example/base/", "token")
    assert server.dashboard("a:b") == "https://sonar.example/base/dashboard?id=a%3Ab"
    assert server.dashboard("p", branch="x/y") == "https://sonar.example/base/dashboard?id=p&branch=x%2Fy"
