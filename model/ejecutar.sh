#!/usr/bin/env bash
# Train the model, measure it, export it as a wheel.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# Where the data project is: a submodule in this one, or a folder beside it.
data=$here/data
[ -f "$data/requirements.txt" ] || data=$here/../data
data=${MODELO_DATOS:-$data}

usage() {
  cat <<'USAGE'
usage: ejecutar.sh ACTION [OPTION...]

  --train           curate the claims, train, and leave the package with the model in salida/paquete
  --export          write the wheel
  --evaluate        measure a model on the hand-written claims: salida/evaluacion.html and evaluacion.json;
                    exit code 3 when it is worse than the champion beyond noise
  --test            tests
  --test-all        types, and every test: the slow ones too
  --help

All train first, unless what --train left was made from the very same files.

options
  --out DIR         folder of the wheel (--export; default dist) or of the report (--evaluate; default salida)
  --model WHEEL     the model to measure (--evaluate; default: this one)
  --champion WHEEL  the model that is in use (--evaluate)
  --version X.Y.Z   of the wheel (default: 0.0.0 and the commit, which is no release)
  --junit FILE      where the tests' results go (--test)

MODELO_DATOS is the folder of the data project (default: the submodule data, or ../data); the same commit gives the
same bytes.
USAGE
}

fail() { echo "ejecutar.sh: $1" >&2; exit 2; }

action="" out="" model="" champion="" version="" junit=""
while [ $# -gt 0 ]; do
  case $1 in
    --train | --export | --evaluate | --test | --test-all) action=${1#--} ;;
    --out | --model | --champion | --version | --junit)
      [ $# -gt 1 ] || fail "$1 needs a value"
      printf -v "${1#--}" %s "$2"; shift ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; fail "unknown option: $1" ;;
  esac
  shift
done
[ -n "$action" ] || { usage >&2; exit 2; }
[ -f "$data/requirements.txt" ] || fail "no data project in $data: set MODELO_DATOS, or git submodule update --init"
data=$(cd "$data" && pwd)

# The environment is kept by the content of the requirements.
requirements=("$data/requirements.txt" "$here/requirements.txt" "$here/requirements-dev.txt")
key=$(cat "${requirements[@]}" | sha256sum | cut -c1-16)
environment=${PIPELINE_TOOLS_CACHE:-$HOME/.cache/pipeline-tools}/environments/model-$key
mkdir -p "${environment%/*}"
exec 9>"$environment.lock" # another one may be making it
flock 9
if [ ! -e "$environment/.complete" ]; then
  echo "making the training environment (about 40 s, once)" >&2
  rm -rf "$environment"
  "${PYTHON:-python3}" -m venv "$environment"
  options=()
  for file in "${requirements[@]}"; do options+=(--requirement "$file"); done
  "$environment/bin/pip" install --quiet --disable-pip-version-check "${options[@]}"
  touch "$environment/.complete"
fi
exec 9>&-
python=$environment/bin/python
# one thread of BLAS: the order of its sums must not depend on the machine
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
package=$here/salida/paquete
evaluation=$data/evaluacion/reclamaciones.csv

# The commit of a folder: that of its repository, or in a part of one the last that changed it. It tells of changes that
# are in none.
commit() {
  local found
  if [ -z "$(git -C "$1" rev-parse --show-prefix 2>/dev/null)" ]; then
    found=$(git -C "$1" rev-parse HEAD 2>/dev/null) || found=""
  else
    found=$(git -C "$1" log -1 --format=%H -- . 2>/dev/null) || found=""
  fi
  [ -n "$found" ] || { echo unknown; return; }
  if [ -n "$(git -C "$1" status --porcelain -- .)" ]; then found+=-dirty; fi
  echo "$found"
}
data_commit=$(commit "$data") code_commit=$(commit "$here")
: "${version:=0.0.0+g${code_commit//-/.}}"

# What the trained package was made from.
sources() {
  echo "$key"
  (cd "$data" && find datos fuentes "$evaluation" -type f -not -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum)
  (cd "$here" && find entrenamiento paquete -type f -not -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum)
}

# The package with the model in salida/paquete, trained if it is not there, with version and commits.
package() {
  local made_from
  made_from=$(sources | sha256sum)
  if [ "$(cat "$package/.made-from" 2>/dev/null)" != "$made_from" ]; then
    train
    echo "$made_from" >"$package/.made-from"
  fi
  PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here:$package "$python" -P -m entrenamiento stamp \
    --package "$package" --version "$version" --data-commit "$data_commit" --code-commit "$code_commit"
}

train() {
  SECONDS=0
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  PYTHONPATH=$data "$python" -P -m datos extract --sources "$data/fuentes" --out "$work" >&2
  PYTHONPATH=$data "$python" -P -m datos transform --out "$work" >&2
  cp -r "$here/paquete" "$work/paquete"
  rm -rf "$work/paquete/clasificador_modelo/__pycache__"
  PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here:$work/paquete "$python" -P -m entrenamiento train \
    --claims "$work/curadas.parquet" --evaluation "$evaluation" --package "$work/paquete" >&2
  echo "curated and trained in $SECONDS s" >&2
  mkdir -p "$here/salida"
  rm -rf "$package"
  mv "$work/paquete" "$package"
}

[ "$action" = evaluate ] && [ -n "$model" ] || package
case $action in
  train) echo "$package" ;;
  export)
    out=${out:-$here/dist}
    mkdir -p "$out"
    # the same sources give the same bytes: all files get the date of the first ZIP
    SOURCE_DATE_EPOCH=315532800 "$python" -m pip wheel --quiet --disable-pip-version-check --no-deps \
      --no-build-isolation --wheel-dir "$out" "$package"
    ls "$out/clasificador_modelo-$version"-*.whl ;;
  evaluate)
    options=()
    [ -z "$champion" ] || options=(--champion "$champion")
    PYTHONPATH=$here:$here/paquete "$python" -P -m entrenamiento evaluate --model "${model:-$package}" \
      --evaluation "$evaluation" --out "${out:-$here/salida}" ${options[@]+"${options[@]}"} ;;
  test | test-all)
    cd "$here"
    export PYTHONPATH=$here:$package MODELO_DATOS=$data
    options=()
    [ -z "$junit" ] || options=(--junitxml "$junit")
    if [ "$action" = test-all ]; then "$python" -m mypy; else options+=(-m "not slow"); fi
    "$python" -m pytest ${options[@]+"${options[@]}"} ;;
esac
