#!/usr/bin/env bash
# Train the model, measure it, export it as a wheel.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# Where the data project is: a folder beside this one, or a submodule in it.
data=${MODELO_DATOS:-$here/../data}

usage() {
  cat <<'USAGE'
usage: ejecutar.sh ACTION [OPTION...]

  --train           curate the claims, train, and leave the package with the model in salida/paquete
  --export          train and write the wheel
  --evaluate        measure a model on the hand-written claims: salida/evaluacion.html and evaluacion.json;
                    exit code 3 when it is worse than the champion beyond noise
  --test            types and tests (trains first)
  --help

options
  --out DIR         folder of the wheel (--export; default dist) or of the report (--evaluate; default salida)
  --model WHEEL     the model to measure (--evaluate; default: what --train left, or a new one)
  --champion WHEEL  the model that is in use (--evaluate)
  --version X.Y.Z   of the wheel (default: the one in paquete/pyproject.toml)

MODELO_DATOS is the folder of the data project (default: ../data); the same commit gives the same bytes.
USAGE
}

fail() { echo "ejecutar.sh: $1" >&2; exit 2; }

action="" out="" model="" champion="" version=""
while [ $# -gt 0 ]; do
  case $1 in
    --train | --export | --evaluate | --test) action=${1#--} ;;
    --out | --model | --champion | --version)
      [ $# -gt 1 ] || fail "$1 needs a value"
      printf -v "${1#--}" %s "$2"; shift ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; fail "unknown option: $1" ;;
  esac
  shift
done
[ -n "$action" ] || { usage >&2; exit 2; }
[ -f "$data/requirements.txt" ] || fail "no data project in $data: set MODELO_DATOS, or git submodule update --init"
: "${version:=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/paquete/pyproject.toml")}"

# The environment is kept by the content of the requirements.
requirements=("$data/requirements.txt" "$here/requirements.txt")
[ "$action" != test ] || requirements+=("$here/requirements-dev.txt")
key=$(cat "${requirements[@]}" | sha256sum | cut -c1-16)
environment=${PIPELINE_TOOLS_CACHE:-$HOME/.cache/pipeline-tools}/environments/model-$key
if [ ! -e "$environment/.complete" ]; then
  echo "making the training environment (about 40 s, once)" >&2
  rm -rf "$environment"
  "${PYTHON:-python3}" -m venv "$environment"
  options=()
  for file in "${requirements[@]}"; do options+=(--requirement "$file"); done
  "$environment/bin/pip" install --quiet --disable-pip-version-check "${options[@]}"
  touch "$environment/.complete"
fi
python=$environment/bin/python
# one thread of BLAS: the order of its sums must not depend on the machine
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
package=$here/salida/paquete
evaluation=$data/evaluacion/reclamaciones.csv

# The last commit that changed a folder, and whether it has changes that are in none.
commit() {
  local found
  found=$(git -C "$1" log -1 --format=%H -- . 2>/dev/null) || found=""
  [ -n "$found" ] || { echo unknown; return; }
  if [ -n "$(git -C "$1" status --porcelain -- .)" ]; then found+=-dirty; fi
  echo "$found"
}

train() {
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  PYTHONPATH=$data "$python" -P -m datos extract --sources "$data/fuentes" --out "$work" >&2
  PYTHONPATH=$data "$python" -P -m datos transform --out "$work" >&2
  cp -r "$here/paquete" "$work/paquete"
  rm -rf "$work/paquete/clasificador_modelo/__pycache__"
  sed -i "s/^version = .*/version = \"$version\"/" "$work/paquete/pyproject.toml"
  PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here:$work/paquete "$python" -P -m entrenamiento train \
    --claims "$work/curadas.parquet" --evaluation "$evaluation" --package "$work/paquete" \
    --version "$version" --data-commit "$(commit "$data")" --code-commit "$(commit "$here")" >&2
  mkdir -p "$here/salida"
  rm -rf "$package"
  mv "$work/paquete" "$package"
}

case $action in
  train) train; echo "$package" ;;
  export)
    train
    out=${out:-$here/dist}
    mkdir -p "$out"
    # the same sources give the same bytes: all files get the date of the first ZIP
    SOURCE_DATE_EPOCH=315532800 "$python" -m pip wheel --quiet --disable-pip-version-check --no-deps \
      --no-build-isolation --wheel-dir "$out" "$package"
    ls "$out/clasificador_modelo-$version"-*.whl ;;
  evaluate)
    if [ -z "$model" ]; then
      [ -d "$package" ] || train
      model=$package
    fi
    options=()
    [ -z "$champion" ] || options=(--champion "$champion")
    PYTHONPATH=$here:$here/paquete "$python" -P -m entrenamiento evaluate --model "$model" --evaluation "$evaluation" \
      --out "${out:-$here/salida}" ${options[@]+"${options[@]}"} ;;
  test)
    train
    cd "$here"
    export PYTHONPATH=$here:$package
    "$python" -m mypy
    MODELO_DATOS=$data "$python" -m pytest ;;
esac
