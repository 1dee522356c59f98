#!/usr/bin/env bash
# Loss and step on one CUDA device; prints the lines for benchmarks/README.md and writes gpu.json.
#   bash benchmarks/gpu.sh [further options of gpu.py]
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
"$python" benchmarks/gpu.py --json gpu.json "$@"
