"""One config.xml laid over another, so that seeding twice changes nothing and nothing of others is lost.

Jenkins never gives back what it was given: it adds defaults, versions of plugins and what people set elsewhere (the
credentials and views of a folder are in its config.xml). So what is wanted is laid over what is there. Where the result
is what is there, nothing is to do; and laying it over once more changes nothing, whatever Jenkins has added by then.
"""

from __future__ import annotations

import copy
import difflib
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from pipeline_tools.errors import InfrastructureError

# Lists that are ours as a whole: what is in them and not wanted goes. All else that is not wanted stays.
WHOLE = frozenset(
    {
        "a",
        "branches",
        "columns",
        "data",
        "extensions",
        "jobFilters",
        "jobNames",
        "libraries",
        "parameterDefinitions",
        "traits",
        "triggers",
        "userRemoteConfigs",
    }
)
# What tells items of the same kind apart.
KEYS = ("name", "id", "url")
# An attribute of a wanted element that must not be there: what the file no longer says.
ABSENT = "absent"
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
# How Jenkins writes an encrypted secret.
_SECRET = re.compile(r"\{AQAA[A-Za-z0-9+/=]+\}")


def read(xml: str, name: str) -> ET.Element:
    """The tree of a config.xml that Jenkins gave. It writes XML 1.1, which no Python parser takes by that name.

    Raises:
        InfrastructureError: it is not XML.
    """
    try:
        return ET.fromstring(_DECLARATION.sub("", xml))  # noqa: S314 — from the controller that we administer
    except ET.ParseError as error:
        raise InfrastructureError(f"Jenkins' config.xml of {name} cannot be read: {error}.") from error


def write(root: ET.Element) -> str:
    """A config.xml as Jenkins takes it."""
    return "<?xml version='1.1' encoding='UTF-8'?>\n" + ET.tostring(root, encoding="unicode")


def overlay(wanted: ET.Element, there: ET.Element, *, drop: Sequence[str] = ()) -> ET.Element:
    """``there`` with all of ``wanted``.

    Args:
        drop: elements of ``properties`` that go unless they are wanted.
    """
    if wanted.tag == "comparator":  # its class has another name in each version
        return copy.deepcopy(there)
    whole = wanted.tag in WHOLE
    if wanted.tag == "sources" and "class" not in there.attrib:  # the list of branch-api, without its wrapper
        whole, bare = True, ET.Element("sources")
        bare.extend(wanted.iterfind("data/*"))
        wanted = bare
    if "class" in wanted.attrib and there.get("class") != wanted.get("class"):
        return settled(wanted)  # something of another kind: what it had means nothing now
    result = ET.Element(there.tag, {**there.attrib, **wanted.attrib, **_plugin(there)})
    if not len(wanted):
        result.text = wanted.text
    rest = list(there)
    pairs: list[tuple[ET.Element, ET.Element | None]] = []
    for child in wanted:
        found = _like(child, rest)
        if found is not None:
            rest.remove(found)
        pairs.append((child, found))
    gone = {id(found) for child, found in pairs if ABSENT in child.attrib}
    pairs = [(child, found) for child, found in pairs if ABSENT not in child.attrib]
    if whole:
        result.extend(_laid(child, found) for child, found in pairs)
        return result
    places = {id(found): child for child, found in pairs if found is not None}
    for child in there:
        if id(child) in gone:
            continue
        if id(child) in places:
            result.append(overlay(places[id(child)], child, drop=drop if child.tag == "properties" else ()))
        elif wanted.tag != "properties" or child.tag not in drop:
            result.append(copy.deepcopy(child))
    result.extend(settled(child) for child, found in pairs if found is None)
    return result


def settled(wanted: ET.Element) -> ET.Element:
    """``wanted`` where nothing is yet: a copy without what must not be there."""
    copied = copy.deepcopy(wanted)
    for element in list(copied.iter()):
        for child in [child for child in element if ABSENT in child.attrib]:
            element.remove(child)
    return copied


def same(one: ET.Element, other: ET.Element) -> bool:
    """Whether two trees say the same; white space between elements says nothing."""
    return _lines(one, 0) == _lines(other, 0)


def difference(there: ET.Element | None, wanted: ET.Element, name: str) -> list[str]:
    """The lines of a unified diff from what is there to what is wanted; encrypted secrets are not shown."""
    before = [] if there is None else _lines(there, 0)
    lines = list(
        difflib.unified_diff(before, _lines(wanted, 0), f"{name} (Jenkins)", f"{name} (file)", n=2, lineterm="")
    )
    return [_SECRET.sub("{****}", line) for line in lines]


def missing(wanted: ET.Element, there: ET.Element) -> list[str]:
    """The elements of ``wanted`` that are not in ``there``: what Jenkins did not keep."""
    lines = difference(there, overlay(wanted, there), "")
    return [line[1:].strip() for line in lines[2:] if line.startswith("+")]


def _plugin(there: ET.Element) -> dict[str, str]:
    return {"plugin": there.attrib["plugin"]} if "plugin" in there.attrib else {}


def _laid(child: ET.Element, found: ET.Element | None) -> ET.Element:
    return settled(child) if found is None else overlay(child, found)


def _like(wanted: ET.Element, among: Sequence[ET.Element]) -> ET.Element | None:
    """The element that ``wanted`` is to be laid over: of the same name and, if it has one, with the same key."""
    alike = [each for each in among if each.tag == wanted.tag]
    if wanted.tag == "string":
        return next((each for each in alike if each.text == wanted.text), None)
    key = next((key for key in KEYS if wanted.find(key) is not None), None)
    if key is not None:
        alike.sort(key=lambda each: each.findtext(key) != wanted.findtext(key))
    return alike[0] if alike else None


def _lines(element: ET.Element, depth: int) -> list[str]:
    attributes = "".join(f" {name}={value!r}" for name, value in sorted(element.attrib.items()))
    start = f"{'  ' * depth}<{element.tag}{attributes}>"
    if not len(element):
        text = (element.text or "").strip()
        return [f"{start}{line}" if not at else line for at, line in enumerate(text.split("\n"))]
    return [start, *(line for child in element for line in _lines(child, depth + 1))]
