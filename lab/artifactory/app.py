"""The routes: ``/artifactory/…`` is answered here, ``/v2/…`` by the registry behind."""

from __future__ import annotations

import html
import io
import re
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx
import yaml
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from lab.artifactory.settings import Settings, User, Users
from lab.artifactory.store import Artifact, ChecksumError, InvalidPathError, Store

# Headers that belong to one connection, not to the message.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host", "authorization"}
METHODS = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"]


class Server:
    """The server's state and its handlers."""

    def __init__(self, settings: Settings) -> None:
        self.users = Users(settings.users)
        self.store = Store(settings.data)
        self.repositories = {repository.name: repository for repository in settings.repositories}
        self.registry = settings.registry.rstrip("/")
        self.client = httpx.AsyncClient(timeout=httpx.Timeout(600, connect=5), limits=httpx.Limits(max_connections=200))

    def user(self, request: Request, *, write: bool) -> User:
        """Who asks; 401 without a valid login, 403 for a reader who wants to write."""
        user = self.users.authenticate(request.headers.get("authorization", ""))
        if user is None:
            challenge = {"WWW-Authenticate": 'Basic realm="Artifactory Realm"'}
            raise HTTPException(401, "Bad credentials", headers=challenge)
        if write and not set(user.roles) & {"deployer", "admin"}:
            raise HTTPException(403, f"User {user.name} is not permitted to deploy")
        return user

    def repository(self, name: str, kind: str | None = None) -> str:
        """The repository of this name (and kind), or 404."""
        found = self.repositories.get(name)
        if found is None or (kind is not None and found.type != kind):
            raise HTTPException(404, f"Failed to find repository: {name}")
        return name

    async def ping(self, request: Request) -> Response:
        """``api/system/ping``: for anyone."""
        return PlainTextResponse("OK")

    async def version(self, request: Request) -> Response:
        """``api/system/version``: what clients ask to learn with whom they talk."""
        self.user(request, write=False)
        return JSONResponse({"version": "7.111.0", "revision": "lab", "addons": [], "license": "lab"})

    async def list_repositories(self, request: Request) -> Response:
        """``api/repositories``."""
        self.user(request, write=False)
        base = _base(request)
        return JSONResponse(
            [
                {"key": each.name, "type": "LOCAL", "packageType": each.type, "url": f"{base}/{each.name}"}
                for each in self.repositories.values()
            ]
        )

    async def storage(self, request: Request) -> Response:
        """``api/storage/REPOSITORY/PATH``: what is known of an artifact; its properties are set by PUT."""
        user = self.user(request, write=request.method == "PUT")
        repository = self.repository(request.path_params["repository"])
        if request.method == "GET" and (folder := self._folder(request, repository)) is not None:
            return JSONResponse(folder)
        artifact = self._artifact(repository, request.path_params["path"])
        if request.method == "PUT":
            self.store.set_properties(artifact, _properties(request.query_params.get("properties", "")))
            return Response(status_code=204)
        if "properties" in request.query_params:
            if not artifact.properties:
                raise HTTPException(404, "No properties could be found.")
            return JSONResponse({"properties": artifact.properties, "uri": str(request.url.replace(query=""))})
        return JSONResponse(_described(artifact, _base(request), user))

    async def search_properties(self, request: Request) -> Response:
        """``api/search/prop?NAME=VALUE,…&repos=…``: the artifacts that have all of these values.

        No value means any; ``*`` and ``?`` stand for any characters and for one. The header ``X-Result-Detail`` asks
        for more than the addresses: ``info``, ``properties``.
        """
        user = self.user(request, write=False)
        query = request.query_params.multi_items()
        wanted = [(name, value.split(",") if value else ["*"]) for name, value in query if name != "repos"]
        if not wanted:
            raise HTTPException(400, "There is no property to search for")
        repos = request.query_params.get("repos")
        details = {word.strip() for word in request.headers.get("x-result-detail", "").split(",")}
        results = []
        for repository in repos.split(",") if repos else self.repositories:
            for artifact in self.store.all(self.repository(repository)):
                if all(_has(artifact, name, value) for name, values in wanted for value in values):
                    described = _described(artifact, _base(request), user)
                    result = described if "info" in details else {"uri": described["uri"]}
                    more = {"properties": artifact.properties} if "properties" in details else {}
                    results.append({**result, **more})
        return JSONResponse({"results": results})

    async def artifact(self, request: Request) -> Response:
        """``/artifactory/REPOSITORY/PATH``: the content itself."""
        user = self.user(request, write=request.method not in ("GET", "HEAD"))
        repository = self.repository(request.path_params["repository"])
        # cut before decoding: a property's value may hold an encoded semicolon
        raw = request.scope["raw_path"].decode("ascii", "replace").split("/", 3)[3]
        path, matrix = unquote(raw.partition(";")[0]), raw.partition(";")[2]
        if request.method in ("PUT", "POST"):
            return await self._deploy(request, repository, path, _properties(matrix), user, request.stream())
        artifact = self._artifact(repository, path)
        if request.method == "DELETE":
            if "admin" not in user.roles:
                raise HTTPException(403, f"User {user.name} is not permitted to delete {repository}/{path}")
            self.store.delete(artifact)
            return Response(status_code=204)
        headers = {f"X-Checksum-{name.capitalize()}": getattr(artifact, name) for name in ("md5", "sha1", "sha256")}
        headers |= {"ETag": artifact.sha1, "X-Artifactory-Filename": path.rpartition("/")[2]}
        return FileResponse(self.store.path(repository, path), headers=headers, media_type="application/octet-stream")

    def _folder(self, request: Request, repository: str) -> dict[str, Any] | None:
        """What is known of a folder; None when the path is none."""
        path = request.path_params["path"].strip("/")
        try:
            children = self.store.children(repository, path)
        except InvalidPathError:
            return None
        listed = [{"uri": f"/{name}", "folder": is_folder} for name, is_folder in children]
        return {"repo": repository, "path": f"/{path}", "children": listed} if children else None

    def _artifact(self, repository: str, path: str) -> Artifact:
        try:
            artifact = self.store.get(repository, path)
        except InvalidPathError as error:
            raise HTTPException(400, f"Invalid path: {path}") from error
        if artifact is None:
            # in Artifactory's words, which clients look for
            raise HTTPException(404, f"File not found: Unable to find item {repository}/{path}")
        return artifact

    async def _deploy(
        self,
        request: Request,
        repository: str,
        path: str,
        properties: Mapping[str, list[str]],
        user: User,
        content: AsyncIterator[bytes],
    ) -> Response:
        headers = request.headers
        expected = {
            name: headers[key]
            for name, key in (("md5", "x-checksum-md5"), ("sha1", "x-checksum-sha1"), ("sha256", "x-checksum-sha256"))
            if key in headers
        }
        try:
            there = self.store.get(repository, path)
            if headers.get("x-checksum-deploy", "").lower() == "true":
                # only the same content at the same place is known here: otherwise the client sends it
                if there is None or any(getattr(there, name) != value for name, value in expected.items()):
                    raise HTTPException(404, "Checksum deploy failed: no artifact with this checksum")
                return JSONResponse(_described(there, _base(request), user), 201)
            if there is not None and "admin" not in user.roles:
                # as in Artifactory, overwriting needs the permission to delete
                raise HTTPException(403, f"Not enough permissions to overwrite artifact {repository}/{path}")
            artifact = await self.store.receive(
                repository, path, content, expected=expected, properties=properties, user=user.name
            )
        except InvalidPathError as error:
            raise HTTPException(400, f"Invalid path: {path}") from error
        except ChecksumError as error:
            raise HTTPException(409, str(error)) from error
        except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
            raise HTTPException(409, f"A folder and an artifact cannot have one name: {path}") from error
        except ClientDisconnect as error:
            raise HTTPException(400, "The upload was cut off") from error
        location = f"{_base(request)}/{repository}/{quote(path)}"
        return JSONResponse(_described(artifact, _base(request), user), 201, headers={"Location": location})

    async def pypi_upload(self, request: Request) -> Response:
        """``api/pypi/REPOSITORY``: what twine sends."""
        user = self.user(request, write=True)
        repository = self.repository(request.path_params["repository"], "pypi")
        async with request.form(max_part_size=1 << 20) as form:
            upload, name, version = form.get("content"), form.get("name"), form.get("version")
            if form.get(":action") != "file_upload" or upload is None or isinstance(upload, str):
                raise HTTPException(400, "Expected a form with :action=file_upload and the file in `content`")
            filename = str(upload.filename).rpartition("/")[2]
            announced = str(form.get("sha256_digest") or "")
            path = f"{_normalised(str(name))}/{version}/{filename}"
            there = self.store.get(repository, path)
            if there is not None and announced and there.sha256 == announced:
                return Response(status_code=200)

            async def content() -> AsyncIterator[bytes]:
                while chunk := await upload.read(1 << 20):
                    yield chunk

            properties = {"pypi.name": [str(name)], "pypi.version": [str(version)]}
            return await self._deploy(request, repository, path, properties, user, content())

    async def pypi_index(self, request: Request) -> Response:
        """``api/pypi/REPOSITORY/simple/``: the names of all packages."""
        self.user(request, write=False)
        repository = self.repository(request.path_params["repository"], "pypi")
        names = sorted({_package(artifact) for artifact in self.store.all(repository)})
        return _links((name, f"{name}/") for name in names)

    async def pypi_package(self, request: Request) -> Response:
        """``api/pypi/REPOSITORY/simple/NAME/``: the files of a package, with their digests."""
        self.user(request, write=False)
        repository = self.repository(request.path_params["repository"], "pypi")
        name = _normalised(request.path_params["package"])
        found = [artifact for artifact in self.store.all(repository) if _package(artifact) == name]
        if not found:
            raise HTTPException(404, f"There is no package {name} in {repository}")
        base = urlsplit(_base(request)).path
        return _links(
            (artifact.path.rpartition("/")[2], f"{base}/{repository}/{quote(artifact.path)}#sha256={artifact.sha256}")
            for artifact in found
        )

    async def helm_index(self, request: Request) -> Response:
        """``api/helm/REPOSITORY/index.yaml`` from the charts that are in the repository."""
        self.user(request, write=False)
        repository = self.repository(request.path_params["repository"], "helm")
        entries: dict[str, list[Any]] = {}
        for artifact in self.store.all(repository):
            if artifact.path.endswith(".tgz") and (chart := self._chart(artifact)) is not None:
                url = f"{_base(request)}/{repository}/{quote(artifact.path)}"
                entry = {**chart, "urls": [url], "digest": artifact.sha256, "created": artifact.created}
                entries.setdefault(str(chart["name"]), []).append(entry)
        return Response(yaml.safe_dump({"apiVersion": "v1", "entries": entries}), media_type="text/yaml")

    def _chart(self, artifact: Artifact) -> dict[str, Any] | None:
        """The Chart.yaml inside of a packaged chart; None when the file is none."""
        try:
            with tarfile.open(self.store.path(artifact.repository, artifact.path)) as archive:
                for member in archive:
                    if re.fullmatch(r"[^/]+/Chart\.yaml", member.name) and (file := archive.extractfile(member)):
                        described = yaml.safe_load(io.TextIOWrapper(file, encoding="utf-8"))
                        return described if isinstance(described, dict) and "name" in described else None
        except (tarfile.TarError, yaml.YAMLError, OSError):
            return None
        return None

    async def hand_over(self, request: Request) -> Response:
        """``/v2/…``: the registry behind answers; what flows through is not held."""
        self.user(request, write=request.method not in ("GET", "HEAD"))
        path = request.url.path
        repository = path.removeprefix("/v2/").partition("/")[0]
        if repository and repository != "_catalog":
            self.repository(repository)
        url = self.registry + path + (f"?{request.url.query}" if request.url.query else "")
        headers = [(name, value) for name, value in request.headers.items() if name not in HOP_BY_HOP]
        # the registry writes the addresses of uploads: with our name, so that the client comes back to us
        headers += [("host", request.headers["host"]), ("x-forwarded-proto", request.url.scheme)]
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        outgoing = self.client.build_request(
            request.method, url, headers=headers, content=request.stream() if has_body else None
        )
        try:
            answer = await self.client.send(outgoing, stream=True)
        except httpx.TransportError as error:
            raise HTTPException(502, f"The registry behind does not answer: {type(error).__name__}") from error
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
        return StreamingResponse(
            answer.aiter_raw(), answer.status_code, headers=kept, background=BackgroundTask(answer.aclose)
        )

    async def error(self, request: Request, error: Exception) -> Response:
        """Errors in Artifactory's form; in the registry's below /v2/."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        message = error.detail if isinstance(error, HTTPException) else "Internal error"
        headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        if request.url.path.startswith("/v2/"):
            headers["Docker-Distribution-Api-Version"] = "registry/2.0"
            code = {401: "UNAUTHORIZED", 403: "DENIED", 404: "NAME_UNKNOWN"}.get(status, "UNKNOWN")
            return JSONResponse({"errors": [{"code": code, "message": message}]}, status, headers=headers)
        return JSONResponse({"errors": [{"status": status, "message": message}]}, status, headers=headers)


def _base(request: Request) -> str:
    return f"{request.url.scheme}://{request.headers['host']}/artifactory"


def _properties(text: str) -> dict[str, list[str]]:
    """``a=1,2;b=3`` as Artifactory writes properties."""
    found: dict[str, list[str]] = {}
    for pair in filter(None, text.split(";")):
        name, _, values = pair.partition("=")
        found.setdefault(unquote(name), []).extend(unquote(value) for value in values.split(","))
    return found


def _has(artifact: Artifact, name: str, pattern: str) -> bool:
    """Whether one of the property's values is like ``pattern``; brackets in it mean themselves."""
    values = artifact.properties.get(name, [])
    return any(fnmatchcase(value, pattern.replace("[", "[[]")) for value in values)


