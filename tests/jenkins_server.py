"""A server that speaks Jenkins' documented REST API, for tests: there is no Jenkins to be had from the registries.

What it does as Jenkins does: crumbs that end with the session, folders, config.xml that comes back with defaults,
another order, versions of plugins and XML 1.1, and without what belongs to a plugin that is missing; lists in pages by
``tree``; a queue that joins requests that are alike; consoles in pieces; 401, 403, 404, 5xx; a restart, with a time
when nobody listens and one when everything is answered with 503. Its pipelines know `echo`, `sleep`, `unstable`,
`error`, and a file that is archived. python-jenkins, and a real Jenkins where there is one, keep it honest: the tests
run on either.
"""

from __future__ import annotations

import base64
import contextlib
import re
import secrets
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tests.ports import free_port

USER, TOKEN, PASSWORD = "seeder", "11-api-token-of-the-seeder", "a-password-of-the-seeder"
FOLDER = "com.cloudbees.hudson.plugins.folder.Folder"
MULTIBRANCH = "org.jenkinsci.plugins.workflow.multibranch.WorkflowMultiBranchProject"
PIPELINE = "org.jenkinsci.plugins.workflow.job.WorkflowJob"
# The plugin of a class, by how its name begins; the order counts.
PLUGINS = {
    "com.cloudbees.hudson.plugins.folder": "cloudbees-folder@6.1079.vc0975c2de294",
    "org.jenkinsci.plugins.workflow.multibranch": "workflow-multibranch@821.vc3b_4ea_780798",
    "org.jenkinsci.plugins.workflow.job": "workflow-job@1571.v580f6f4c9b_b_8",
    "org.jenkinsci.plugins.workflow.cps": "workflow-cps@4259.vf653c97f81d6",
    "org.jenkinsci.plugins.workflow.libs": "pipeline-groovy-lib@787.ve2fef0efdca_6",
    "org.jenkinsci.plugins.github": "github-branch-source@1917.v9ee8a_39b_3d0d",
    "com.cloudbees.jenkins.plugins.bitbucket": "cloudbees-bitbucket-branch-source@937.6.2",
    "io.jenkins.plugins.gitlabbranchsource": "gitlab-branch-source@718.v40b_5f0e67cd3",
    "jenkins.branch": "branch-api@2.1268.v044a_87612da_8",
    "jenkins.scm": "scm-api@724.v7d839074eb_5c",
    "jenkins.plugins.git": "git@5.7.0",
    "hudson.plugins.git": "git@5.7.0",
}
# In which order Jenkins writes fields, and which it adds.
ORDER = (
    "actions",
    "description",
    "keepDependencies",
    "properties",
    "folderViews",
    "healthMetrics",
    "icon",
    "definition",
)
DEFAULTS = {
    FOLDER: "<x><folderViews class='com.cloudbees.hudson.plugins.folder.views.DefaultFolderViewHolder'/>"
    "<healthMetrics/><icon class='com.cloudbees.hudson.plugins.folder.icons.StockFolderIcon'/></x>",
    MULTIBRANCH: "<x><actions/><healthMetrics/><icon class='jenkins.branch.MetadataActionFolderIcon'/></x>",
    "flow-definition": "<x><actions/><keepDependencies>false</keepDependencies><triggers/></x>",
    "hudson.triggers.SCMTrigger": "<x><ignorePostCommitHooks>false</ignorePostCommitHooks></x>",
    "scm": "<x><doGenerateSubmoduleConfigurations>false</doGenerateSubmoduleConfigurations></x>",
    "hudson.model.ListView": "<x><filterExecutors>false</filterExecutors><filterQueue>false</filterQueue>"
    "<properties class='hudson.model.View$PropertyList'/></x>",
}


