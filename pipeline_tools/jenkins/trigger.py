"""Start a build, once for a commit, and watch it to its end.

Jenkins joins requests that are alike while they wait in its queue, so each waits there for `QUIET` seconds: who looks
into the queue and then among the builds, and finds neither, cannot be more than a moment late. What slips through all
the same is found afterwards: the build with the lowest number stays, whoever started another stops it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline_tools.errors import ConfigError, InfrastructureError, Interrupted, PipelineError, QualityError
from pipeline_tools.jenkins.definitions import COMMIT
from pipeline_tools.masking import LineStream, mask
from pipeline_tools.names import nearest
from pipeline_tools.systems.jenkins import FOLDER, MULTIBRANCH, PAGE, Controller, NotFound, Unsent, path_of

# How long a request stays in the queue, seconds: others like it join it there.
QUIET = 5
# How many builds back one for the same commit is looked for.
LOOK_BACK = 500
# Watching: the shortest and the longest pause, seconds.
PAUSE, LONGEST = 0.5, 3.0
_BUILD = (
    "number,url,building,result,queueId,actions[parameters[name,value],lastBuiltRevision[SHA1],revision[hash,pullHash]]"
)
_FAILED = {
    "FAILURE": "failed",
    "UNSTABLE": "is unstable",
    "ABORTED": "was aborted",
    "NOT_BUILT": "was not built to its end",
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked for: a job, its parameters, and the commit that has one build at most."""

    job: str
    parameters: Mapping[str, str]
    commit: str | None = None
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class Build:
    """A build, as far as it has come.

    Attributes:
        queue: its number in the queue.
        key: the value of its parameter COMMIT.
        commits: what Jenkins recorded that it builds; none until it has looked. That of a library may be among them.
    """

    number: int
    url: str
    building: bool
    result: str
    queue: int
    key: str
    commits: tuple[str, ...]

    @classmethod
    def read(cls, about: Mapping[str, Any]) -> Build:
        """From Jenkins' answer."""
        actions = about.get("actions", ())
        parameters = [each for action in actions for each in action.get("parameters", ())]
        revisions = [action["revision"] for action in actions if isinstance(action.get("revision"), dict)]
        checkouts = [action["lastBuiltRevision"] for action in actions if action.get("lastBuiltRevision")]
        # of a branch's job it is known from the beginning; of any other only what was checked out
        commits = [each.get("pullHash") or each.get("hash") for each in revisions]
        commits = commits or [each["SHA1"] for each in checkouts]
        return cls(
            number=int(about["number"]),
            url=str(about["url"]),
            building=bool(about["building"]),
            result=str(about.get("result") or ""),
            queue=int(about.get("queueId", -1)),
            key=next((str(each.get("value", "")) for each in parameters if each.get("name") == COMMIT), ""),
            commits=tuple(str(each) for each in commits if each),
        )

    def builds(self, commit: str, *, keyed: bool) -> bool:
        """Whether this is a build for ``commit``; by its parameter, or by what Jenkins recorded."""
        return commit in ([self.key] if keyed else self.commits)


