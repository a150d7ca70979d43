"""From the words of a command to the thing that is meant, and all that belongs to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from packaging.utils import canonicalize_name

from pipeline_tools.errors import ConfigError
from pipeline_tools.lineage.graph import Graph
from pipeline_tools.lineage.resolve import Place, Resolver, World
from pipeline_tools.lineage.words import CODE, DATA
from pipeline_tools.names import nearest
from pipeline_tools.systems.commits import COMMIT
from pipeline_tools.systems.kubernetes import Pod


def answer(world: World, headers: Mapping[str, str], where: str) -> tuple[Graph, str]:
    """From an answer of the service to what it was made from."""
    resolver = Resolver(world)
    start = resolver.request(headers, where)
    return resolver.graph.around(start), start


def trace(world: World, kind: str, name: str | None) -> tuple[Graph, str]:
    """The graph around a thing, and its key.

    Args:
        kind: pod, release, image, model or commit.
        name: a pod or release (ENVIRONMENT/NAME, or NAME where one environment has it), an image's digest, tag or
            reference, a model (NAME==VERSION), a commit's id or the beginning of it; None: the project's own release,
            or the first of its pods, in the only environment.

    Raises:
        ConfigError: there is no such thing; with the nearest one that there is.
    """
    resolver = Resolver(world)
    start = _STARTS[kind](resolver, name)
    return resolver.graph.around(start), start


def _places(world: World, name: str | None) -> tuple[Sequence[Place], str | None]:
    """The environments that a name may mean, and the name without one."""
    places = world.places()
    environment, slash, rest = (name or "").partition("/")
    if slash:
        found = [place for place in places if environment in (place.environment, place.namespace)]
        if not found:
            names = [place.environment for place in places]
            raise ConfigError(
                f"There is no environment {environment!r}.{nearest(environment, names)}",
                hint=f"The configuration has: {', '.join(names) or 'none'}.",
            )
        return found, rest
    if name is None and len(places) != 1:
        raise ConfigError(
            "Several environments have it, or none.",
            hint=f"Name one with --environment: {', '.join(place.environment for place in places)}.",
        )
    return places, name


def _one(kind: str, name: str, found: Mapping[Place, Iterable[str]]) -> Place:
    """The only place that has the name."""
    having = [place for place, names in found.items() if name in names]
    if len(having) == 1:
        return having[0]
    if having:
        raise ConfigError(
            f"Several environments have a {kind} {name}.",
            hint=f"Name one: {', '.join(f'{place.environment}/{name}' for place in having)}.",
        )
    every = [each for names in found.values() for each in names]
    raise ConfigError(
        f"There is no {kind} {name!r} in {', '.join(place.environment for place in found)}.{nearest(name, every)}",
        hint=f"There {'are' if every else 'is'}: {', '.join(sorted(every)[:20]) or 'nothing'}.",
    )


def _pod(resolver: Resolver, name: str | None) -> str:
    world = resolver.world
    places, wanted = _places(world, name)
    pods = {place: {pod.name: pod for pod in world.pods(place)} for place in places}
    if wanted is None:
        (place,) = places
        own = [pod for pod in pods[place].values() if _is_own(world, place, pod)]
        if not own:
            raise ConfigError(f"{world.release_name} has no pod in {place.environment}.", hint="Deploy it first.")
        return resolver.pod(place, sorted(own, key=lambda pod: (not pod.ready, pod.name))[0])
    place = _one("pod", wanted, pods)
    return resolver.pod(place, pods[place][wanted])


def _is_own(world: World, place: Place, pod: Pod) -> bool:
    release, _ = world.release_of(place, pod)
    return release == (place.namespace, world.release_name)


def _release(resolver: Resolver, name: str | None) -> str:
    world = resolver.world
    places, wanted = _places(world, name)
    wanted = wanted or world.release_name
    place = _one("release", wanted, {place: world.releases(place) for place in places})
    with resolver.asking(""):
        for pod in world.pods(place):
            if world.release_of(place, pod)[0] == (place.namespace, wanted):
                resolver.pod(place, pod)
    return resolver.release(place, wanted)


def _image(resolver: Resolver, name: str | None) -> str:
    """``DIGEST``, ``TAG``, or ``HOST/REPOSITORY/NAME`` with ``@DIGEST`` or ``:TAG``."""
    world = resolver.world
    name = _named(name, "sha256:…, a tag, or HOST/REPOSITORY/NAME@sha256:…")
    repository, _, digest = name.partition("@")
    if not digest:
        head, colon, tag = name.rpartition(":")
        repository, digest = (head, tag) if colon and "/" not in tag and head != "sha256" else ("", name)
    repository = repository or f"{world.images}/{world.project}"
    found = world.image(repository, digest)
    if found is None:
        tags = world.tags(repository)
        raise ConfigError(
            f"There is no image {digest!r} in {repository}.{nearest(digest, tags)}",
            hint=f"Its tags: {', '.join(sorted(tags)[-20:]) or 'none'}.",
        )
    start = resolver.image(repository, found.digest, {}, "")
    resolver.running()
    return start


def _model(resolver: Resolver, name: str | None) -> str:
    world = resolver.world
    name = _named(name, "NAME==VERSION")
    package, _, version = name.partition("==")
    package = canonicalize_name(package)
    versions = world.versions(package)
    if not versions:
        packages = world.packages()
        raise ConfigError(
            f"There is no package {package!r} in {world.wheelhouse}.{nearest(package, packages)}",
            hint=f"It has: {', '.join(packages) or 'none'}.",
        )
    if version not in versions:
        which = f"There is no version {version!r} of {package}." if version else f"Which version of {package}?"
        raise ConfigError(which + nearest(version, versions), hint=f"Published: {', '.join(versions)}.")
    start = resolver.model(package, version)
    resolver.running()
    return start


def _commit(resolver: Resolver, name: str | None) -> str:
    """A commit of data, of a model's code or of a service's: what came of it."""
    world, graph = resolver.world, resolver.graph
    name = _named(name, "a commit's id, or the beginning of it").lower()
    if not re.fullmatch(COMMIT, name):
        raise ConfigError(f"{name!r} is no commit's id.", hint="Write at least its first four digits (0-9, a-f).")
    for revision, *_ in (DATA, CODE):
        for wheel in world.wheels_with({revision: f"{name}*"}):
            _, package, version, _ = wheel.target.split("/", 3)
            resolver.model(package, version, wheel.sha256)
    resolver.running()
    found = [node.id for node in graph.nodes.values() if node.kind == "commit" and node.id.startswith(name)]
    if not found and (own := world.commit(name, "")) is not None:
        return resolver.commit(own.id, "")
    if len(found) != 1:
        known = [node.id for node in graph.nodes.values() if node.kind == "commit"]
        for revision, *_ in (DATA, CODE):
            known += [wheel.value(revision) for wheel in world.wheels_with({revision: ""})]
        several = f" Several begin so: {', '.join(found)}." if found else nearest(name, known)
        raise ConfigError(
            f"Nothing that runs or is published came from a commit {name!r}.{several}",
            hint=f"Known: {', '.join(sorted({each[:12] for each in known})) or 'none'}.",
        )
    return f"commit {found[0]}"


def _named(name: str | None, form: str) -> str:
    if not name:
        raise ConfigError("It must be named.", hint=f"Write {form}.")
    return name


_STARTS: dict[str, Callable[[Resolver, str | None], str]] = {
    "pod": _pod,
    "release": _release,
    "image": _image,
    "model": _model,
    "commit": _commit,
}
STARTS = ("request", *_STARTS)