@dataclass
class Build:
    """A build: its console, and what the script makes of it."""

    number: int
    queue: int
    script: str
    parameters: dict[str, str]
    commit: str = ""
    log: bytearray = field(default_factory=bytearray)
    building: bool = True
    result: str | None = None
    stopped: bool = False
    files: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        """What the pipeline says, line by line."""
        result = "SUCCESS"
        for line in self.script.splitlines():
            if self.stopped:
                break
            if found := re.match(r"\s*(echo|sleep|unstable|error)[ (]+['\"]?([^'\")]*)", line):
                word, text = found.groups()
                if word == "sleep":
                    end = time.monotonic() + float(text)
                    while time.monotonic() < end and not self.stopped:
                        time.sleep(0.01)
                    continue
                self.log += f"{'ERROR: ' if word == 'error' else ''}{text}\n".encode()
                result = {"unstable": "UNSTABLE", "error": "FAILURE"}.get(word, result)
                if word == "error":
                    break
            elif found := re.search(r"writeFile file: '([^']*)', text: '([^']*)'", line):
                self.files[found[1]] = found[2]
        result = "ABORTED" if self.stopped else result
        self.log += f"Finished: {result}\n".encode()
        self.building, self.result = False, result


@dataclass
class Item:
    """A folder or job."""

    config: ET.Element
    builds: list[Build] = field(default_factory=list)
    commit: str = ""

    @property
    def kind(self) -> str:
        return PIPELINE if self.config.tag == "flow-definition" else self.config.tag

    @property
    def parameters(self) -> list[str]:
        found = self.config.iterfind(".//parameterDefinitions/*/name")
        return [each.text or "" for each in found]

    def default(self, name: str) -> str:
        for each in self.config.iterfind(".//parameterDefinitions/*"):
            if each.findtext("name") == name:
                return each.findtext("defaultValue") or each.findtext("choices/a/string") or ""
        return ""


@dataclass
class Waiting:
    """An item of the queue."""

    id: int
    job: str
    parameters: dict[str, str]
    until: float
    why: str = ""
    number: int | None = None
    cancelled: bool = False


