"""The image's health check: one call of the model; exit code 0 when it answers as it should.

``python3 -m servicio.salud``
"""

from __future__ import annotations

import os
import sys
import urllib.request
from urllib.parse import quote

TEXT, LABEL = "bañera", "fontanería"


def main() -> int:
    """Ask the service on this machine; 0 when it is healthy, else 1."""
    url = f"http://127.0.0.1:{os.environ.get('PORT', '8080')}/api/v1/modelo?texto={quote(TEXT)}"
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            healthy = answer.read().decode() == LABEL
    except OSError:
        healthy = False
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main())
