"""The real model with faults: texts that begin with `@` go wrong in the way that they name.

It takes the place of the wheel when its folder is first on PYTHONPATH.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
FOREVER = 3600
LEAKED = 300

if os.environ.get("AVERIADO") == "import":
    raise ImportError("this wheel was built for something else")
_spec = PathFinder.find_spec(__name__, [folder for folder in sys.path if Path(folder).resolve() != HERE])
assert _spec is not None and _spec.loader is not None
_real: Any = importlib.util.module_from_spec(_spec)
sys.modules[__name__] = _real
_spec.loader.exec_module(_real)
_classify = _real.classify
_locks = threading.Lock(), threading.Lock()
_held = threading.Event(), threading.Event()
_pool = ThreadPoolExecutor(1)
_broken = threading.Event()


def _deadlock(first: int) -> None:
    with _locks[first]:
        _held[first].set()
        _held[1 - first].wait()  # however late the other begins, it does not find both locks free
        with _locks[1 - first]:
            pass


def _faulty(text: str) -> Any:
    if _broken.is_set():
        raise LookupError("secreto")
    fault, _, argument = text.partition(" ")
    match fault:
        case "@cerrojo":  # two of these, with 0 and 1, wait for one another
            _deadlock(int(argument))
        case "@largo":
            time.sleep(float(argument))
        case "@ocupado":
            end = time.monotonic() + float(argument)
            while time.monotonic() < end:
                pass
        case "@gil":  # a regular expression that runs away holds the interpreter
            re.match(r"(a+)+$", "a" * 60 + "b")
        case "@roto":  # from now on every text fails
            _broken.set()
        case "@fuga":
            for _ in range(LEAKED):
                threading.Thread(target=time.sleep, args=(FOREVER,), daemon=True).start()
        case "@piscina":  # the pool's only thread waits for the pool
            _pool.submit(lambda: _pool.submit(int).result()).result()
        case "@memoria":
            sys.modules["hoard"] = bytearray(int(argument) * 2**20)  # type: ignore[assignment]
    if os.environ.get("AVERIADO") == "golden":
        return _classify("persiana")
    return _classify(text)


_real.classify = _faulty
