"""The classes of error, each with an exit code of its own.

A caller (Jenkins, a script) decides by the exit code; a person reads the message and the hint. Anything that is not a
`PipelineError` is a defect of ours and exits with 1.
"""

from __future__ import annotations

from typing import ClassVar

EXIT_DEFECT = 1


class PipelineError(Exception):
    """An error that a user can act on.

    ``transient`` tells whether the same may succeed when it is tried again.

    Args:
        message: what happened, in one sentence.
        hint: what to do next.
        link: where to look (a SonarQube page, a build).
        details: what the failing tool said; several lines are fine.
    """

    exit_code: ClassVar[int] = EXIT_DEFECT
    kind: ClassVar[str] = "defect"
    transient: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "", link: str = "", details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.link = link
        self.details = details


class ConfigError(PipelineError):
    """The configuration or the command line is wrong: nothing was done."""

    exit_code = 2
    kind = "configuration"


class QualityError(PipelineError):
    """The product is not good enough: a test, the quality gate or a golden prediction failed."""

    exit_code = 3
    kind = "quality"


class InfrastructureError(PipelineError):
    """Something outside did not work (network, server, tool). The only class that is worth a retry.

    A subclass for what another try cannot change sets ``transient`` to False.
    """

    exit_code = 4
    kind = "infrastructure"
    transient = True


class CredentialError(PipelineError):
    """A credential is missing or refused, or a permission is lacking."""

    exit_code = 5
    kind = "credentials"


class DeployError(PipelineError):
    """A release did not become what it should be; the message says what runs now."""

    exit_code = 6
    kind = "deployment"


class Interrupted(PipelineError):
    """Ctrl-C or SIGTERM."""

    exit_code = 130
    kind = "interrupted"