class Server:
    """The controller; its state survives `restart`, but sessions and their crumbs do not."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.views: dict[str, ET.Element] = {}
        self.credentials: dict[str, set[str]] = {"": set()}
        self.plugins = set(PLUGINS.values())
        self.queue: list[Waiting] = []
        self.left: dict[int, Waiting] = {}
        self.sessions: dict[str, str] = {}
        self.requests: list[tuple[str, str]] = []
        self.loading = False
        self.hold = False
        self.fault: Callable[[str, str], Response | None] = lambda method, path: None
        self.forbidden: set[str] = set()
        self.bare_sources = False  # both forms of branch sources are met
        self.lost = 0  # how many answers to requests for builds are still to be lost
        self.last_id = 0
        self.lock = threading.RLock()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ended = False
        self._app = Starlette(routes=[Route("/{path:path}", self._route, methods=["GET", "POST"])])
        threading.Thread(target=self._clock, daemon=True).start()
        self.start()

    # ── its life ──

    def start(self) -> None:
        config = uvicorn.Config(self._app, port=self.port, log_level="error", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), f"nobody can listen on port {self.port}"
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def restart(self, *, down: float = 0.5, loading: float = 0.5) -> None:
        """Nobody listens for a while; then 503 for a while; then all is as before, but for the sessions."""
        self.stop()
        self.sessions.clear()
        self.left.clear()
        time.sleep(down)
        self.loading = True
        self.start()
        time.sleep(loading)
        self.loading = False

    def posts(self, what: str = "") -> list[str]:
        """The changes that were asked for."""
        return [path for method, path in self.requests if method == "POST" and what in path]

    def _clock(self) -> None:
        while not self.ended:
            time.sleep(0.01)
            with self.lock:
                for waiting in list(self.queue):
                    item = self.items.get(waiting.job)
                    busy = item and any(build.building for build in item.builds)
                    alone = item and item.config.find(".//*[abortPrevious]") is not None
                    if self.hold or time.monotonic() < waiting.until or (busy and alone):
                        waiting.why = (
                            f"Build #{len(item.builds)} is already in progress"
                            if busy and item
                            else "In the quiet period"
                        )
                        continue
                    self.queue.remove(waiting)
                    assert item is not None
                    self._begin(item, waiting)

    def _begin(self, item: Item, waiting: Waiting) -> None:
        script = item.config.findtext("definition/script") or "echo 'built'"
        build = Build(
            number=len(item.builds) + 1,
            queue=waiting.id,
            script=script,
            parameters=waiting.parameters,
            commit=item.commit,
        )
        item.builds.append(build)
        waiting.number = build.number
        threading.Thread(target=build.run, daemon=True).start()

    # ── requests ──

    async def _route(self, request: Request) -> Response:
        request.state.body = await request.body()
        kind = request.headers.get("content-type", "").partition(";")[0]
        form = request.state.body.decode() if kind == "application/x-www-form-urlencoded" else ""
        request.state.form = dict(parse_qsl(form, keep_blank_values=True))
        return await run_in_threadpool(self._answer, request, unquote(request.path_params["path"]))

    def _answer(self, request: Request, path: str) -> Response:
        with self.lock:
            self.requests.append((request.method, path))
            if self.loading:
                return PlainTextResponse("Please wait while Jenkins is getting ready to work", 503)
            if (fault := self.fault(request.method, path)) is not None:
                return fault
            if (refused := self._refuse(request, path)) is not None:
                return refused
            try:
                answer = self._dispatch(request, path)
            except KeyError:
                answer = PlainTextResponse("Not Found", 404)
            if self.lost and request.method == "POST" and re.search(r"/build\w*$", path):
                self.lost -= 1
                return PlainTextResponse("Bad gateway", 502)
            answer.headers["X-Jenkins"] = "2.516.3"
            return answer

    def _refuse(self, request: Request, path: str) -> Response | None:
        kind, _, code = request.headers.get("authorization", "").partition(" ")
        user, _, word = base64.b64decode(code).decode().partition(":") if kind == "Basic" else ("", "", "")
        if kind and (user, word) not in ((USER, TOKEN), (USER, PASSWORD)):
            return PlainTextResponse("Unauthorized", 401)
        if not kind and path:
            return PlainTextResponse("anonymous is missing the Overall/Read permission", 403)
        if any(each in path for each in self.forbidden):
            return PlainTextResponse(f"{user} is missing the permission", 403)
        # who comes with an API token needs no crumb
        if request.method == "POST" and word == PASSWORD:
            crumb = self.sessions.get(request.cookies.get("JSESSIONID", ""))
            if crumb is None or request.headers.get("Jenkins-Crumb") != crumb:
                return PlainTextResponse("No valid crumb was included in the request", 403)
        return None

    def _dispatch(self, request: Request, path: str) -> Response:
        if not path:
            return PlainTextResponse("Dashboard")
        if path == "crumbIssuer/api/json":
            session = request.cookies.get("JSESSIONID") or secrets.token_hex(8)
            crumb = self.sessions.setdefault(session, secrets.token_hex(16))
            answer = JSONResponse({"crumb": crumb, "crumbRequestField": "Jenkins-Crumb"})
            answer.set_cookie("JSESSIONID", session)
            return answer
        name, rest = "", path
        while found := re.match(r"job/([^/]+)/?(.*)", rest):
            name, rest = f"{name}/{found[1]}".lstrip("/"), found[2]
        if name and name not in self.items:
            raise KeyError(name)
        calls: list[tuple[str, Callable[..., Response]]] = [
            (r"api/json", self._about),
            (r"config\.xml", self._config),
            (r"createItem", self._create_item),
            (r"createView", self._create_view),
            (r"doDelete", self._delete),
            (r"(disable|enable)", self._switch),
            (r"view/([^/]+)/(config\.xml|doDelete|api/json)", self._view),
            (r"credentials/store/(?:system|folder)/(?:domain/([^/]+)/)?api/json", self._credentials),
            (r"build(?:WithParameters)?", self._build),
            (r"queue/(.*)", self._queue),
            (r"(\d+)/(.*)", self._of_build),
            (r"pipeline-model-converter/validateJenkinsfile", self._declarative),
            (
                r"descriptorByName/org\.jenkinsci\.plugins\.workflow\.cps\.CpsFlowDefinition/checkScriptCompile",
                self._compile,
            ),
        ]
        for expression, call in calls:
            if match := re.fullmatch(expression, rest):
                return call(request, name, *match.groups())
        raise KeyError(rest)

    # ── folders, jobs, views ──

    def _about(self, request: Request, name: str) -> Response:
        return self._json(request, self._whole(name))

    def _whole(self, name: str) -> dict[str, Any]:
        whole: dict[str, Any] = {"_class": "hudson.model.Hudson"}
        if name:
            item = self.items[name]
            definitions = [{"name": each} for each in item.parameters]
            whole = {
                "_class": item.kind,
                "name": name.rpartition("/")[2],
                "fullName": name,
                "url": f"{self.url}/{self._path(name)}",
                "color": "blue",
                "description": item.config.findtext("description"),
                "buildable": item.config.findtext("disabled") != "true",
                "property": [{"parameterDefinitions": definitions}] if definitions else [{}],
                "allBuilds": [self._build_json(name, build) for build in reversed(item.builds)],
            }
            whole["builds"] = whole["allBuilds"][:100]
        if not name or self.items[name].kind in (FOLDER, MULTIBRANCH):
            below = sorted(each for each in self.items if each.rpartition("/")[0] == name)
            whole["jobs"] = [self._whole(each) for each in below]
            views = {each: view for each, view in self.views.items() if each.rpartition("/")[0] == name}
            whole["views"] = [
                {"_class": "hudson.model.AllView", "name": "all", "description": None},
                *(
                    {
                        "_class": "hudson.model.ListView",
                        "name": each.rpartition("/")[2],
                        "description": view.findtext("description"),
                    }
                    for each, view in sorted(views.items())
                ),
            ]
        return whole

    def _config(self, request: Request, name: str) -> Response:
        item = self.items[name]
        if request.method == "GET":
            return xml(item.config)
        wanted = self._read(request)
        if wanted is None:
            return PlainTextResponse("<h1>Oops!</h1> Failed to parse config.xml", 500)
        item.config = wanted
        return PlainTextResponse("")

    def _create_item(self, request: Request, folder: str) -> Response:
        if folder and self.items[folder].kind != FOLDER:
            raise KeyError(folder)
        given = {**dict(request.query_params), **request.state.form}
        name = given["name"]
        full = f"{folder}/{name}".lstrip("/")
        if full in self.items:
            return PlainTextResponse(f"A job already exists with the name ‘{name}’", 400)
        if re.search(r"[?*/\\%!@#$^&|<>\[\]:;]", name):
            return PlainTextResponse("is an unsafe character", 400)
        if given.get("mode") == FOLDER:
            wanted: ET.Element | None = ET.fromstring(f"<{FOLDER}><properties/></{FOLDER}>")
            assert wanted is not None
            self._load(wanted)
        else:
            wanted = self._read(request)
        if wanted is None:
            return PlainTextResponse("<h1>Oops!</h1> Failed to parse", 500)
        self.items[full] = Item(wanted)
        return PlainTextResponse("")

    def _create_view(self, request: Request, folder: str) -> Response:
        name = f"{folder}/{request.query_params['name']}".lstrip("/")
        if name in self.views:
            return PlainTextResponse("A view already exists", 400)
        wanted = self._read(request)
        if wanted is None:
            return PlainTextResponse("Oops!", 500)
        self.views[name] = wanted
        return PlainTextResponse("")

    def _view(self, request: Request, folder: str, name: str, what: str) -> Response:
        full = f"{folder}/{name}".lstrip("/")
        view = self.views[full]
        if what == "api/json":
            return self._json(request, {"name": name})
        if what == "doDelete":
            del self.views[full]
        elif request.method == "GET":
            return xml(view)
        else:
            wanted = self._read(request)
            assert wanted is not None
            self.views[full] = wanted
        return PlainTextResponse("")

    def _delete(self, request: Request, name: str) -> Response:
        for each in [each for each in self.items if each == name or each.startswith(f"{name}/")]:
            del self.items[each]
        return PlainTextResponse("")

    def _switch(self, request: Request, name: str, word: str) -> Response:
        config = self.items[name].config
        if config.find("disabled") is None:
            ET.SubElement(config, "disabled")
        next(config.iter("disabled")).text = str(word == "disable").lower()
        return PlainTextResponse("")

    def _read(self, request: Request) -> ET.Element | None:
        """What Jenkins makes of an XML that it is given; None: nothing."""
        assert request.headers["content-type"].partition(";")[0] in ("text/xml", "application/xml")
        try:
            root = ET.fromstring(re.sub(r"^<\?xml[^>]*\?>", "", request.state.body.decode()))
        except ET.ParseError:
            return None
        self._load(root)
        return root

    def _load(self, element: ET.Element) -> None:
        name = element.get("class") or element.tag
        for child in list(element):
            plugin = plugin_of(child)
            if plugin and plugin not in self.plugins:
                element.remove(child)
            else:
                self._load(child)
        if self.bare_sources and element.tag == "sources" and element.get("class"):
            inner = list(element.iterfind("data/*"))
            element.clear()
            element.extend(inner)
        element.attrib.pop("plugin", None)
        if plugin := plugin_of(element):
            element.set("plugin", plugin)
        for added in ET.fromstring(DEFAULTS.get(name, DEFAULTS.get(element.tag, "<x/>"))):
            if element.find(added.tag) is None:
                element.append(added)
        if element.tag in (FOLDER, MULTIBRANCH, "flow-definition"):
            element[:] = sorted(element, key=lambda each: ORDER.index(each.tag) if each.tag in ORDER else len(ORDER))

    def _credentials(self, request: Request, folder: str, domain: str | None = None) -> Response:
        known = self.credentials[folder]
        if domain is None:
            return self._json(request, {"domains": {"_": {}}})
        return self._json(request, {"credentials": [{"id": each} for each in sorted(known)]})

    # ── builds ──

    def _build(self, request: Request, name: str) -> Response:
        item = self.items[name]
        if request.method != "POST":
            return PlainTextResponse("Form post required", 405)
        if item.config.findtext("disabled") == "true":
            return PlainTextResponse("is not buildable", 409)
        given = {**dict(request.query_params), **request.state.form}
        seconds = float(given.pop("delay", "0sec").removesuffix("sec"))
        if request.url.path.endswith("build") and item.parameters:
            return PlainTextResponse("This job has parameters", 400)
        values = {each: given.get(each, item.default(each)) for each in item.parameters}
        found = next((each for each in self.queue if (each.job, each.parameters) == (name, values)), None)
        if found is None:
            self.last_id += 1
            found = Waiting(self.last_id, name, values, time.monotonic() + seconds)
            self.queue.append(found)
            self.left[found.id] = found
        return PlainTextResponse("", 201, headers={"Location": f"{self.url}/queue/item/{found.id}/"})

    def _queue(self, request: Request, _: str, rest: str) -> Response:
        if rest == "api/json":
            return self._json(request, {"items": [self._waiting(each) for each in self.queue]})
        if rest == "cancelItem":
            number = int(request.query_params["id"])
            self.queue = [each for each in self.queue if each.id != number]
            self.left[number].cancelled = True
            return PlainTextResponse("", 204)
        if found := re.fullmatch(r"item/(\d+)/api/json", rest):
            return self._json(request, self._waiting(self.left[int(found[1])]))
        raise KeyError(rest)

    def _waiting(self, each: Waiting) -> dict[str, Any]:
        about: dict[str, Any] = {
            "id": each.id,
            "task": {"url": f"{self.url}/{self._path(each.job)}"},
            "actions": [actions(each.parameters)],
        }
        if each.cancelled:
            return {**about, "cancelled": True}
        if each.number is None:
            return {**about, "why": each.why or "In the quiet period. Expires in 1 sec"}
        url = f"{self.url}/{self._path(each.job)}{each.number}/"
        return {**about, "why": None, "executable": {"number": each.number, "url": url}}

    def _of_build(self, request: Request, name: str, number: str, rest: str) -> Response:
        build = next(each for each in self.items[name].builds if each.number == int(number))
        if rest == "api/json":
            return self._json(request, self._build_json(name, build))
        if rest == "stop":
            build.stopped = True
            return PlainTextResponse("")
        if rest.startswith("artifact/"):
            return PlainTextResponse(build.files[rest.removeprefix("artifact/")])
        if rest == "consoleText":
            return PlainTextResponse(bytes(build.log))
        if rest != "logText/progressiveText":
            raise KeyError(rest)
        start = int(request.query_params["start"])
        building, size = build.building, len(build.log)
        headers = {"X-Text-Size": str(size)} | ({"X-More-Data": "true"} if building else {})
        return Response(bytes(build.log[start:size]), media_type="text/plain", headers=headers)

    def _build_json(self, name: str, build: Build) -> dict[str, Any]:
        recorded = [{"_class": "hudson.plugins.git.util.BuildData", "lastBuiltRevision": {"SHA1": build.commit}}]
        return {
            "number": build.number,
            "url": f"{self.url}/{self._path(name)}{build.number}/",
            "building": build.building,
            "result": build.result,
            "queueId": build.queue,
            "artifacts": [{"relativePath": each} for each in build.files],
            "actions": [actions(build.parameters), {}, *(recorded if build.commit else [])],
        }

    def _declarative(self, request: Request, name: str) -> Response:
        text = request.state.form["jenkinsfile"]
        for line, words in enumerate(text.splitlines(), 1):
            if "stagess" in words:
                said = f'WorkflowScript: {line}: Undefined section "stagess" @ line {line}, column 5.\n   ^\n'
                return JSONResponse({"status": "ok", "data": {"result": "failure", "errors": [{"error": [said]}]}})
        if not re.search(r"pipeline\s*\{", text):
            wrong = [{"error": "did not contain the 'pipeline' step"}]
            return JSONResponse({"status": "ok", "data": {"result": "failure", "errors": wrong}})
        return JSONResponse({"status": "ok", "data": {"result": "success"}})

    def _compile(self, request: Request, name: str) -> Response:
        lines = request.state.form["value"].splitlines()
        if sum(line.count("{") - line.count("}") for line in lines):
            said = "expecting '}', found ''"
            return JSONResponse([{"line": len(lines), "column": 1, "message": said, "status": "fail"}])
        return JSONResponse({"status": "success"})

    def _json(self, request: Request, whole: Any) -> Response:
        tree = request.query_params.get("tree")
        return JSONResponse(chosen(whole, parse(tree)) if tree else whole)

    def _path(self, name: str) -> str:
        return "".join(f"job/{part}/" for part in name.split("/"))


def actions(parameters: dict[str, str]) -> dict[str, Any]:
    """The action with a build's parameters, as the API has it."""
    listed = [{"name": name, "value": value} for name, value in parameters.items()]
    return {"_class": "hudson.model.ParametersAction", "parameters": listed} if listed else {}


