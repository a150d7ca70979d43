#!/usr/bin/env bash
# Run the programs of the data in an environment of their own.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<'USAGE'
usage: ejecutar.sh COMMAND [OPTION...]

  generate                write fuentes/ from the grammar (the same seed gives the same bytes)
  extract                 fuentes/ → salida/extraidas.parquet, salida/apartadas.parquet
  transform               → salida/curadas.parquet, salida/rechazadas.parquet
  report [--since REV]    → salida/informe.html, salida/resumen.json; REV: the commit to compare with;
                          exit code 3 when a check fails
  all [--since REV]       extract, transform and report
  test [OPTION...]        tests; options go to pytest
  test-all [OPTION...]    types, and every test: the slow ones and those with Spark (needs Java) too

Each takes --help for the rest of its options; --out DIR writes to another folder than salida/.
USAGE
}

[ $# -gt 0 ] || { usage >&2; exit 2; }
command=$1
shift
case $command in
  --help | -h) usage; exit 0 ;;
  generate | extract | transform | report | all | test) requirements=(requirements.txt requirements-dev.txt) ;;
  test-all) requirements=(requirements.txt requirements-dev.txt requirements-spark.txt) ;;
  *) echo "unknown command: $command" >&2; usage >&2; exit 2 ;;
esac

# An environment is kept by the content of its requirements.
key=$(cd "$here" && cat "${requirements[@]}" | sha256sum | cut -c1-16)
environment=${PIPELINE_TOOLS_CACHE:-$HOME/.cache/pipeline-tools}/environments/data-$key
mkdir -p "${environment%/*}"
exec 9>"$environment.lock" # another one may be making it
flock 9
if [ ! -e "$environment/.complete" ]; then
  echo "making the environment of the data (once)" >&2
  rm -rf "$environment"
  "${PYTHON:-python3}" -m venv "$environment"
  options=()
  for file in "${requirements[@]}"; do options+=(--requirement "$here/$file"); done
  "$environment/bin/pip" install --quiet --disable-pip-version-check "${options[@]}"
  touch "$environment/.complete"
fi
exec 9>&-
python=$environment/bin/python
export PYTHONPATH=$here

# The results of another commit's sources, for the report to compare with.
previous() {
  local revision=$1 top prefix
  top=$(git -C "$here" rev-parse --show-toplevel)
  prefix=$(git -C "$here" rev-parse --show-prefix)
  before=$(mktemp -d)
  trap 'rm -rf "$before"' EXIT
  git -C "$top" archive "$revision:$prefix" fuentes | tar -x -C "$before"
  "$python" -P -m datos extract --sources "$before/fuentes" --out "$before/salida" >/dev/null
  "$python" -P -m datos transform --out "$before/salida" >/dev/null
}

case $command in
  test)
    cd "$here"
    exec "$python" -m pytest -m "not slow" --ignore=tests/test_spark.py "$@" ;;
  test-all)
    cd "$here"
    "$python" -m mypy
    "$python" -m pytest "$@" ;;
  report | all)
    options=() out=$here/salida
    while [ $# -gt 0 ]; do
      case $1 in
        --since | --out) [ $# -gt 1 ] || { echo "$1 needs a value" >&2; exit 2; } ;;&
        --since) previous "$2"; options+=(--previous "$before/salida"); shift ;;
        --out) out=$2; shift ;;
        *) options+=("$1") ;;
      esac
      shift
    done
    if [ "$command" = all ]; then
      "$python" -P -m datos extract --out "$out"
      "$python" -P -m datos transform --out "$out"
    fi
    "$python" -P -m datos report --out "$out" ${options[@]+"${options[@]}"} ;;
  *) "$python" -P -m datos "$command" "$@" ;;
esac
