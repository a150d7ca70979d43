"""The Jenkins controller, through python-jenkins."""

from __future__ import annotations

import jenkins

from pipeline_tools.errors import InfrastructureError

TIMEOUT = 10


def version(url: str) -> str:
    """The controller's version.

    Raises:
        InfrastructureError: nothing there answers as Jenkins does.
    """
    try:
        return str(jenkins.Jenkins(url, timeout=TIMEOUT).get_version())
    except (jenkins.JenkinsException, OSError) as error:
        raise InfrastructureError(
            f"Jenkins does not answer at {url}.", hint="Check jenkins.url.", details=str(error)
        ) from error