def plugin_of(element: ET.Element) -> str | None:
    """The plugin that an element's class comes from."""
    name = (element.get("class") or element.tag).replace("__", "_")
    if name == "flow-definition":
        name = PIPELINE
    return next((plugin for prefix, plugin in PLUGINS.items() if name.startswith(prefix)), None)


def xml(root: ET.Element) -> Response:
    """As Jenkins writes it: XML 1.1, indented."""
    text = ET.tostring(root, encoding="unicode")
    copied = ET.fromstring(text)
    ET.indent(copied)
    text = "<?xml version='1.1' encoding='UTF-8'?>\n" + ET.tostring(copied, encoding="unicode")
    return Response(text, media_type="application/xml")


Tree = dict[str, tuple["Tree | None", tuple[int, int] | None]]


def parse(text: str) -> Tree:
    """The API's ``tree``: names with commas, what is wanted below in brackets, a range in braces."""
    tokens = re.findall(r"[\w*]+|[\[\],]|\{\d+,\d+\}", text)
    assert "".join(tokens) == text, text

    def names() -> Tree:
        found: Tree = {}
        while tokens and tokens[0] != "]":
            name, below, span = tokens.pop(0), None, None
            if tokens and tokens[0] == "[":
                tokens.pop(0)
                below = names()
                assert tokens.pop(0) == "]"
            if tokens and tokens[0].startswith("{"):
                first, last = tokens.pop(0)[1:-1].split(",")
                span = (int(first), int(last))
            found[name] = (below, span)
            if tokens and tokens[0] == ",":
                tokens.pop(0)
        return found

    return names()


def chosen(value: Any, tree: Tree | None) -> Any:
    """What of an answer a ``tree`` wants; the classes always come along."""
    if tree is None or not isinstance(value, dict):
        return (
            {key: each for key, each in value.items() if not isinstance(each, list | dict)}
            if isinstance(value, dict)
            else value
        )
    found = {"_class": value["_class"]} if "_class" in value else {}
    for name, (below, span) in tree.items():
        if name in value:
            each = value[name]
            if isinstance(each, list):
                found[name] = [chosen(one, below) for one in (each[slice(*span)] if span else each)]
            else:
                found[name] = chosen(each, below)
    return found


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A fresh controller."""
    server = Server()
    try:
        yield server
    finally:
        server.ended = True
        server.stop()