class Trigger:
    """Starts a build of one job, and watches it.

    Args:
        say: told what happens, in short lines.
        show: given each line of the build's console, masked.
    """

    def __init__(
        self, controller: Controller, asked: Asked, *, say: Callable[[str], None], show: Callable[[str], None]
    ) -> None:
        self._controller, self._asked, self._say, self._show = controller, asked, say, show
        self._path = path_of(asked.job)
        self._watched: str | None = None

    def start(self) -> int | Build:
        """Ask for the build: its place in the queue, or the build that the commit has already.

        Raises:
            ConfigError: there is no such job, or it has no such parameter.
        """
        about = self._job()
        if about.get("_class") in (FOLDER, MULTIBRANCH):
            below = [item.name for item in self._controller.items(self._asked.job, branches=True)]
            what = "jobs" if about["_class"] == FOLDER else "branches"
            raise ConfigError(
                f"{self._asked.job} is not built itself: its {what} are.",
                hint=f"Name one of them: {', '.join(below[:10])}." if below else "There is none in it yet.",
            )
        declared = _parameters(about)
        asked = self._asked
        for name in asked.parameters:
            if name not in declared:
                hint = f"It has: {', '.join(declared)}." if declared else "It has none."
                raise ConfigError(f"The job {asked.job} has no parameter {name!r}.{nearest(name, declared)}", hint=hint)
        values = dict(asked.parameters)
        if asked.commit and COMMIT in declared:
            values[COMMIT] = asked.commit
        if asked.commit and not asked.force:
            found = self._queued(str(about["url"]), keyed=COMMIT in declared) or self._built(keyed=COMMIT in declared)
            if found is not None:
                return found
        call = "buildWithParameters" if declared else "build"
        query = {"delay": f"{QUIET}sec"} if asked.commit and not asked.force else {"delay": "0sec"}
        if not about.get("buildable", True):
            raise ConfigError(
                f"The job {asked.job} is disabled.", hint="Enable it in Jenkins, or in the platform file."
            )
        # what came through, and only its answer was lost, is joined by a second one for the same commit; no other is
        once = bool(asked.commit) and not asked.force
        try:
            answer = self._controller.ask("POST", f"{self._path}{call}", params=query, data=values, repeatable=once)
        except Unsent:
            raise
        except InfrastructureError as error:
            error.hint = f"A build may have been started all the same: look at {about['url']} before you ask again."
            raise
        location = answer.headers.get("Location", "")
        last = location.rstrip("/").rpartition("/")[2]
        if not last.isdigit():
            raise ConfigError(
                f"Jenkins did not put a build of {asked.job} into its queue.",
                hint="Is it a job that is not built by hand?",
            )
        return int(last)

    def wait(self, began: int | Build) -> Build:
        """Follow the build through the queue, show its console, and return it when it has ended.

        Raises:
            Interrupted: it was cancelled in the queue.
            InfrastructureError: Jenkins has lost it.
        """
        build = began if isinstance(began, Build) else self._leave_queue(began)
        if not isinstance(began, Build):
            build = self._first(build)
        self._watched = build.url
        self._say(f"{self._asked.job} #{build.number}: {build.url}")
        self._console(build.number)
        while (build := self._build(build.number)).building or not build.result:
            time.sleep(PAUSE)
        return build

    def left_running(self, began: int | Build) -> str:
        """What goes on when nobody watches any more."""
        if self._watched or isinstance(began, Build):
            url = self._watched or (began.url if isinstance(began, Build) else "")
            return f"The build goes on in Jenkins: {url} (stop it there, or POST {url}stop)."
        return f"The build stays in Jenkins' queue: {self._controller.url}/queue/item/{began}/ (cancel it there)."

    def judge(self, build: Build) -> PipelineError | None:
        """The error that the build's result is; None when it passed.

        A build of pipeline-tools says in its error.json what kind of failure it was; any other that failed is taken for
        one of quality.
        """
        asked = self._asked
        if build.result == "SUCCESS":
            if asked.commit and build.commits and not build.builds(asked.commit, keyed=False):
                built = " and ".join(each[:12] for each in build.commits)
                return ConfigError(
                    f"{asked.job} #{build.number} passed, but it built {built}, not {asked.commit[:12]}.",
                    hint="The branch has moved on, or the commit is not pushed yet.",
                    link=build.url,
                )
            return None
        kind: type[PipelineError] = Interrupted if build.result in ("ABORTED", "NOT_BUILT") else QualityError
        message, hint = f"{asked.job} #{build.number} {_FAILED.get(build.result, build.result)}.", ""
        details = ""
        if build.result in ("FAILURE", "UNSTABLE") and (told := self._told(build)):
            kinds = {PipelineError.kind: PipelineError, "approval": ConfigError}
            kinds |= {each.kind: each for each in _kinds(PipelineError)}
            # an unstable build is one of quality by Jenkins' own meaning
            kind = kinds.get(str(told.get("class")), kind) if build.result == "FAILURE" else kind
            details, hint = mask(f"{told.get('step')}: {told.get('message')}"), mask(str(told.get("hint") or ""))
        return kind(message, hint=hint, details=details, link=build.url)

    def _job(self) -> Any:
        tree = "url,buildable,property[parameterDefinitions[name]]"
        try:
            return self._controller.get(self._path, tree=tree)
        except NotFound:
            names = [item.name for item in self._controller.items(branches=True)]
            raise ConfigError(
                f"Jenkins has no job {self._asked.job!r}, or does not show it to this user."
                f"{nearest(self._asked.job, names)}",
                hint="Name it with its folders, and a branch of a multibranch job as well: claims/service/master.",
            ) from None

    def _queued(self, url: str, *, keyed: bool) -> int | None:
        tree = "items[id,task[url],actions[parameters[name,value]]]"
        for item in self._controller.get("queue/", tree=tree).get("items", ()):
            if (item.get("task") or {}).get("url") != url:
                continue
            values = [each for action in item.get("actions", ()) for each in action.get("parameters", ())]
            if not keyed or any(each["name"] == COMMIT and each["value"] == self._asked.commit for each in values):
                return int(item["id"])
        return None

    def _built(self, *, keyed: bool) -> Build | None:
        """The first build for the commit; without a parameter for it, by the commit that Jenkins recorded."""
        found, told = None, False
        for build in self._builds():
            # one that has just begun may not have looked yet what it builds
            while not keyed and build.building and not build.commits:
                if not told:
                    self._say(f"Waiting until #{build.number} says which commit it builds.")
                told = True
                time.sleep(PAUSE)
                build = self._build(build.number)
            if build.builds(self._asked.commit or "", keyed=keyed):
                found = build  # the newest come first
        return found

    def _builds(self, limit: int = LOOK_BACK) -> Iterator[Build]:
        for start in range(0, limit, PAGE):
            got = self._controller.get(self._path, tree=f"allBuilds[{_BUILD}]{{{start},{start + PAGE}}}")["allBuilds"]
            yield from (Build.read(about) for about in got)
            if len(got) < PAGE:
                return

    def _build(self, number: int) -> Build:
        try:
            return Build.read(self._controller.get(f"{self._path}{number}/", tree=_BUILD))
        except NotFound as error:
            raise InfrastructureError(f"{self._asked.job} #{number} is gone from Jenkins.") from error

    def _leave_queue(self, item: int) -> Build:
        told, pause = "", PAUSE
        while True:
            try:
                about = self._controller.get(f"queue/item/{item}/")
            except NotFound:  # after some minutes, or a restart, only the build remembers its place in the queue
                found = next((build for build in self._builds(PAGE) if build.queue == item), None)
                if found is None and self._asked.commit:
                    found = self._built(keyed=True)
                if found is None:
                    raise InfrastructureError(
                        f"{self._asked.job}: Jenkins knows neither the place {item} in the queue nor a build of it.",
                        hint="Was the controller restarted without its queue? Ask for the build again.",
                    ) from None
                return found
            if about.get("cancelled"):
                raise Interrupted(f"{self._asked.job} was cancelled in Jenkins' queue.")
            if about.get("executable"):
                return self._build(int(about["executable"]["number"]))
            why = mask(str(about.get("why") or ""))
            # the quiet period counts down in its words
            if why and not why.startswith("In the quiet period") and why != told:
                told = why
                self._say(f"In the queue: {why}")
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST)

    def _first(self, build: Build) -> Build:
        """The first build for the same commit: if it is not ours, ours is stopped."""
        asked, keyed = self._asked, bool(build.key)
        if not asked.commit or asked.force or not build.builds(asked.commit, keyed=keyed):
            return build
        before = (each for each in self._builds(PAGE) if each.number < build.number)
        alike = [each for each in before if each.builds(asked.commit, keyed=keyed)]
        if not alike:
            return build
        first = min(alike, key=lambda each: each.number)
        self._controller.ask("POST", f"{self._path}{build.number}/stop", repeatable=True)
        self._say(f"#{build.number} was one too many for this commit, and is stopped: #{first.number} was first.")
        return first

    def _console(self, number: int) -> None:
        """The console from its beginning to its end; where Jenkins restarts, it goes on from the same place."""
        stream, start, pause = LineStream(), 0, PAUSE
        while True:
            answer = self._controller.ask(
                "GET", f"{self._path}{number}/logText/progressiveText", params={"start": str(start)}
            )
            for line in stream.feed(answer.content):
                self._show(line)
            size = int(answer.headers.get("X-Text-Size", start))
            pause = PAUSE if size != start else min(pause * 1.5, LONGEST)
            start = size
            if answer.headers.get("X-More-Data") != "true":
                break
            time.sleep(pause)
        for line in stream.flush():
            self._show(line)

    def _told(self, build: Build) -> Mapping[str, Any] | None:
        """What the build's own error.json says, if it kept one."""
        path = f"{self._path}{build.number}/"
        kept = self._controller.get(path, tree="artifacts[relativePath]")["artifacts"]
        for name in (each["relativePath"] for each in kept):
            if name.rpartition("/")[2] == "error.json":
                try:
                    found = self._controller.ask("GET", f"{path}artifact/{name}").json()
                except ValueError:
                    return None
                return found if isinstance(found, dict) else None
        return None


def _parameters(about: Mapping[str, Any]) -> list[str]:
    properties = about.get("property", ())
    return [each["name"] for one in properties for each in one.get("parameterDefinitions", ())]


def _kinds(kind: type[PipelineError]) -> Iterator[type[PipelineError]]:
    for each in kind.__subclasses__():
        if each.__module__ == PipelineError.__module__:
            yield each
            yield from _kinds(each)
