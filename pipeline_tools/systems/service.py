"""A running service, asked from outside."""

from __future__ import annotations

from collections.abc import Mapping

import requests

from pipeline_tools.errors import InfrastructureError

# One answer, seconds.
TIMEOUT = 10.0


def headers(url: str) -> Mapping[str, str]:
    """Headers of the answer to GET, whatever its status; their names in lower case.

    Raises:
        InfrastructureError: it does not answer.
    """
    try:
        answer = requests.get(url, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise InfrastructureError(
            f"{url} does not answer.",
            hint="Is it the address of the service, as it is reached from here?",
            details=str(error),
        ) from error
    return {name.lower(): value for name, value in answer.headers.items()}
