#!/usr/bin/env bash
# What there is to measure on a GPU, as one script of at most 8 minutes, in a checkout:
#
#     scripts/measure/gpu.sh OUT            writes OUT/doctor.txt, tests.txt, bench.json, bench.txt and summary.txt
#
# DEVICE=cuda      the provider; DEVICE=cpu runs the same with the CPU as the device (a test does)
# PYTHON=…         an interpreter with bimodal's dependencies; by default .venv/bin/python, else python3
# PARTS=FOLDER     a folder with a wheel of onnxruntime-gpu in parts, and with any other wheels that lack there: they are
#                  joined and installed, without an index, into OUT/packages. docs/performance.md says how to make them
# QUICK=1          one short repeat of each figure
#
# Each step has its own limit of time; one that fails is told in summary.txt, and the others go on.
set -uo pipefail
cd "$(dirname "$0")/../.."

out=${1:?the folder for what is found}
mkdir -p "$out"
out=$(cd "$out" && pwd)
device=${DEVICE:-cuda}
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
export PYTHONPATH="$out/packages:$PWD${PYTHONPATH:+:$PYTHONPATH}" BIMODAL_DEVICE="$device"
status=0

step() { # NAME SECONDS COMMAND…: run it within the time, keep what it prints, and say how it went
    local name=$1 seconds=$2 begun=$SECONDS code=0
    shift 2
    timeout --kill-after=5 "$seconds" "$@" >"$out/$name.txt" 2>&1 || code=$?
    echo "$name: $([ $code = 0 ] && echo ok || echo "code $code, see $name.txt"), $((SECONDS - begun)) s" | tee -a "$out/summary.txt"
    [ $code = 0 ] || status=1
}

join_parts() { # put wheels together of their parts, check them, and install them
    local folder=$1 first whole
    mkdir -p "$out/wheels" "$out/packages"
    for first in "$folder"/*.whl.part-aa; do
        [ -e "$first" ] || continue
        whole="$out/wheels/$(basename "${first%.part-aa}")"
        cat "${first%aa}"* >"$whole" || return 1
        (cd "$out/wheels" && sha256sum --check "$(cd "$folder" && pwd)/$(basename "$whole").sha256") || return 1
    done
    for whole in "$folder"/*.whl; do
        [ ! -e "$whole" ] || cp "$whole" "$out/wheels/" || return 1
    done
    "$python" -m pip install --quiet --no-index --no-deps --target "$out/packages" "$out"/wheels/*.whl
}

name=$(command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -1)
{
    date -u +%FT%TZ
    echo "device: $device, ${name:-no GPU that nvidia-smi knows}"
    echo "commit: $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
} >"$out/summary.txt"
cat "$out/summary.txt"

cat >"$out/config.yaml" <<CONFIG
runtime: {provider: $device}
CONFIG

export -f join_parts
export out python
[ -z "${PARTS:-}" ] || step join 90 bash -c 'join_parts "$1"' join "$PARTS"
step doctor 60 "$python" -m bimodal doctor --config "$out/config.yaml"
step tests 120 "$python" -m pytest -p no:cacheprovider -q -m device tests/models/test_device.py
repeats=${QUICK:+--quick}
step bench 200 "$python" -m bimodal bench limit pipeline --config "$out/config.yaml" --json "$out/bench.json" ${repeats:---repeats 3 --seconds 4}
exit $status
