"""What the platform file says of folders, jobs and views, as Jenkins' config.xml.

Only what the file decides is in it, and what Jenkins cannot do without: Jenkins adds its own defaults, and `merge.py`
leaves them as they are. The shapes are those that Jenkins itself writes; an element is named after a class, in which
XStream writes ``_`` as ``__`` and ``$`` as ``_-``.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from pipeline_tools.config.jenkins import SCANS, Folder, Job, Library, Parameter, View
from pipeline_tools.errors import ConfigError
from pipeline_tools.jenkins.merge import ABSENT
from pipeline_tools.systems.git import path_of

# The parameter of every pipeline job with which `jenkins trigger --commit` knows its builds again.
COMMIT = "COMMIT"
_MULTIBRANCH = "org.jenkinsci.plugins.workflow.multibranch.WorkflowMultiBranchProject"
_LIBRARY = "org.jenkinsci.plugins.workflow.libs"
_PROPERTY = "org.jenkinsci.plugins.workflow.job.properties"
# Properties of a folder or job that the file may decide, by the name that the mark in the description has for them.
PROPERTIES = {
    "library": f"{_LIBRARY}.FolderLibraries",
    "keep": "jenkins.model.BuildDiscarderProperty",
    "concurrent": f"{_PROPERTY}.DisableConcurrentBuildsJobProperty",
    "triggers": f"{_PROPERTY}.PipelineTriggersJobProperty",
    "parameters": "hudson.model.ParametersDefinitionProperty",
}
_MARK = re.compile(r"\n*\[Seeded by pipeline-tools for (\S+); it decides: ([a-z, ]+)\. Changes made here are lost\.\]$")


def owner_of(description: str) -> str | None:
    """For whom the thing with this description was seeded; None: it was not."""
    found = _MARK.search(description)
    return found[1] if found else None


def decided(description: str) -> set[str]:
    """The names in `PROPERTIES` that the last seeding decided."""
    found = _MARK.search(description)
    return set(found[2].split(", ")) & PROPERTIES.keys() if found else set()


def folder(about: Folder, owner: str, name: str) -> ET.Element:
    """The config.xml of a folder."""
    properties = [_libraries(about.library, name)] if about.library else []
    root = ET.Element("com.cloudbees.hudson.plugins.folder.Folder", plugin="cloudbees-folder")
    root.append(_leaf("description", _marked(about.description, owner, properties)))
    root.append(_tree("properties", *properties))
    return root


def job(about: Job, owner: str, name: str) -> ET.Element:
    """The config.xml of a job.

    Raises:
        ConfigError: its repository's address is not one of its host.
    """
    return _multibranch(about, owner, name) if about.kind == "multibranch" else _pipeline(about, owner)


def view(about: View, owner: str, name: str) -> ET.Element:
    """The config.xml of a view."""
    columns = ("Status", "Weather", "Job", "LastSuccess", "LastFailure", "LastDuration")
    names = sorted(about.jobs, key=str.lower)  # as the set in which Jenkins keeps them
    comparator = ET.Element("comparator", {"class": "java.lang.String$CaseInsensitiveComparator"})
    return _tree(
        "hudson.model.ListView",
        _leaf("name", name.rpartition("/")[2]),
        _leaf("description", _marked(about.description, owner, [])),
        _tree("jobNames", comparator, *(_leaf("string", each) for each in names)),
        _tree("jobFilters"),
        _tree("columns", *(ET.Element(f"hudson.views.{each}Column") for each in columns)),
        _leaf("recurse", about.recurse),
        _maybe("includeRegex", about.regex),
    )


def complete(root: ET.Element) -> None:
    """Give a pipeline job that has no parameters yet the one for its commit; a Jenkinsfile may set others later."""
    properties = root.find("properties")
    if root.tag == "flow-definition" and properties is not None and properties.find(PROPERTIES["parameters"]) is None:
        properties.append(_parameters({}))


def _multibranch(about: Job, owner: str, name: str) -> ET.Element:
    trigger = []
    if about.scan:
        milliseconds = SCANS[about.scan]
        spec = _leaf("spec", _crontab(milliseconds))
        element = "com.cloudbees.hudson.plugins.folder.computed.PeriodicFolderTrigger"
        trigger = [_tree(element, spec, _leaf("interval", milliseconds))]
    retention = _tree("jenkins.branch.BuildRetentionBranchProperty", _discarder("buildDiscarder", about.keep))
    branch = _tree("a", retention, kind="jenkins.branch.BranchProperty-array")
    branch = _tree("properties", branch, kind="java.util.Arrays$ArrayList")
    strategy = _tree("strategy", branch, kind="jenkins.branch.DefaultBranchPropertyStrategy")
    owned = {"class": _MULTIBRANCH, "reference": "../.."}
    orphans = _tree(
        "orphanedItemStrategy",
        _leaf("pruneDeadBranches", True),
        _leaf("daysToKeep", -1),
        _leaf("numToKeep", about.keep),
        kind="com.cloudbees.hudson.plugins.folder.computed.DefaultOrphanedItemStrategy",
    )
    sources = _tree(
        "sources",
        _tree("data", _tree("jenkins.branch.BranchSource", _source(about, name), strategy)),
        ET.Element("owner", owned),
        kind="jenkins.branch.MultiBranchProject$BranchSourceList",
    )
    factory = _tree(
        "factory",
        ET.Element("owner", owned),
        _leaf("scriptPath", about.jenkinsfile),
        kind="org.jenkinsci.plugins.workflow.multibranch.WorkflowBranchProjectFactory",
    )
    return _tree(
        _MULTIBRANCH,
        _leaf("description", _marked(about.description, owner, [])),
        _tree("properties"),
        orphans,
        _tree("triggers", *trigger),
        _leaf("disabled", about.disabled),
        sources,
        factory,
    )


def _pipeline(about: Job, owner: str) -> ET.Element:
    properties = [_tree(PROPERTIES["keep"], _discarder("strategy", about.keep))]
    if not about.concurrent:
        properties.append(_tree(PROPERTIES["concurrent"], _leaf("abortPrevious", False)))
    if triggers := list(_triggers(about)):
        properties.append(_tree(PROPERTIES["triggers"], _tree("triggers", *triggers)))
    if about.parameters:
        properties.append(_parameters(about.parameters))
    remote = [_leaf("url", about.repository or ""), _maybe("credentialsId", about.credentials)]
    scm = _tree(
        "scm",
        _leaf("configVersion", 2),
        _tree("userRemoteConfigs", _tree("hudson.plugins.git.UserRemoteConfig", *remote)),
        _tree("branches", _tree("hudson.plugins.git.BranchSpec", _leaf("name", f"refs/heads/{about.branch}"))),
        _tree("extensions"),
        kind="hudson.plugins.git.GitSCM",
    )
    definition = _tree(
        "definition",
        scm,
        _leaf("scriptPath", about.jenkinsfile),
        _leaf("lightweight", True),
        kind="org.jenkinsci.plugins.workflow.cps.CpsScmFlowDefinition",
    )
    return _tree(
        "flow-definition",
        _leaf("description", _marked(about.description, owner, properties)),
        _tree("properties", *properties),
        definition,
        _leaf("disabled", about.disabled),
    )


def _source(about: Job, name: str) -> ET.Element:
    """Where a multibranch job finds its branches. The id must never change: Jenkins would build every branch anew."""
    common = [_leaf("id", f"pipeline-tools-{name.replace('/', '-')}"), _maybe("credentialsId", about.credentials)]
    filters = []
    if about.branches != ["*"]:
        filters = [
            _tree(
                "jenkins.scm.impl.trait.WildcardSCMHeadFilterTrait",
                _leaf("includes", " ".join(about.branches)),
                _leaf("excludes", ""),
            )
        ]
    address = about.repository or ""
    if about.host == "git":
        traits = [ET.Element("jenkins.plugins.git.traits.BranchDiscoveryTrait"), *filters]
        parts = [*common, _leaf("remote", address), _tree("traits", *traits)]
        return _tree("source", *parts, kind="jenkins.plugins.git.GitSCMSource")
    project = path_of(address)
    group, _, repository = project.rpartition("/")
    if not group or not repository:
        raise ConfigError(f"jobs.{name}: {address} is not OWNER/REPOSITORY on {about.host}.")
    requests = "MergeRequest" if about.host == "gitlab" else "PullRequest"
    if about.host == "github":
        prefix = "org.jenkinsci.plugins.github__branch__source"
        kind = "org.jenkinsci.plugins.github_branch_source.GitHubSCMSource"
        own = [_leaf("repoOwner", group), _leaf("repository", repository), _leaf("repositoryUrl", address)]
        own += [_leaf("apiUri", about.api or "https://api.github.com")]
    elif about.host == "bitbucket":
        prefix = "com.cloudbees.jenkins.plugins.bitbucket"
        kind = f"{prefix}.BitbucketSCMSource"
        host = urlsplit(address)
        own = [
            _leaf("serverUrl", about.api or f"https://{host.hostname or 'bitbucket.org'}"),
            _leaf("repoOwner", group),
            _leaf("repository", repository),
        ]
    else:
        prefix = "io.jenkins.plugins.gitlabbranchsource"
        kind = f"{prefix}.GitLabSCMSource"
        own = [_leaf("serverName", about.server), _leaf("projectOwner", group), _leaf("projectPath", project)]
    # 1: branches that are no pull request as well; 1 of a request: merged with its target
    traits = [_tree(f"{prefix}.BranchDiscoveryTrait", _leaf("strategyId", 1))]
    if about.pull_requests:
        traits.append(_tree(f"{prefix}.Origin{requests}DiscoveryTrait", _leaf("strategyId", 1)))
    return _tree("source", *common, *own, _tree("traits", *traits, *filters), kind=kind)


def _triggers(about: Job) -> Iterable[ET.Element]:
    if about.triggers.cron:
        yield _tree("hudson.triggers.TimerTrigger", _leaf("spec", about.triggers.cron))
    if about.triggers.poll:
        yield _tree("hudson.triggers.SCMTrigger", _leaf("spec", about.triggers.poll))
    if about.triggers.after:
        passed: Mapping[str, str | int] = {"name": "SUCCESS", "ordinal": 0, "color": "BLUE", "completeBuild": True}
        yield _tree(
            "jenkins.triggers.ReverseBuildTrigger",
            _leaf("spec", ""),
            _leaf("upstreamProjects", ", ".join(f"/{name}" for name in about.triggers.after)),
            _tree("threshold", *(_leaf(key, value) for key, value in passed.items())),
        )


def _parameters(about: Mapping[str, Parameter]) -> ET.Element:
    commit = Parameter(description="The commit that was asked for: `pipeline-tools jenkins trigger` fills it in.")
    parameters = [_parameter(*each) for each in {**about, COMMIT: commit}.items()]
    return _tree(PROPERTIES["parameters"], _tree("parameterDefinitions", *parameters))


def _parameter(name: str, about: Parameter) -> ET.Element:
    common = [_leaf("name", name), _leaf("description", about.description)]
    if about.type == "choice":
        # Jenkins' own form of a default is the first place
        first = [str(about.default)] if about.default else []
        choices = dict.fromkeys([*first, *about.choices])
        items = _tree("a", *(_leaf("string", each) for each in choices), kind="string-array")
        listed = _tree("choices", items, kind="java.util.Arrays$ArrayList")
        return _tree("hudson.model.ChoiceParameterDefinition", *common, listed)
    if about.type == "boolean":
        return _tree("hudson.model.BooleanParameterDefinition", *common, _leaf("defaultValue", bool(about.default)))
    default = _leaf("defaultValue", str(about.default))
    return _tree("hudson.model.StringParameterDefinition", *common, default, _leaf("trim", True))


def _libraries(about: Library, name: str) -> ET.Element:
    source = [
        _leaf("id", f"pipeline-tools-library-{name.replace('/', '-')}"),
        _leaf("remote", about.repository or ""),
        _maybe("credentialsId", about.credentials),
    ]
    traits = (ET.Element(f"jenkins.plugins.git.traits.{each}DiscoveryTrait") for each in ("Branch", "Tag"))
    scm = _tree("scm", *source, _tree("traits", *traits), kind="jenkins.plugins.git.GitSCMSource")
    library = _tree(
        f"{_LIBRARY}.LibraryConfiguration",
        _leaf("name", about.name),
        _tree("retriever", scm, kind=f"{_LIBRARY}.SCMSourceRetriever"),
        _leaf("defaultVersion", about.version),
        _leaf("implicit", False),
        _leaf("allowVersionOverride", True),
        _leaf("includeInChangesets", False),
    )
    return _tree(PROPERTIES["library"], _tree("libraries", library))


def _discarder(name: str, keep: int) -> ET.Element:
    limits: Mapping[str, int] = {"daysToKeep": -1, "numToKeep": keep, "artifactDaysToKeep": -1, "artifactNumToKeep": -1}
    return _tree(name, *(_leaf(key, value) for key, value in limits.items()), kind="hudson.tasks.LogRotator")


def _crontab(milliseconds: int) -> str:
    """How often Jenkins looks whether an interval is over: as its PeriodicFolderTrigger has it."""
    steps = ((5, "* * * * *"), (30, "H/5 * * * *"), (60, "H/15 * * * *"), (480, "H/30 * * * *"), (1440, "H H/4 * * *"))
    minutes = milliseconds // 60_000
    return next((spec for limit, spec in steps if minutes <= limit), "H H/12 * * *" if minutes <= 2880 else "H H * * *")


def _marked(description: str, owner: str, properties: Iterable[ET.Element]) -> str:
    tags = {element.tag for element in properties}
    names = ", ".join(name for name, tag in PROPERTIES.items() if tag in tags) or "all of it"
    mark = f"[Seeded by pipeline-tools for {owner}; it decides: {names}. Changes made here are lost.]"
    return f"{description}\n\n{mark}" if description else mark


def _tree(name: str, *children: ET.Element, kind: str | None = None) -> ET.Element:
    element = ET.Element(name, {"class": kind} if kind else {})
    element.extend(children)
    return element


def _leaf(name: str, value: str | int) -> ET.Element:
    element = ET.Element(name)
    element.text = str(value).lower() if isinstance(value, bool) else str(value)
    return element


def _maybe(name: str, value: str | None) -> ET.Element:
    """An element that is there only if the file says it."""
    return _leaf(name, value) if value else ET.Element(name, {ABSENT: "true"})
