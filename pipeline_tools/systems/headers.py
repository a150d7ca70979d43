"""Who we are, said to a server with headers."""

from __future__ import annotations

from collections.abc import Mapping

import requests
from requests.auth import AuthBase


class Headers(AuthBase):
    """Headers of a request. An `AuthBase`, so that a ~/.netrc of the machine does not replace them."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """The request with them."""
        request.headers.update(self._headers)
        return request
