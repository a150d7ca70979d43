from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def eventually(condition: Callable[[], Any], seconds: float = 60, pause: float = 0.02) -> None:
    """Wait until ``condition`` holds, looking every ``pause`` seconds; fail after so many ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(pause)
