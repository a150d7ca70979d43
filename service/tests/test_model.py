from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from importlib.resources import files
from pathlib import Path

from servicio import model as models


def test_the_digest_is_of_the_packages_own_files_however_it_was_installed() -> None:
    folder = Path(str(files("clasificador_modelo")))
    lines = []
    for file in folder.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            digest = urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest()).rstrip(b"=").decode()
            lines.append(f"{file.relative_to(folder.parent).as_posix()} {digest}")
    expected = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
    assert models.load().digest == f"sha256:{expected}"
    assert len(lines) > 3, "code, model and type marker at least"


def test_every_trade_is_among_the_golden_predictions() -> None:
    model = models.load()
    assert model.refused == ""
    assert len(set(models.golden().values())) == 10
