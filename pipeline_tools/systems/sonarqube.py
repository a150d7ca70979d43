"""SonarQube through its Web API: is it there, has it digested an analysis, and what does the quality gate say.

The API's own description is in each server under /web_api.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from pipeline_tools import secrets
from pipeline_tools.errors import ConfigError, CredentialError, InfrastructureError, PipelineError
from pipeline_tools.failures import of_status
from pipeline_tools.masking import mask
from pipeline_tools.systems.headers import Headers

if TYPE_CHECKING:
    from pipeline_tools.config import schema

# Seconds to connect, and to wait for an answer.
TIMEOUT = (5.0, 30.0)
# Polling: the first pause, how it grows, and the longest, in seconds.
PAUSE, GROWTH, LONGEST = 0.2, 1.3, 2.0


class NotFound(ConfigError):
    """The server knows no such project, analysis or task."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A condition of the quality gate: it fails when ``actual`` is ``comparator`` (LT, GT) than ``threshold``."""

    metric: str
    status: str
    comparator: str
    threshold: str
    actual: str

    def __str__(self) -> str:
        bound = {"LT": "at least", "GT": "at most"}.get(self.comparator, self.comparator)
        return f"{self.metric} is {self.actual or 'unknown'}, but must be {bound} {self.threshold}"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The verdict of the quality gate: OK, ERROR, or NONE if there is no gate."""

    status: str
    conditions: tuple[Condition, ...]

    @property
    def failed(self) -> list[Condition]:
        """The conditions that are not met."""
        return [condition for condition in self.conditions if condition.status == "ERROR"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """The digestion of an uploaded report: PENDING, IN_PROGRESS, SUCCESS, FAILED or CANCELED."""

    id: str
    status: str
    analysis: str
    error: str


def parse_gate(data: Mapping[str, Any]) -> Gate:
    """The gate from the answer of ``api/qualitygates/project_status``."""
    about = data["projectStatus"]
    return Gate(
        status=about["status"],
        conditions=tuple(
            Condition(
                metric=item["metricKey"],
                status=item["status"],
                comparator=item.get("comparator", ""),
                threshold=str(item.get("errorThreshold", "")),
                actual=str(item.get("actualValue", "")),
            )
            for item in about.get("conditions", ())
        ),
    )


def parse_measures(data: Mapping[str, Any]) -> dict[str, float | str]:
    """Value by metric from the answer of ``api/measures/component``; numbers as numbers."""
    values: dict[str, float | str] = {}
    for item in data["component"].get("measures", ()):
        value = item.get("value", item.get("period", {}).get("value", ""))
        try:
            values[item["metric"]] = float(value) if "." in value else int(value)
        except ValueError:
            values[item["metric"]] = value
    return values


def from_config(settings: schema.SonarQube) -> SonarQube:
    """The server that the configuration names.

    Raises:
        ConfigError: it names none.
        CredentialError: the token is not where the configuration says.
    """
    if not settings.url:
        raise ConfigError("sonarqube.url is not set.", hint="Set it in the platform file, or scan.enabled to false.")
    return SonarQube(settings.url, secrets.resolve(settings.token))


class SonarQube:
    """A server (10.0 or newer) as seen with one token.

    Every method raises `CredentialError` when the token is refused or may not do this, `NotFound`, and
    `InfrastructureError` when the server cannot be reached or fails; a short failure is retried first.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.auth = Headers({"Authorization": f"Bearer {token}"})
        retry = Retry(total=4, backoff_factor=0.3, status_forcelist=(429, 502, 503, 504), raise_on_status=False)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def version(self) -> str:
        """The server's version; proves that it is up and accepts the token."""
        about = self._get("api/system/status")
        if about.get("status") != "UP":
            raise InfrastructureError(
                f"SonarQube at {self.url} is not ready: its status is {about.get('status')}.",
                hint="Wait until it has started (or its database is migrated), then run the step again.",
            )
        if not self._get("api/authentication/validate").get("valid"):
            raise CredentialError(
                f"SonarQube at {self.url} does not accept the token.",
                hint="Make a new one under My Account > Security, type Global Analysis Token, and store it where "
                "sonarqube.token points to.",
                link=f"{self.url}/account/security",
            )
        return str(about.get("version", ""))

    def edition(self) -> str:
        """``community``, ``developer``, ``enterprise`` or ``datacenter``: only the first takes no branches."""
        return str(self._get("api/navigation/global").get("edition", "community")).lower()

    def task(self, task: str) -> Task:
        """How far the server is with an uploaded report."""
        about = self._get("api/ce/task", id=task)["task"]
        return Task(
            id=task,
            status=about["status"],
            analysis=about.get("analysisId", ""),
            error=mask(about.get("errorMessage", "")),
        )

    def wait(self, task: str, timeout: float, log: Callable[[str], None]) -> str:
        """Wait until the server has digested a report; returns the analysis' id.

        Args:
            timeout: seconds.

        Raises:
            InfrastructureError: it took longer, or the server failed at it.
        """
        end = time.monotonic() + timeout
        pause, told = PAUSE, ""
        while True:
            now = self.task(task)
            if now.status == "SUCCESS":
                return now.analysis
            if now.status in ("FAILED", "CANCELED"):
                raise InfrastructureError(
                    f"SonarQube could not digest the analysis: its task is {now.status}.",
                    hint="The project's background tasks in SonarQube have the server's log.",
                    details=now.error,
                )
            if now.status != told:
                told = now.status
                log(f"SonarQube: the analysis is {told.lower().replace('_', ' ')}")
            if time.monotonic() + pause > end:
                raise InfrastructureError(
                    f"SonarQube had not digested the analysis after {timeout:.0f} s.",
                    hint="Is its queue of background tasks full? scan.gate_timeout allows it more time.",
                )
            time.sleep(pause)
            pause = min(pause * GROWTH, LONGEST)

    def gate(self, analysis: str) -> Gate:
        """The quality gate's verdict on one analysis."""
        return parse_gate(self._get("api/qualitygates/project_status", analysisId=analysis))

    def measures(self, project: str, metrics: Sequence[str], **scope: str) -> dict[str, float | str]:
        """The values of these metrics; those that the project lacks are left out. ``scope``: branch, pullRequest."""
        data = self._get("api/measures/component", component=project, metricKeys=",".join(metrics), **scope)
        return parse_measures(data)

    def dashboard(self, project: str, **scope: str) -> str:
        """The address of the project's page; ``scope``: branch, pullRequest."""
        return f"{self.url}/dashboard?{urlencode({'id': project, **scope})}"

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        try:
            answer = self._session.get(f"{self.url}/{path}", params=parameters, timeout=TIMEOUT)
        except requests.exceptions.InvalidURL as error:
            raise ConfigError(f"sonarqube.url is not an address: {self.url}.") from error
        except requests.exceptions.SSLError as error:
            raise InfrastructureError(
                f"The certificate of SonarQube at {self.url} is not trusted.",
                hint="Point REQUESTS_CA_BUNDLE to your company's certificates.",
                details=mask(str(error)),
            ) from error
        except requests.RequestException as error:
            raise InfrastructureError(
                f"SonarQube at {self.url} cannot be reached.",
                hint="Is it running? Is sonarqube.url right?",
                details=mask(str(error)),
            ) from error
        if answer.status_code != requests.codes.ok:
            raise self._refused(path, answer)
        try:
            data = answer.json()
        except ValueError as error:
            raise ConfigError(f"What answers at {self.url} is not SonarQube: correct sonarqube.url.") from error
        if not isinstance(data, dict):
            raise ConfigError(f"What answers at {self.url} is not SonarQube: correct sonarqube.url.")
        return data

    def _refused(self, path: str, answer: requests.Response) -> PipelineError:
        try:
            said = "\n".join(mask(str(error["msg"])) for error in answer.json()["errors"])
        except (ValueError, KeyError, TypeError):
            said = mask(answer.text[:500])
        code = answer.status_code
        if code == 401:
            return CredentialError(
                f"SonarQube at {self.url} does not accept the token.",
                hint="Make a new token and store it where sonarqube.token points to.",
                link=f"{self.url}/account/security",
                details=said,
            )
        if code == 403:
            return CredentialError(
                f"The token may not call {path} of SonarQube at {self.url}.",
                hint="Use a Global Analysis Token of a user who may execute analyses on the project and browse it.",
                details=said,
            )
        if code in (400, 404):
            return NotFound(f"SonarQube at {self.url} answered {code} to {path}: {said or 'not found'}")
        return of_status(code)(f"SonarQube at {self.url} answered {code} to {path}.", details=said)
