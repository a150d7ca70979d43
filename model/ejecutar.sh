#!/usr/bin/env bash
# Train the model and export it as a wheel.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<'EOF'
usage: ejecutar.sh --export [--out DIR] | --test | --help

  --export     train from data/ and write the wheel of the model
  --out DIR    where to (default: dist/ beside this script)
  --test       train, then run the tests
EOF
}

action="" out="$here/dist"
while [ $# -gt 0 ]; do
  case $1 in
    --export | --test) action=${1#--} ;;
    --out)
      [ $# -gt 1 ] || { echo "--out needs a folder" >&2; exit 2; }
      out=$2; shift ;;
    --help | -h) usage; exit 0 ;;
    *) echo "unknown option: $1" >&2; usage >&2; exit 2 ;;
  esac
  shift
done
[ -n "$action" ] || { usage >&2; exit 2; }

# The training environment is kept by the content of its requirements.
key=$(sha256sum "$here/requirements.txt" | cut -c1-16)
environment=${PIPELINE_TOOLS_CACHE:-$HOME/.cache/pipeline-tools}/environments/model-$key
if [ ! -e "$environment/.complete" ]; then
  echo "making the training environment (about 30 s, once)" >&2
  rm -rf "$environment"
  "${PYTHON:-python3}" -m venv "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
  touch "$environment/.complete"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$here/paquete" "$work/paquete"
"$environment/bin/python" "$here/entrenar.py" "$work/paquete/clasificador_modelo/modelo.json"
case $action in
  test) PYTHONPATH="$work/paquete" "$environment/bin/python" -m pytest -q -p no:cacheprovider "$here/tests" ;;
  export)
    # the same sources give the same bytes: all files get the date of the first ZIP
    export SOURCE_DATE_EPOCH=315532800
    mkdir -p "$out"
    "$environment/bin/pip" wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
      --wheel-dir "$out" "$work/paquete"
    ls "$out"/clasificador_modelo-*.whl >&2 ;;
esac