def _described(artifact: Artifact, base: str, user: User) -> dict[str, Any]:
    checksums = {"md5": artifact.md5, "sha1": artifact.sha1, "sha256": artifact.sha256}
    return {
        "repo": artifact.repository,
        "path": f"/{artifact.path}",
        "created": artifact.created,
        "createdBy": artifact.created_by,
        "lastModified": artifact.created,
        "modifiedBy": artifact.created_by,
        "lastUpdated": artifact.created,
        "downloadUri": f"{base}/{artifact.repository}/{quote(artifact.path)}",
        "mimeType": "application/octet-stream",
        "size": str(artifact.size),
        "checksums": checksums,
        "originalChecksums": checksums,
        "uri": f"{base}/api/storage/{artifact.repository}/{quote(artifact.path)}",
    }


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _package(artifact: Artifact) -> str:
    """The package that a file belongs to, from its name: ``a_b-1.0-py3-none-any.whl`` is of ``a-b``."""
    filename = artifact.path.rpartition("/")[2]
    if filename.endswith(".whl"):
        return _normalised(filename.split("-")[0])
    return _normalised(filename.rpartition("-")[0])


def _links(links: Any) -> Response:
    lines = [f'<a href="{html.escape(href)}">{html.escape(text)}</a><br/>' for text, href in links]
    return HTMLResponse("<!DOCTYPE html>\n<html><body>\n" + "\n".join(lines) + "\n</body></html>\n")


def create(settings: Settings) -> Starlette:
    """The application."""
    server = Server(settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await server.client.aclose()

    api = "/artifactory/api"
    routes = [
        Route(f"{api}/system/ping", server.ping),
        Route(f"{api}/system/version", server.version),
        Route(f"{api}/repositories", server.list_repositories),
        Route(f"{api}/storage/{{repository}}/{{path:path}}", server.storage, methods=["GET", "PUT"]),
        Route(f"{api}/search/prop", server.search_properties),
        Route(f"{api}/pypi/{{repository}}", server.pypi_upload, methods=["POST"]),
        Route(f"{api}/pypi/{{repository}}/", server.pypi_upload, methods=["POST"]),
        Route(f"{api}/pypi/{{repository}}/simple/", server.pypi_index),
        Route(f"{api}/pypi/{{repository}}/simple/{{package}}/", server.pypi_package),
        Route(f"{api}/helm/{{repository}}/index.yaml", server.helm_index),
        Route("/artifactory/{repository}/{path:path}", server.artifact, methods=METHODS),
        Route("/v2/{path:path}", server.hand_over, methods=METHODS),
    ]
    handlers: Any = {HTTPException: server.error, Exception: server.error}
    return Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
