"""What SonarQube holds from the start: a password of its own, a token for the pipelines, a quality gate."""

from __future__ import annotations

import contextlib
import secrets
from typing import Any

import requests

from lab import checks
from lab.layout import Lab, secret, write_secret
from pipeline_tools.errors import InfrastructureError

GATE = "pipeline-tools"
# On overall code: a gate on new code passes a first analysis whatever is in it.
CONDITIONS = (
    ("coverage", "LT", "80"),
    ("test_failures", "GT", "0"),
    ("test_errors", "GT", "0"),
    ("software_quality_blocker_issues", "GT", "0"),
)


def _base(lab: Lab) -> str:
    return f"http://{lab.at('sonarqube')}"


def _password(lab: Lab) -> str:
    # at least 12 characters with upper and lower case, a digit and a sign, says the server
    return secret(lab.credentials / "sonar-admin-password", f"Aa1-{secrets.token_urlsafe(24)}")


def _call(lab: Lab, path: str, **form: str) -> dict[str, Any]:
    """Call the Web API as the administrator: POST with ``form``, or GET when there is none."""
    method = "POST" if form else "GET"
    answer = requests.request(
        method, f"{_base(lab)}/api/{path}", data=form or None, auth=("admin", _password(lab)), timeout=60
    )
    if not answer.ok:
        raise InfrastructureError(
            f"SonarQube refused {path.partition('?')[0]} with {answer.status_code}.", details=answer.text[:500]
        )
    found: dict[str, Any] = answer.json() if answer.content else {}
    return found


def ready(lab: Lab) -> bool:
    """Whether the server is UP and its search engine and task engine are GREEN."""
    with contextlib.suppress(requests.RequestException, InfrastructureError, ValueError):
        if requests.get(f"{_base(lab)}/api/system/status", timeout=checks.SHORT).json()["status"] != "UP":
            return False
        _own_password(lab)
        return bool(_call(lab, "system/health")["health"] == "GREEN")
    return False


def _own_password(lab: Lab) -> None:
    """Replace the password that every new server has."""
    first = ("admin", "admin")
    if requests.get(f"{_base(lab)}/api/authentication/validate", auth=first, timeout=10).json().get("valid"):
        form = {"login": "admin", "previousPassword": "admin", "password": _password(lab)}
        requests.post(f"{_base(lab)}/api/users/change_password", data=form, auth=first, timeout=60).raise_for_status()


def set_up(lab: Lab) -> None:
    """Make the token and the gate, unless they are there."""
    token = lab.credentials / "sonar-token"
    known = {entry["name"] for entry in _call(lab, "user_tokens/search")["userTokens"]}
    if not token.is_file() or "ci" not in known:
        if "ci" in known:
            _call(lab, "user_tokens/revoke", name="ci")
        made = _call(lab, "user_tokens/generate", name="ci", type="GLOBAL_ANALYSIS_TOKEN")
        write_secret(token, made["token"])
    gates = _call(lab, "qualitygates/list")["qualitygates"]
    if not any(gate["name"] == GATE and gate["isDefault"] for gate in gates):
        if not any(gate["name"] == GATE for gate in gates):
            _call(lab, "qualitygates/create", name=GATE)
        for condition in _call(lab, f"qualitygates/show?name={GATE}").get("conditions", []):
            _call(lab, "qualitygates/delete_condition", id=condition["id"])
        for metric, operator, limit in CONDITIONS:
            _call(lab, "qualitygates/create_condition", gateName=GATE, metric=metric, op=operator, error=limit)
        _call(lab, "qualitygates/set_as_default", name=GATE)
