"""The Jenkins controller through its REST API, with python-jenkins: crumbs, folders and URLs are its matter.

What it does not tell apart (a job that is not there, and a server that does not answer) is told apart here.
https://www.jenkins.io/doc/book/using/remote-access-api/
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import jenkins
import requests

from pipeline_tools import secrets
from pipeline_tools.errors import ConfigError, CredentialError, InfrastructureError, PipelineError
from pipeline_tools.failures import Lasting, of_status
from pipeline_tools.masking import mask

if TYPE_CHECKING:
    from pipeline_tools.config import schema

TIMEOUT = 30
# How long a controller may not answer, seconds, when nothing else is said.
PATIENCE = 20.0
# Items of a list that are asked for at once.
PAGE = 100
# Asking again: the first pause, how it grows, and the longest, in seconds.
PAUSE, GROWTH, LONGEST = 0.2, 1.5, 5.0
FOLDER = "com.cloudbees.hudson.plugins.folder.Folder"
MULTIBRANCH = "org.jenkinsci.plugins.workflow.multibranch.WorkflowMultiBranchProject"
XML = {"Content-Type": "text/xml; charset=utf-8"}


class Unsent(InfrastructureError):
    """The controller did not take the request: nothing happened there."""


class Unknown(Unsent):
    """The controller's name is not known here: a mistake more often than a trouble that passes."""


class NotFound(ConfigError):
    """The controller has no such thing, or does not show it to this user."""


def version(url: str) -> str:
    """The controller's version.

    Raises:
        InfrastructureError: nothing there answers as Jenkins does.
    """
    try:
        return str(jenkins.Jenkins(url, timeout=10).get_version())
    except (jenkins.JenkinsException, OSError, KeyError) as error:
        raise InfrastructureError(
            f"Jenkins does not answer at {url}.", hint="Check jenkins.url.", details=mask(str(error))
        ) from error


def from_config(settings: schema.Jenkins, **options: Any) -> Controller:
    """The controller that the configuration names; ``options`` as those of `Controller`.

    Raises:
        ConfigError: it names none.
        CredentialError: user or token are not where the configuration says.
    """
    if not settings.url:
        raise ConfigError(
            "jenkins.url is not set.",
            hint="Set it in the platform file: `jenkins: {url: https://jenkins.example.com}`.",
        )
    if settings.token is None or settings.username is None:
        return Controller(settings.url, None, None, **options)
    user = secrets.resolve(settings.username, masked=False)
    return Controller(settings.url, user, secrets.resolve(settings.token), **options)


@dataclass(frozen=True, kw_only=True)
class Item:
    """A folder, job or view: its full name, Jenkins' class of it, and its description."""

    name: str
    kind: str
    description: str


def path_of(name: str) -> str:
    """The path of a folder or job below the controller's URL; of no name: the controller's own."""
    return "".join(f"job/{quote(part, safe='')}/" for part in name.split("/") if part)


def split(name: str) -> tuple[str, str]:
    """The folder of a full name (empty: none), and the name in it."""
    folder, _, last = name.rpartition("/")
    return folder, last


