"""Secrets never reach a log, an event, a report or an error: they are registered when read and masked everywhere.

A secret is masked in the forms in which tools print it: as it is, URL-encoded, JSON-escaped and in base64 (alone, as
the `user:password` of basic authentication, or anywhere inside a longer text: each of the three alignments).
"""

from __future__ import annotations

import base64
import json
import re
import threading
from urllib.parse import quote, quote_plus

MASK = "****"
# Shorter values would mask ordinary words and give the secret away by the gaps.
MINIMUM_LENGTH = 4


def _base64_forms(secret: str) -> set[str]:
    """The part of the base64 text that is the same whatever stands before and after the secret."""
    raw = secret.encode()
    forms = set()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        start = (0, 2, 3)[before]
        # the last character shares bits with whatever follows, unless the secret ends on a group of three bytes
        end = len(encoded) - (1 if (len(raw) + before) % 3 else 0)
        forms.add(encoded[start:end])
    return forms | {form.replace("+", "-").replace("/", "_") for form in forms}


class Masker:
    """A set of secrets and the expression that finds them; safe to use from several threads."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()

    def register(self, secret: str) -> None:
        """Mask ``secret`` from now on. A secret of several lines (a key file) is masked line by line as well."""
        with self._lock:
            for part in {secret, secret.strip(), *secret.splitlines()}:
                if len(part) < MINIMUM_LENGTH:
                    continue
                self._forms |= {part, quote(part, safe=""), quote_plus(part), json.dumps(part)[1:-1]}
                self._forms |= {form for form in _base64_forms(part) if len(form) >= MINIMUM_LENGTH}
            if self._forms:
                # longest first: a secret that contains another one is masked whole
                ordered = sorted(self._forms, key=len, reverse=True)
                self._pattern = re.compile("|".join(map(re.escape, ordered)))

    def mask(self, text: str) -> str:
        """``text`` with every registered secret replaced."""
        return self._pattern.sub(MASK, text) if self._pattern else text


_MASKER = Masker()
register = _MASKER.register
mask = _MASKER.mask
