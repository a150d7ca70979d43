"""What the service can be told by environment variables, checked when it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Settings:
    """``SERVICIO_MAX_CHARACTERS``: longest text; ``SERVICIO_MAX_BYTES``: largest body."""

    max_characters: int = 10_000
    max_bytes: int = 65_536

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the variables; raises ValueError with the variable's name when one is no positive whole number."""
        values = {}
        for field, default in (("max_characters", cls.max_characters), ("max_bytes", cls.max_bytes)):
            name = f"SERVICIO_{field.upper()}"
            text = environment.get(name, str(default))
            if not text.isdecimal() or int(text) == 0:
                raise ValueError(f"{name} must be a positive whole number, not {text!r}")
            values[field] = int(text)
        return cls(**values)
