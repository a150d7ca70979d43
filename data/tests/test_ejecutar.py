from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import DATA, form_row
from datos.__main__ import main
from datos.report import stability


def run(*argv: str, cwd: Path) -> str:
    """A command's output; it must pass."""
    names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
    environment = {**os.environ, **dict.fromkeys(names, "test@correo.example")}
    return subprocess.run(argv, cwd=cwd, check=True, capture_output=True, text=True, env=environment).stdout


@pytest.mark.slow
@pytest.mark.parametrize("folder", [".", "data"])
def test_a_report_compares_with_another_commit(tmp_path: Path, folder: str) -> None:
    project = tmp_path / folder
    shutil.copytree(
        DATA, project, dirs_exist_ok=True, ignore=shutil.ignore_patterns("salida", "__pycache__", "fuentes")
    )
    rows = (DATA / "fuentes" / "formulario.jsonl").read_text("utf-8", errors="ignore").splitlines(keepends=True)
    (project / "fuentes").mkdir()
    source = project / "fuentes" / "formulario.jsonl"
    source.write_text("".join(rows[:400]), encoding="utf-8")
    run("git", "init", "--quiet", cwd=tmp_path)
    run("git", "add", ".", cwd=tmp_path)
    run("git", "commit", "--quiet", "--message", "one", cwd=tmp_path)
    more = [form_row(f"la persiana número {number} del bloque no sube", "persianas") for number in range(300)]
    source.write_text("".join(rows[:400]) + "\n".join(more), encoding="utf-8")
    done = subprocess.run([str(project / "ejecutar.sh"), "all", "--since", "HEAD"], capture_output=True, text=True)
    summary = json.loads((project / "salida" / "resumen.json").read_text(encoding="utf-8"))
    assert summary["drift"]["curated_before"] < 400
    assert summary["curated"] > 600
    assert summary["drift"]["words"][0]["word"] in ("persiana", "número", "bloque", "sube")
    assert "Since the previous version" in (project / "salida" / "informe.html").read_text(encoding="utf-8")
    assert (done.returncode, "check failed: drift of labels" in done.stdout) == (3, True)


def test_results_that_are_missing_are_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--out", str(tmp_path)]) == 2
    assert "run extract and transform first" in capsys.readouterr().err


def test_an_unknown_command_is_a_usage_error() -> None:
    done = subprocess.run([str(DATA / "ejecutar.sh"), "mix"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "unknown command: mix" in done.stderr


def test_stability_is_nothing_for_the_same_and_much_for_another_distribution() -> None:
    same = {"a": 500, "b": 500}
    assert stability(same, {"a": 1000, "b": 1000}) == pytest.approx(0, abs=1e-5)
    assert stability(same, {"a": 900, "b": 100}) > 0.25
    assert stability(same, {"c": 1000}) > 1


def test_bad_rows_and_files_are_counted_and_the_gate_decides(tmp_path: Path) -> None:
    sources, out = tmp_path / "fuentes", tmp_path / "salida"
    sources.mkdir()
    (sources / "siniestros.csv").write_text("")
    things = ("grifo", "ducha", "bañera", "cisterna", "caldera", "lavabo", "bidé", "desagüe")
    rows = [form_row(f"{thing} rota en el piso {number}", "fontanería") for number, thing in enumerate(things)]
    rows += [
        form_row(f"mudanza de {number} cajas por la {thing}", "mudanzas") for number, thing in enumerate(things[:3])
    ]
    rows += ['{"id": "W9", "mensaje": "cortada a la mi', '{"id": "W9", "texto": "de otro esquema"}']
    broken = form_row("la cañería", "fontanería").encode("latin-1")
    (sources / "formulario.jsonl").write_bytes("\n".join(rows).encode() + b"\n" + broken + b"\n")
    assert main(["extract", "--sources", str(sources), "--out", str(out)]) == 0
    assert main(["transform", "--out", str(out)]) == 0
    assert main(["report", "--out", str(out)]) == 3
    summary = json.loads((out / "resumen.json").read_text(encoding="utf-8"))
    assert summary["aside"] == {"cambio de esquema": 1, "codificación": 1, "fichero vacío": 1, "fila truncada": 1}
    assert summary["rejected"] == {"etiqueta desconocida": 3}
    assert summary["curated"] + sum(summary["rejected"].values()) == summary["extracted"], "nothing is silently dropped"
    assert summary["sources"]["siniestros"] == 0
    failed = " ".join(summary["failed"])
    assert "rows of the source that gave fewest" in failed
    assert "share of unusable rows" in failed
    page = (out / "informe.html").read_text(encoding="utf-8")
    assert all(reason in page for reason in (*summary["aside"], *summary["rejected"]))
