"""Pull requests through servers that answer as the documentation of GitHub, GitLab and Bitbucket says."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from pipeline_tools.config import schema
from pipeline_tools.errors import ConfigError, CredentialError, InfrastructureError, PipelineError
from pipeline_tools.systems import githost

TOKEN = "pull-request-token-1"


class Server:
    """What a server of each kind keeps: the requests that are open, and how it says them."""

    def __init__(self) -> None:
        self.open: list[dict[str, Any]] = []
        self.seen: list[tuple[str, str]] = []
        self.broken: int | None = None
        self.known = "team/service"

    def answer(self, method: str, path: str, query: dict[str, str], headers: Any, content: Any) -> tuple[int, Any]:
        self.seen.append((method, path))
        if self.broken:
            return self.broken, {"message": "no"}
        for expression, handler in ((GITHUB, self.github), (GITLAB, self.gitlab), (BITBUCKET, self.bitbucket)):
            match = re.fullmatch(expression, path)
            if match:
                if unquote(match[1]) != self.known:
                    return 404, {"message": "Not Found"}
                return handler(method, query, headers, content)
        return 404, {"message": "Not Found"}

    def keep(self, source: str, target: str, **more: Any) -> dict[str, Any]:
        self.open.append({"source": source, "target": target, **more})
        return self.open[-1]

    def github(self, method: str, query: dict[str, str], headers: Any, content: Any) -> tuple[int, Any]:
        def shown(one: dict[str, Any]) -> Any:
            return {"number": 1, "state": "open", "html_url": f"https://github.example/pull/{one['source']}"}

        if headers["Authorization"] != f"Bearer {TOKEN}":
            return 401, {"message": "Bad credentials"}
        assert headers["Accept"] == "application/vnd.github+json"
        assert headers["X-GitHub-Api-Version"] == "2022-11-28"
        if method == "GET":
            assert query["state"] == "open"
            wanted = (query["head"].removeprefix("team:"), query["base"])
            return 200, [shown(one) for one in self.open if (one["source"], one["target"]) == wanted]
        if any(one["source"] == content["head"] for one in self.open):
            return 422, {"message": "Validation Failed", "errors": [{"message": "A pull request already exists"}]}
        return 201, shown(self.keep(content["head"], content["base"], title=content["title"], body=content["body"]))

    def gitlab(self, method: str, query: dict[str, str], headers: Any, content: Any) -> tuple[int, Any]:
        def shown(one: dict[str, Any]) -> Any:
            return {"iid": 1, "state": "opened", "web_url": f"https://gitlab.example/{one['source']}"}

        if headers["PRIVATE-TOKEN"] != TOKEN:
            return 401, {"message": "401 Unauthorized"}
        if method == "GET":
            assert query["state"] == "opened"
            wanted = (query["source_branch"], query["target_branch"])
            return 200, [shown(one) for one in self.open if (one["source"], one["target"]) == wanted]
        kept = self.keep(
            content["source_branch"], content["target_branch"], title=content["title"], body=content["description"]
        )
        return 201, shown(kept)

    def bitbucket(self, method: str, query: dict[str, str], headers: Any, content: Any) -> tuple[int, Any]:
        def shown(one: dict[str, Any]) -> Any:
            return {"id": 1, "state": "OPEN", "links": {"html": {"href": f"https://bitbucket.example/{one['source']}"}}}

        if headers["Authorization"] != f"Bearer {TOKEN}":
            return 401, {"type": "error"}
        if method == "GET":
            names = re.fullmatch(
                r'source\.branch\.name = "(.*)" AND destination\.branch\.name = "(.*)" AND state = "OPEN"', query["q"]
            )
            assert names
            found = [shown(one) for one in self.open if (one["source"], one["target"]) == names.groups()]
            return 200, {"pagelen": 10, "values": found}
        source, target = content["source"]["branch"]["name"], content["destination"]["branch"]["name"]
        return 201, shown(self.keep(source, target, title=content["title"], body=content["description"]))


GITHUB = r"/repos/(.+)/pulls"
GITLAB = r"/projects/([^/]+)/merge_requests"
BITBUCKET = r"/repositories/([^/]+/[^/]+)/pullrequests"


@contextmanager
def serving(server: Server) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply()

        def do_POST(self) -> None:
            self.reply()

        def reply(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            length = int(self.headers.get("Content-Length") or 0)
            content = json.loads(self.rfile.read(length)) if length else None
            status, answer = server.answer(self.command, parts.path, query, self.headers, content)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture
def server() -> Server:
    return Server()


def settings(folder: Path, kind: str | None, api: str | None, token: str = TOKEN) -> schema.Git:
    (folder / "token").write_text(token)
    return schema.Git.model_validate({"host": kind, "api": api, "token": f"file:{folder / 'token'}"})


def propose(git: schema.Git, url: str = "https://h.example/team/service.git") -> str | None:
    return githost.propose(git, url, "pin/model-1.0.0", "develop", "model 1.0.0", "why")


@pytest.mark.parametrize("kind", githost.HOSTS)
def test_a_request_is_opened_once_and_then_found(
    kind: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password for-another-purpose\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with serving(server) as api:
        git = settings(tmp_path, kind, f"{api}/")
        first = propose(git)
        assert first is not None and first.startswith(f"https://{kind}.example/")
        assert propose(git, "git@h.example:team/service.git") == first
    assert [method for method, _ in server.seen] == ["GET", "POST", "GET"]
    assert server.open == [{"source": "pin/model-1.0.0", "target": "develop", "title": "model 1.0.0", "body": "why"}]


@pytest.mark.parametrize("kind", githost.HOSTS)
def test_each_failure_has_its_class(kind: str, server: Server, tmp_path: Path) -> None:
    with serving(server) as api:
        cases: list[tuple[schema.Git, str, type[PipelineError]]] = [
            (settings(tmp_path, kind, api), "https://h.example/team/unknown.git", ConfigError),
        ]
        for git, url, error in cases:
            with pytest.raises(error):
                propose(git, url)
        with pytest.raises(CredentialError):
            propose(settings(tmp_path, kind, api, token="wrong-token-1"))
        server.broken = 503
        with pytest.raises(InfrastructureError):
            propose(settings(tmp_path, kind, api))
        server.broken = 302
        with pytest.raises(ConfigError):
            propose(settings(tmp_path, kind, api))
        server.broken = 200
        with pytest.raises(InfrastructureError, match=f"does not answer as {kind} does"):
            propose(settings(tmp_path, kind, api))
    with pytest.raises(InfrastructureError, match="does not answer"):
        propose(settings(tmp_path, kind, api))


def test_without_a_host_nothing_is_asked(tmp_path: Path) -> None:
    assert propose(settings(tmp_path, None, None)) is None


def test_a_missing_token_is_told(tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match=r"git\.token is not set"):
        propose(schema.Git.model_validate({"host": "github"}))