class Controller:
    """A controller as one user sees it.

    Every method raises `CredentialError` when the user is refused or may not do this, `NotFound`, `ConfigError` when
    the controller does not take what it is sent, and `InfrastructureError` when it does not answer for too long.

    Args:
        patience: how long it may not answer (it is starting, say) until that is an error, seconds.
        waiting: told what is wrong, once each time that it stops answering.
    """

    def __init__(
        self,
        url: str,
        username: str | None,
        token: str | None,
        *,
        patience: float | None = None,
        waiting: Callable[[str], None] | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._server = jenkins.Jenkins(f"{self.url}/", username, token, timeout=TIMEOUT)
        self._patience = PATIENCE if patience is None else patience
        self._waiting = waiting or (lambda why: None)

    # ── what is there ──

    def get(self, path: str, **query: str) -> Any:
        """The answer, as JSON, of the API of ``path`` (such as ``job/x/``)."""
        answer = self.ask("GET", f"{path}api/json", params=query)
        try:
            return answer.json()
        except ValueError as error:
            raise ConfigError(
                f"What answers at {self.url} is not Jenkins' API.",
                hint="Correct jenkins.url; a page to log in comes before the API when jenkins.token is null.",
            ) from error

    def items(self, folder: str = "", *, branches: bool = False) -> Iterator[Item]:
        """Every folder and job below ``folder``, the folder before what is in it.

        Args:
            branches: also the jobs that Jenkins itself makes of the branches of a multibranch job.
        """
        for about in self._pages(path_of(folder), "jobs", "name,description"):
            name = f"{folder}/{about['name']}".lstrip("/")
            yield Item(name=name, kind=about.get("_class", ""), description=about.get("description") or "")
            if about.get("_class") == FOLDER or (branches and about.get("_class") == MULTIBRANCH):
                yield from self.items(name, branches=branches)

    def views(self, folder: str = "") -> Iterator[Item]:
        """The views of a folder, or of the controller."""
        for about in self._pages(path_of(folder), "views", "name,description"):
            name = f"{folder}/{about['name']}".lstrip("/")
            yield Item(name=name, kind=about.get("_class", ""), description=about.get("description") or "")

    def credentials(self, folder: str = "") -> set[str]:
        """The ids of the credentials in the store of a folder, or of the controller; never more of them."""
        store = f"{path_of(folder)}credentials/store/{'folder' if folder else 'system'}/"
        try:
            domains = self.get(store)["domains"]
        except NotFound:
            if folder:  # a folder without credentials has no store
                return set()
            raise CredentialError(
                "The user may not see which credentials Jenkins has.",
                hint="Give the user of jenkins.token the permission Credentials/View.",
            ) from None
        found: set[str] = set()
        for domain in domains:
            listed = self.get(f"{store}domain/{quote(domain, safe='')}/", tree="credentials[id]")
            found |= {str(one["id"]) for one in listed["credentials"]}
        return found

    def config(self, kind: Literal["job", "view"], name: str) -> str | None:
        """The config.xml of a folder, job or view; None when there is none of this name."""
        try:
            answer = self.ask("GET", f"{self._path(kind, name)}config.xml")
        except NotFound:
            return None
        return answer.content.decode()  # the header does not say that it is UTF-8

    # ── what is changed ──

    def create(self, kind: Literal["job", "view"], name: str, xml: str) -> None:
        """Make a folder, job or view."""
        folder, last = split(name)
        call = "createItem" if kind == "job" else "createView"
        self.ask("POST", f"{path_of(folder)}{call}", params={"name": last}, data=xml.encode(), headers=XML)

    def update(self, kind: Literal["job", "view"], name: str, xml: str) -> None:
        """Replace the config.xml of a folder, job or view."""
        self.ask("POST", f"{self._path(kind, name)}config.xml", data=xml.encode(), headers=XML, repeatable=True)

    def delete(self, kind: Literal["job", "view"], name: str) -> None:
        """Remove a folder, job or view, with all that is in it."""
        self.ask("POST", f"{self._path(kind, name)}doDelete")

    # ── asking ──

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = False,
    ) -> requests.Response:
        """Send a request; what may pass is waited for, as long as the patience lasts.

        Args:
            repeatable: sending it a second time does no harm; of a GET it never does.
        """
        repeatable = repeatable or method == "GET"
        request = requests.Request(method, f"{self.url}/{path}", params=params, data=data, headers=dict(headers or {}))
        begun = time.monotonic()
        pause, fresh_crumb = PAUSE, False
        while True:
            try:
                return self._send(request, crumb=method != "GET")
            except CredentialError as error:
                # crumbs belong to a session, and sessions end with the controller's process
                if "crumb" not in error.details or fresh_crumb:
                    raise
                self._server.crumb, fresh_crumb = None, True
            except InfrastructureError as error:
                if not error.transient or not (repeatable or isinstance(error, Unsent)):
                    raise
                patience = min(self._patience, PATIENCE) if isinstance(error, Unknown) else self._patience
                if time.monotonic() + pause > begun + patience:
                    raise
                if pause == PAUSE:
                    self._waiting(f"{error.message} Waiting for it, {patience:.0f} s at most.")
                time.sleep(pause)
                pause = min(pause * GROWTH, LONGEST)

    def _send(self, request: requests.Request, *, crumb: bool) -> requests.Response:
        try:
            answer: requests.Response = self._server.jenkins_request(request, add_crumb=crumb)
        except jenkins.NotFoundException as error:
            raise NotFound(f"Jenkins has no {request.url}, or does not show it to this user.") from error
        except (jenkins.JenkinsException, requests.HTTPError) as error:
            raise self._refused(request, error) from error
        except requests.exceptions.SSLError as error:
            raise Lasting(
                f"The certificate of Jenkins at {self.url} is not trusted.",
                hint="Point REQUESTS_CA_BUNDLE to your company's certificates.",
                details=mask(str(error)),
            ) from error
        except requests.exceptions.ConnectTimeout as error:
            raise self._silent(error, Unsent) from error
        except requests.ConnectionError as error:
            # urllib3 names the cause only in its text
            kinds = {"NameResolutionError": Unknown, "NewConnectionError": Unsent}
            kind = next((each for word, each in kinds.items() if word in repr(error)), InfrastructureError)
            raise self._silent(error, kind) from error
        except requests.RequestException as error:
            raise self._silent(error, InfrastructureError) from error
        return answer

    def _silent(self, error: Exception, kind: type[InfrastructureError]) -> InfrastructureError:
        return kind(
            f"Jenkins does not answer at {self.url}.",
            hint="Is it running? Check jenkins.url.",
            details=mask(str(error)),
        )

    def _refused(self, request: requests.Request, error: Exception) -> PipelineError:
        # python-jenkins makes an error of its own of some; a requests.Response is false when it tells of an error
        found = [getattr(each, "response", None) for each in (error, error.__context__)]
        answer = next((one for one in found if one is not None), None)
        if not isinstance(answer, requests.Response):  # a time-out, or an answer that makes no sense
            return self._silent(error, InfrastructureError)
        said, code = mask(answer.text[:2000]), answer.status_code
        if code == 401:
            return CredentialError(
                f"Jenkins at {self.url} does not accept the user and token.",
                hint="Make an API token under the user's Security page, and store it where jenkins.token points to.",
            )
        what = f"{request.method} {request.url}"
        if code == 403:
            return CredentialError(
                f"The user of jenkins.username may not do this in Jenkins: {what}.",
                hint="Give it the permissions that docs/jenkins-jobs.md lists.",
                details=_words(said),
            )
        if code == 503:  # it is starting, or what stands before it has nobody to ask
            kind: type[PipelineError] = Unsent
        elif code == 500 and request.method == "POST":  # a config.xml that it cannot read
            kind = ConfigError
        else:
            kind = of_status(code)
        return kind(f"Jenkins answered {code} to {what}.", details=_words(said))

    def _pages(self, path: str, name: str, fields: str) -> Iterator[Any]:
        start = 0
        while True:
            got = self.get(path, tree=f"{name}[{fields}]{{{start},{start + PAGE}}}").get(name, [])
            yield from got
            if len(got) < PAGE:
                return
            start += PAGE

    def _path(self, kind: Literal["job", "view"], name: str) -> str:
        if kind == "job":
            return path_of(name)
        folder, last = split(name)
        return f"{path_of(folder)}view/{quote(last, safe='')}/"


def _words(page: str) -> str:
    """The text of an error's page, without its markup."""
    text = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", text).strip()[:500]
