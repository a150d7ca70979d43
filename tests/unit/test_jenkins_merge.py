"""One config.xml over another: laid once, it is laid for good, and what is not ours stays."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_tools.config.jenkins import Folder, Job, View
from pipeline_tools.errors import InfrastructureError
from pipeline_tools.jenkins import definitions, merge

TAGS = st.sampled_from(["properties", "triggers", "scm", "name", "x", "a", "string"])


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> ET.Element:
    element = ET.Element(draw(TAGS), draw(st.sampled_from([{}, {"class": "one"}, {"class": "two"}, {"plugin": "p@1"}])))
    children = draw(st.lists(trees(depth - 1), max_size=3)) if depth else []
    element.extend(children)
    if not children:
        element.text = draw(st.sampled_from([None, "", "one", "two"]))
    return element


@given(trees(), trees())
def test_laying_it_over_once_more_changes_nothing(wanted: ET.Element, there: ET.Element) -> None:
    there.tag = wanted.tag
    once = merge.overlay(wanted, there)
    assert merge.same(merge.overlay(wanted, once), once)
    assert not merge.missing(wanted, once)


def test_what_is_not_wanted_stays_but_not_in_a_list_of_ours() -> None:
    wanted = ET.fromstring("<x><name>new</name><triggers><a>1</a></triggers></x>")
    there = ET.fromstring(
        '<x plugin="p@2"><name>old</name><other>1</other><triggers><b/><a plugin="q@3">2</a></triggers></x>'
    )
    laid = ET.tostring(merge.overlay(wanted, there), encoding="unicode")
    assert laid == '<x plugin="p@2"><name>new</name><other>1</other><triggers><a plugin="q@3">1</a></triggers></x>'


def test_another_class_is_another_thing() -> None:
    wanted = ET.fromstring('<x><scm class="git"><url>1</url></scm></x>')
    there = ET.fromstring('<x><scm class="svn"><url>2</url><depth>3</depth></scm></x>')
    assert merge.same(merge.overlay(wanted, there), wanted)


def test_properties_that_were_ours_go() -> None:
    wanted = ET.fromstring("<x><properties/></x>")
    there = ET.fromstring("<x><properties><mine/><theirs/></properties></x>")
    laid = merge.overlay(wanted, there, drop=["mine"])
    assert [each.tag for each in laid[0]] == ["theirs"]


def test_sources_are_known_with_and_without_their_wrapper() -> None:
    wanted = definitions.job(Job(repository="https://h.example/a/b.git"), "x", "f/j")
    sources = wanted.find("sources")
    assert sources is not None
    bare = ET.fromstring('<sources><jenkins.branch.BranchSource plugin="branch-api@2"/><other/></sources>')
    laid = merge.overlay(sources, bare)
    assert not laid.attrib and [each.tag for each in laid] == ["jenkins.branch.BranchSource"]
    assert laid.findtext("*/source/remote") == "https://h.example/a/b.git"
    assert merge.same(merge.overlay(sources, laid), laid)
    wrapped = merge.settled(sources)
    assert merge.same(merge.overlay(sources, wrapped), wrapped)


def test_items_of_a_list_are_known_by_their_names() -> None:
    wanted = ET.fromstring("<triggers><p><name>b</name></p><p><name>a</name></p></triggers>")
    there = ET.fromstring("<triggers><p><name>a</name><k>1</k></p><p><name>b</name><k>2</k></p></triggers>")
    laid = merge.overlay(wanted, there)
    assert [(each.findtext("name"), each.findtext("k")) for each in laid] == [("b", "2"), ("a", "1")]


def test_xml_of_version_1_1_is_read_and_written() -> None:
    root = merge.read("<?xml version='1.1' encoding='UTF-8'?>\n<x>é</x>", "x")
    assert merge.write(root) == "<?xml version='1.1' encoding='UTF-8'?>\n<x>é</x>"


def test_a_config_that_cannot_be_read_is_told() -> None:
    with pytest.raises(InfrastructureError, match=r"config\.xml of a/b cannot be read"):
        merge.read("<?xml version='1.1' encoding='UTF-8'?>\n<x>&#x1b;</x>", "a/b")


def test_a_mark_says_whose_it_is_and_what_was_decided() -> None:
    job = Job(kind="pipeline", repository="https://h.example/a/b.git", description="Claims\nof today")
    described = definitions.job(job, "platform", "a/b").findtext("description") or ""
    assert described.startswith("Claims\nof today\n\n[")
    assert definitions.owner_of(described) == "platform"
    assert definitions.decided(described) == {"keep", "concurrent"}
    for other in (definitions.folder(Folder(), "one", "a"), definitions.view(View(), "two", "a")):
        assert definitions.owner_of(other.findtext("description") or "") in ("one", "two")
    assert definitions.owner_of("Seeded by pipeline-tools for all of us") is None


def test_the_id_of_a_source_does_not_change_with_its_repository() -> None:
    jobs = [Job(repository=f"https://h.example/{name}.git") for name in ("a/b", "c/d")]
    assert len({definitions.job(job, "x", "f/j").findtext(".//source/id") for job in jobs}) == 1
