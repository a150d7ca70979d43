"""``python -m datos``: generate, extract, transform, report.

Exit codes: 0 passed, 2 usage, 3 the data are not good enough.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from datos import generate
from datos.extract import extract
from datos.report import report
from datos.transform import MEMORY, transform

HERE = Path(__file__).resolve().parent.parent
QUALITY = 3
USAGE = 2


def main(argv: list[str] | None = None) -> int:
    """Run one of the programs; what it did goes to the standard output, one fact a line."""
    parser = argparse.ArgumentParser(prog="datos", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("generate", help="write the raw files of the sources from the grammar")
    one.add_argument("--sources", type=Path, default=HERE / "fuentes", help="folder to write (default: fuentes)")
    one.add_argument("--claims", type=int, default=generate.CLAIMS, help="distinct claims (default: %(default)s)")
    one.add_argument("--seed", type=int, default=generate.SEED)
    one = commands.add_parser("extract", help="raw files → extraidas.parquet and apartadas.parquet")
    one.add_argument("--sources", type=Path, default=HERE / "fuentes", help="folder to read (default: fuentes)")
    one.add_argument("--out", type=Path, default=HERE / "salida", help="folder of the results (default: salida)")
    one = commands.add_parser("transform", help="extraidas.parquet → curadas.parquet and rechazadas.parquet")
    one.add_argument("--out", type=Path, default=HERE / "salida", help="folder of the results (default: salida)")
    one.add_argument("--memory", default=MEMORY, help="limit of the grouping's memory (default: %(default)s)")
    one = commands.add_parser("report", help="informe.html and resumen.json; exit code 3 when a check fails")
    one.add_argument("--out", type=Path, default=HERE / "salida", help="folder of the results (default: salida)")
    one.add_argument("--previous", type=Path, help="results of another version, to compare with")
    options = parser.parse_args(argv)
    try:
        return _run(options)
    except FileNotFoundError as error:
        print(f"datos: {error}", file=sys.stderr)  # noqa: T201
        return USAGE


def _run(options: argparse.Namespace) -> int:
    if options.command == "generate":
        generate.write(options.sources, options.claims, options.seed)
        told: object = f"wrote {options.sources}"
    elif options.command == "extract":
        told = extract(options.sources, options.out)
    elif options.command == "transform":
        told = transform(options.out / "extraidas.parquet", options.out, memory=options.memory)
    else:
        failed = report(options.out, options.previous)
        for line in failed:
            print(f"check failed: {line}")  # noqa: T201
        print(options.out / "informe.html")  # noqa: T201
        return QUALITY if failed else 0
    print(told)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
