"""What the tools say when they fail, and what it means: the class of the error, and what to do.

One table for all tools; the first line that matches counts. The messages are the tools' own, as they were printed:
`tests/unit/test_failures.py` has them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline_tools.errors import ConfigError, CredentialError, DeployError, InfrastructureError, PipelineError
from pipeline_tools.masking import mask


@dataclass(frozen=True, kw_only=True)
class Known:
    """A message, as a regular expression, of some tools (none named: of any), and what it means."""

    says: str
    error: type[PipelineError]
    hint: str
    tools: tuple[str, ...] = ()


class Lasting(InfrastructureError):
    """Something outside is not as it must be, and will not be when it is asked again."""

    transient = False


# Numbers are common words in an output: a status is one only where it is called so.
_REFUSED = r"(HTTP(/[\d.]+)?|status|code|error)\W{0,3}40[13]\b|\b40[13] (Unauthorized|Forbidden|Client Error)"
_AWAY = "The server does not answer: is it up, and is its address right? `pipeline-tools doctor` asks each."
_UNWELL = (
    r"\b50[0234] (Internal Server Error|Server Error|Bad Gateway|Service (Temporarily )?Unavailable|Gateway Time-?out)"
)

TABLE = (
    # ── what a build's own instructions print, whatever that is ──
    Known(
        tools=("docker",),
        says=r"dockerfile parse error|COPY failed|ADD failed|returned a non-zero code|Cannot locate .* Dockerfile",
        error=ConfigError,
        hint="The failing instruction is the last one in the output.",
    ),
    # ── who we are, and what we may ──
    Known(
        tools=("scanner",),
        says=rf"not authorized|unauthorized|{_REFUSED}|\]: 40[13]\b|insufficient privileges",
        error=CredentialError,
        hint="The token must be allowed to execute analyses on the project, and to create it.",
    ),
    Known(
        tools=("docker", "helm registry"),
        says=r"unauthorized|(?<!permission )denied:|access to the resource is denied|no basic auth|credential not found"
        rf"|authentication required|push access denied|insufficient_scope|unknown: forbidden|{_REFUSED}"
        r"|failed to authorize|unexpected status from .*: 40[13]\b",
        error=CredentialError,
        hint="Check artifactory.username and artifactory.password, and that the user may read and deploy there.",
    ),
    Known(
        tools=("git",),
        says=rf"Authentication failed|could not read Username|could not read Password|Permission denied|{_REFUSED}",
        error=CredentialError,
        hint="Give git a credential for this server: a credential helper, or a key that the server knows.",
    ),
    Known(
        tools=("git",),
        says=r"protected branch|hook declined|not allowed to push",
        error=CredentialError,
        hint="The server knows the user, who may not push there: allow it where the branch is protected.",
    ),
    Known(
        tools=("git",),
        says=r"Host key verification failed",
        error=CredentialError,
        hint="The server's key is not known here: git.known_hosts names a file that has it.",
    ),
    Known(
        tools=("docker",),
        says=r"permission denied while trying to connect to the Docker daemon",
        error=CredentialError,
        hint="Who runs this may not use Docker: be in the group `docker`.",
    ),
    Known(
        tools=("helm",),
        says=r"is forbidden: exceeded quota",
        error=Lasting,
        hint="The namespace's quota is used up: raise it, or request less in the chart's values.",
    ),
    Known(
        tools=("helm",),
        says=r"is forbidden|Unauthorized|asked for the client to provide credentials",
        error=CredentialError,
        hint="The user of kubernetes.kubeconfig needs the rights of a deployer in this namespace.",
    ),
    # ── what we asked for ──
    Known(
        tools=("docker",),
        says=r"manifest unknown|manifest for .* not found|pull access denied|repository does not exist",
        error=ConfigError,
        hint="There is no such image: correct the FROM line or its build argument.",
    ),
    Known(
        tools=("helm",),
        says=r"namespaces \".*\" not found",
        error=ConfigError,
        hint="The namespace must exist: make it, or set deploy.namespace.",
    ),
    Known(
        tools=("helm",),
        says=r"context \".*\" does not exist|stat .*: no such file|unable to load root certificates",
        error=ConfigError,
        hint="Correct kubernetes.kubeconfig and kubernetes.context.",
    ),
    Known(
        tools=("helm",),
        says=r"execution error at|executing \".*\" at <|values don't meet the specifications|error validating data"
        r"|unable to build kubernetes objects|is invalid:",
        error=ConfigError,
        hint="The chart and its values do not make valid objects: `helm template` shows them.",
    ),
    Known(
        tools=("git",),
        says=r"non-fast-forward|\[rejected\]|fetch first",
        error=ConfigError,
        hint="The branch on the server has commits that are not here: bring them in first.",
    ),
    Known(
        tools=("git",),
        says=r"does not match any|not a git repository|unknown revision|did not match any",
        error=ConfigError,
        hint="There is no such branch, tag or commit.",
    ),
    Known(
        tools=("git",),
        says=r"repository not found|repository '.*' not found|Remote branch .* not found",
        error=ConfigError,
        hint="The server has no such repository or branch, or does not show it to this user.",
    ),
    Known(
        tools=("git",),
        says=r"cannot run ssh",
        error=ConfigError,
        hint="ssh is not installed here: install it, or use an address that begins with https://.",
    ),
    Known(
        tools=("pip",),
        says=r"ResolutionImpossible|DO NOT MATCH THE HASHES|Invalid requirement",
        error=ConfigError,
        hint="pip's last lines name the requirements that are wrong or do not fit together.",
    ),
    Known(
        tools=("scanner",),
        says=r"OutOfMemory|exited with 137",
        error=ConfigError,
        hint="Raise scan.memory.",
    ),
    # ── what did not become what it should ──
    Known(
        tools=("helm",),
        says=r"timed out waiting for the condition|context deadline exceeded.*wait",
        error=DeployError,
        hint="The pods' events and last log lines say why they are not ready.",
    ),
    # ── the world ──
    Known(
        says=r"no space left on device|disk quota exceeded",
        error=Lasting,
        hint="The disk is full there: make room, `docker system prune` for instance.",
    ),
    Known(
        says=r"x509:|certificate verify failed|certificate signed by unknown|server gave HTTP response to HTTPS client",
        error=Lasting,
        hint="The server's certificate is not trusted here: install the company's CA.",
    ),
    Known(
        says=r"no such host|Could not resolve host|Name or service not known|UnknownHost|Temporary failure in name",
        error=InfrastructureError,
        hint="The server's name is not known here: is it spelled rightly, and does the network have a DNS server?",
    ),
    Known(
        tools=("scanner",),
        says=r"connect|timed? ?out|Failed to query|HTTP 5\d\d",
        error=InfrastructureError,
        hint="Can a pod of the cluster reach SonarQube? scan.server_url_in_pod is the address that it uses.",
    ),
    Known(
        tools=("helm",),
        says=r"another operation .* is in progress",
        error=InfrastructureError,
        hint="Someone else is deploying this release; a release that was cut off is put back by the next deployment.",
    ),
    Known(
        says=r"connection refused|Couldn't connect|Cannot connect|i/o timeout|connection timed out"
        r"|connection reset by peer|TLS handshake timeout|network is unreachable|too many requests"
        rf"|HTTP(/[\d.]+)?( error| status)?( code)?\W{{0,3}}(50[0234]|429)\b|{_UNWELL}",
        error=InfrastructureError,
        hint=_AWAY,
    ),
    Known(  # words that a program of the user's may have for anything: it would be run again for half an hour
        tools=("docker", "helm", "helm registry", "git", "pip", "scanner"),
        says=r"timed out|connection reset|\bEOF\b|unreachable|(status|code|error)\W{0,3}(50[0234]|429)\b",
        error=InfrastructureError,
        hint=_AWAY,
    ),
    Known(
        tools=("pip",),
        says=r"No matching distribution",
        error=ConfigError,
        hint="No index has this version. A package of your own must be published first.",
    ),
)


def known(tool: str, said: str) -> Known | None:
    """What the table has for what ``tool`` printed; None when it is nothing known."""
    for entry in TABLE:
        if (not entry.tools or tool in entry.tools) and re.search(entry.says, said, re.IGNORECASE):
            return entry
    return None


def explained(
    tool: str,
    said: str,
    message: str,
    *,
    otherwise: type[PipelineError] = InfrastructureError,
    hint: str = "",
) -> PipelineError:
    """The error for a tool that failed.

    Args:
        tool: ``docker``, ``helm``, ``helm registry``, ``git``, ``pip``, ``scanner``, or ``program``: the user's own.
        said: what it printed; becomes the details, masked.
        message: what did not work, in one sentence.
        otherwise, hint: when the table does not know it.
    """
    found = known(tool, said)
    if found is None:
        return otherwise(message, hint=hint, details=mask(said))
    return found.error(message, hint=found.hint, details=mask(said))


def of_status(code: int) -> type[PipelineError]:
    """The class of an HTTP status: 401, 403: about us; 408, 425, 429, 5xx: may pass; the rest: our request."""
    if code in (401, 403, 407):
        return CredentialError
    if code in (408, 425, 429) or code >= 500:
        return InfrastructureError
    return ConfigError
