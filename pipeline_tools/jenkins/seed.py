"""Folders, jobs and views in Jenkins as the platform file says: made, changed, and taken away only when asked to.

What was seeded carries a mark in its description, with the name of its owner. Nothing without our mark is touched.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline_tools.config.jenkins import Job, Jobs, Library
from pipeline_tools.errors import ConfigError
from pipeline_tools.jenkins import definitions, merge
from pipeline_tools.names import nearest
from pipeline_tools.systems.jenkins import FOLDER, Controller, Item, split

What = Literal["folder", "job", "view"]
# Tells where a key of the section `jenkins` was set.
Place = Callable[..., str]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing that is not as the file says: what is to be done, and the lines that show it."""

    action: Literal["create", "update", "remove", "left"]
    what: What
    name: str
    wanted: ET.Element | None = None
    result: ET.Element | None = None
    lines: Sequence[str] = ()

    def __str__(self) -> str:
        note = " (no longer in the file; --prune removes it)" if self.action == "left" else ""
        return f"{self.action:<6}  {self.what:<6}  {self.name}{note}"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What differs, in the order in which it is put right, and how many things are as they should be."""

    changes: Sequence[Change]
    same: int


def compare(controller: Controller, settings: Jobs, place: Place, *, prune: bool) -> Report:
    """Look at the controller; nothing is changed there.

    Raises:
        ConfigError: the file says what cannot be: a job without repository or folder, a credential that Jenkins lacks,
            a name that something in Jenkins has that we did not make; with file and line.
    """
    _check_file(settings, place)
    items = {item.name: item for item in controller.items()}
    _check_folders(settings, items, place)
    _check_credentials(controller, settings, items, place)
    changes: list[Change] = []
    same = 0
    for what, name, wanted in _wanted(settings):
        change = _compare(controller, what, name, wanted, settings.owner, place)
        changes += [change] if change else []
        same += change is None
    gone = list(_gone(controller, settings, items, prune=prune))
    return Report(changes=[*changes, *gone], same=same)


def apply(controller: Controller, change: Change) -> None:
    """Put one thing right.

    Raises:
        ConfigError: Jenkins did not keep what it was given: a plugin is missing, or too old.
    """
    kind: Literal["job", "view"] = "view" if change.what == "view" else "job"
    if change.action == "left":
        return
    if change.action == "remove":
        controller.delete(kind, change.name)
        return
    assert change.wanted is not None and change.result is not None
    if change.action == "create":
        controller.create(kind, change.name, merge.write(change.result))
    else:
        controller.update(kind, change.name, merge.write(change.result))
    kept = controller.config(kind, change.name)
    lost = merge.missing(change.wanted, merge.read(kept or "<nothing/>", change.name))
    if lost:
        raise ConfigError(
            f"Jenkins did not keep all of the {change.what} {change.name}.",
            hint="The elements are named after plugins' classes: is a plugin missing, or too old for this?",
            details="\n".join(lost[:10]),
        )


def _wanted(settings: Jobs) -> Iterator[tuple[What, str, ET.Element]]:
    for name, about in sorted(settings.folders.items()):  # a folder before what is in it
        yield "folder", name, definitions.folder(about, settings.owner, name)
    for name, job in settings.jobs.items():
        yield "job", name, definitions.job(job, settings.owner, name)
    for name, view in settings.views.items():
        yield "view", name, definitions.view(view, settings.owner, name)


def _compare(
    controller: Controller, what: What, name: str, wanted: ET.Element, owner: str, place: Place
) -> Change | None:
    text = controller.config("view" if what == "view" else "job", name)
    if text is None:
        wanted = merge.settled(wanted)
        definitions.complete(wanted)
        lines = merge.difference(None, wanted, name)
        return Change(action="create", what=what, name=name, wanted=wanted, result=wanted, lines=lines)
    there = merge.read(text, name)
    description = there.findtext("description") or ""
    if (whose := definitions.owner_of(description)) != owner:
        by = f"was seeded for {whose}, not for {owner}" if whose else "was not made by pipeline-tools"
        raise ConfigError(
            f"{place(f'{what}s', name)}: the {what} {name} is in Jenkins already and {by}. Nothing was changed.",
            hint="Give it another name in the file, or remove the one in Jenkins.",
            link=f"{controller.url}/",
        )
    if there.tag != wanted.tag:
        raise ConfigError(
            f"{place(f'{what}s', name)}: the {what} {name} is of another kind in Jenkins ({there.tag}).",
            hint="Jenkins cannot turn one into the other: remove it there first, with its builds.",
        )
    drop = [definitions.PROPERTIES[each] for each in definitions.decided(description)]
    result = merge.overlay(wanted, there, drop=drop)
    definitions.complete(result)
    if merge.same(result, there):
        return None
    lines = merge.difference(there, result, name)
    return Change(action="update", what=what, name=name, wanted=wanted, result=result, lines=lines)


def _gone(controller: Controller, settings: Jobs, items: Mapping[str, Item], *, prune: bool) -> Iterator[Change]:
    """What was seeded for this owner and is not in the file any more; what is in a folder comes before it."""
    action: Literal["remove", "left"] = "remove" if prune else "left"
    for folder in ("", *(item.name for item in items.values() if item.kind == FOLDER)):
        for view in controller.views(folder):
            if definitions.owner_of(view.description) == settings.owner and view.name not in settings.views:
                yield Change(action=action, what="view", name=view.name)
    wanted = settings.folders.keys() | settings.jobs.keys()
    ours = {
        item.name
        for item in items.values()
        if definitions.owner_of(item.description) == settings.owner and item.name not in wanted
    }
    for name in sorted(ours, reverse=True):
        what: What = "folder" if items[name].kind == FOLDER else "job"
        # with a folder goes what is in it: then all of that must be ours and be gone from the file
        whole = all(other in ours for other in items if other.startswith(f"{name}/"))
        yield Change(action=action if whole else "left", what=what, name=name)


def _check_file(settings: Jobs, place: Place) -> None:
    for name, job in settings.jobs.items():
        if not job.repository:
            raise ConfigError(f"{place('jobs', name)}: jobs.{name}: repository is missing.")
        if name in settings.folders:
            raise ConfigError(f"{place('jobs', name)}: {name} is a folder as well ({place('folders', name)}).")
        for after in job.triggers.after:
            if after not in settings.jobs:
                hint = "It may be a job that is only in Jenkins: start this one from there."
                raise ConfigError(
                    f"{place('jobs', name, 'triggers', 'after')}: there is no job {after!r} in the file."
                    + nearest(after, settings.jobs),
                    hint=hint,
                )
    for name, folder in settings.folders.items():
        if folder.library and not folder.library.repository:
            raise ConfigError(f"{place('folders', name, 'library')}: folders.{name}.library: repository is missing.")


def _check_folders(settings: Jobs, items: Mapping[str, Item], place: Place) -> None:
    there = {item.name for item in items.values() if item.kind == FOLDER} | settings.folders.keys()
    for section, names in (("folders", settings.folders), ("jobs", settings.jobs), ("views", settings.views)):
        for name in names:
            folder, _ = split(name)
            if folder and folder not in there:
                raise ConfigError(
                    f"{place(section, name)}: there is no folder {folder!r} for {name}.{nearest(folder, there)}",
                    hint=f"Add it to jenkins.folders: `folders: {{{folder}: {{}}}}`.",
                )


def _check_credentials(controller: Controller, settings: Jobs, items: Mapping[str, Item], place: Place) -> None:
    """Look whether every credential that is named is in a store that the one who names it can see."""
    uses: list[tuple[str, str, str]] = [
        ("", each, place("required_credentials")) for each in settings.required_credentials
    ]
    users: list[tuple[str, str, Job | Library]] = [("jobs", name, job) for name, job in settings.jobs.items()]
    users += [("folders", name, about.library) for name, about in settings.folders.items() if about.library]
    for section, name, user in users:
        if user.credentials:
            inner = ("credentials",) if section == "jobs" else ("library", "credentials")
            uses.append(
                (name if section == "folders" else split(name)[0], user.credentials, place(section, name, *inner))
            )
    stores: dict[str, set[str]] = {}
    for folder, wanted, where in uses:
        parts = [part for part in folder.split("/") if part]
        seen = ["", *("/".join(parts[:end]) for end in range(1, len(parts) + 1))]
        for each in seen:
            if each not in stores:
                # a folder that is still to be made has no credentials of its own
                stores[each] = controller.credentials(each) if not each or each in items else set()
        visible = set().union(*(stores[each] for each in seen))
        if wanted not in visible:
            where_else = f" or in the folder {folder}" if folder else ""
            raise ConfigError(
                f"{where}: Jenkins has no credential {wanted!r}{where_else}.{nearest(wanted, visible)}",
                hint="Make it in Jenkins, under Manage Jenkins > Credentials, with this id: values never come by us.",
                link=f"{controller.url}/manage/credentials/",
            )
