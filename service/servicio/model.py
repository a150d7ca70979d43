"""The model: one function from a pinned wheel, what it was made from, and whether it is fit to serve."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module, metadata
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clasificador_modelo import Classification

DISTRIBUTION = "clasificador-modelo"
PACKAGE = "clasificador_modelo"
# Every text of the golden predictions is tried this often before the service is ready: code and caches are warm then.
WARM_UP_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Model:
    """A loaded model; ``refused`` says why it must not serve, and is empty when it may."""

    classify: Callable[[str], Classification]
    max_score: int = 0
    version: str = ""
    digest: str = ""
    lineage: Mapping[str, Any] = field(default_factory=dict)
    refused: str = ""

    @property
    def data_digest(self) -> str:
        """SHA-256 of the data that it was trained on; empty when it does not say."""
        return str(self.lineage.get("data", {}).get("sha256", ""))


@cache
def golden() -> Mapping[str, str]:
    """Texts and the label that any model must give them."""
    found: dict[str, str] = json.loads((files(__package__) / "golden.json").read_text(encoding="utf-8"))
    return found


def load() -> Model:
    """Load the wheel and try it on the golden predictions; a wheel that fails is returned as refused, and says why."""
    try:
        package = import_module(PACKAGE)
        model = Model(
            classify=package.classify,
            max_score=package.MAX_SCORE,
            version=metadata.version(DISTRIBUTION),
            digest=_digest(),
            lineage=package.metadata(),
        )
        wrong = _wrong(model)
    except Exception as error:  # whatever a wheel does wrong must not end the service: it stays and says why
        return Model(classify=_refuse, refused=f"The model cannot be loaded: {type(error).__name__}: {error}")
    if wrong:
        return Model(
            classify=_refuse,
            version=model.version,
            digest=model.digest,
            lineage=model.lineage,
            refused=f"The model fails its golden predictions: {'; '.join(wrong)}",
        )
    return model


def _refuse(text: str) -> Classification:
    raise RuntimeError("a refused model was asked")


def _wrong(model: Model) -> list[str]:
    wrong = []
    for _ in range(WARM_UP_ROUNDS):
        wrong = [
            f"{text!r} is {found}, not {label}"
            for text, label in golden().items()
            if (found := model.classify(text).tokens[0].token) != label
        ]
    return wrong


def _digest() -> str:
    """SHA-256 of the names and digests that the wheel's own list of files (RECORD) has for the package.

    What installers add to that list differs from one to another, and is left out.
    """
    listed = sorted(
        f"{file} {file.hash.value}"
        for file in metadata.files(DISTRIBUTION) or ()
        if file.parts[0] == PACKAGE and file.hash is not None and "__pycache__" not in file.parts
    )
    return f"sha256:{hashlib.sha256(chr(10).join(listed).encode()).hexdigest()}"
