"""Pull requests, through the API of the server that hosts the git repositories."""

from __future__ import annotations

from typing import Any, Protocol

import requests

from pipeline_tools import secrets
from pipeline_tools.config import schema
from pipeline_tools.errors import CredentialError, InfrastructureError
from pipeline_tools.failures import of_status
from pipeline_tools.masking import mask
from pipeline_tools.systems.git import path_of, quoted
from pipeline_tools.systems.headers import Headers

TIMEOUT = (5, 30)


class Host(Protocol):
    """How a kind of server is asked; ``repository`` is ``OWNER/NAME``."""

    public: str

    def headers(self, token: str) -> dict[str, str]:
        """What says who we are."""

    def search(self, repository: str, source: str, target: str) -> tuple[str, dict[str, str]]:
        """Path and query that list the open requests from one branch to another."""

    def listed(self, answer: Any) -> list[str]:
        """Addresses, for people, of the requests in that answer."""

    def create(self, repository: str, source: str, target: str, title: str, body: str) -> tuple[str, dict[str, Any]]:
        """Path and content of the call that opens one."""

    def address(self, answer: Any) -> str:
        """Address, for people, of one request."""


class GitHub:
    """https://docs.github.com/en/rest/pulls/pulls, version 2022-11-28."""

    public = "https://api.github.com"

    def headers(self, token: str) -> dict[str, str]:
        """A bearer token, and the version of the API."""
        return {
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }

    def search(self, repository: str, source: str, target: str) -> tuple[str, dict[str, str]]:
        """The head is ``OWNER:BRANCH``."""
        owner = repository.partition("/")[0]
        return f"/repos/{repository}/pulls", {"head": f"{owner}:{source}", "base": target, "state": "open"}

    def listed(self, answer: Any) -> list[str]:
        """A list."""
        return [str(one["html_url"]) for one in answer]

    def create(self, repository: str, source: str, target: str, title: str, body: str) -> tuple[str, dict[str, Any]]:
        """A POST to the same place."""
        return f"/repos/{repository}/pulls", {"title": title, "head": source, "base": target, "body": body}

    def address(self, answer: Any) -> str:
        """Its page."""
        return str(answer["html_url"])


class GitLab:
    """https://docs.gitlab.com/api/merge_requests."""

    public = "https://gitlab.com/api/v4"

    def headers(self, token: str) -> dict[str, str]:
        """A personal, project or group token."""
        return {"PRIVATE-TOKEN": token}

    def search(self, repository: str, source: str, target: str) -> tuple[str, dict[str, str]]:
        """The project is its whole path, as one piece."""
        query = {"source_branch": source, "target_branch": target, "state": "opened"}
        return f"/projects/{quoted(repository)}/merge_requests", query

    def listed(self, answer: Any) -> list[str]:
        """A list."""
        return [str(one["web_url"]) for one in answer]

    def create(self, repository: str, source: str, target: str, title: str, body: str) -> tuple[str, dict[str, Any]]:
        """A POST to the same place; the branch goes when it is merged."""
        content = {
            "source_branch": source,
            "target_branch": target,
            "title": title,
            "description": body,
            "remove_source_branch": True,
        }
        return f"/projects/{quoted(repository)}/merge_requests", content

    def address(self, answer: Any) -> str:
        """Its page."""
        return str(answer["web_url"])


class Bitbucket:
    """https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests (Bitbucket Cloud)."""

    public = "https://api.bitbucket.org/2.0"

    def headers(self, token: str) -> dict[str, str]:
        """An access token of the repository or workspace."""
        return {"Authorization": f"Bearer {token}"}

    def search(self, repository: str, source: str, target: str) -> tuple[str, dict[str, str]]:
        """In Bitbucket's query language."""
        wanted = f'source.branch.name = "{source}" AND destination.branch.name = "{target}" AND state = "OPEN"'
        return f"/repositories/{repository}/pullrequests", {"q": wanted}

    def listed(self, answer: Any) -> list[str]:
        """A page of values."""
        return [self.address(one) for one in answer["values"]]

    def create(self, repository: str, source: str, target: str, title: str, body: str) -> tuple[str, dict[str, Any]]:
        """A POST to the same place; the branch goes when it is merged."""
        content = {
            "title": title,
            "description": body,
            "source": {"branch": {"name": source}},
            "destination": {"branch": {"name": target}},
            "close_source_branch": True,
        }
        return f"/repositories/{repository}/pullrequests", content

    def address(self, answer: Any) -> str:
        """Its page."""
        return str(answer["links"]["html"]["href"])


HOSTS: dict[str, Host] = {"github": GitHub(), "gitlab": GitLab(), "bitbucket": Bitbucket()}


def propose(settings: schema.Git, url: str, source: str, target: str, title: str, body: str) -> str | None:
    """Open a pull request, or find the one that is open; returns its address.

    None: the configuration names no server for them (``git.host``).

    Args:
        url: the repository's address for git, of which the path is taken.

    Raises:
        CredentialError: the token is missing or refused.
        InfrastructureError: the server does not answer, or not as it should.
        ConfigError: it answers that there is no such repository or branch.
    """
    if settings.host is None:
        return None
    if settings.token is None:
        raise CredentialError("git.token is not set.", hint="Set it to a reference, such as env:GIT_TOKEN.")
    host, repository = HOSTS[settings.host], path_of(url)
    base = (settings.api or host.public).rstrip("/")
    headers = host.headers(secrets.resolve(settings.token))
    try:
        path, query = host.search(repository, source, target)
        open_now = host.listed(_call("GET", base + path, headers, params=query))
        if open_now:
            return open_now[0]
        path, content = host.create(repository, source, target, title, body)
        return host.address(_call("POST", base + path, headers, json=content))
    except (KeyError, TypeError, ValueError) as error:
        raise InfrastructureError(
            f"{base} does not answer as {settings.host} does.",
            hint="Check git.host and git.api.",
            details=f"{type(error).__name__}: {error}",
        ) from error


def _call(method: str, url: str, headers: dict[str, str], **options: Any) -> Any:
    try:
        answer = requests.request(method, url, auth=Headers(headers), timeout=TIMEOUT, allow_redirects=False, **options)
    except requests.RequestException as error:
        raise InfrastructureError(
            f"{url} does not answer.", hint="Check git.api and the network.", details=mask(str(error))
        ) from error
    if answer.status_code // 100 == 2:
        return answer.json()
    kind = of_status(answer.status_code)  # a redirection is not followed: the token is for this server
    raise kind(
        f"{method} {url} was answered with {answer.status_code}.",
        hint="Check git.host, git.api, git.token and what the token may do.",
        details=mask(answer.text[:500]),
    )
