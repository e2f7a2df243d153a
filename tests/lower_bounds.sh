#!/usr/bin/env bash
# Run the tests on the lower bounds of pyproject.toml, each installed as that very version in a fresh environment.
#
#     tests/lower_bounds.sh [PYTHON]      # not part of `make test`: 6 GB in a temporary folder and some ten minutes
#
# 2026-11-24, Python 3.11.7, Linux, CPU: 322 of 323 tests passed, with torch 2.6.0, torchvision 0.21.0, timm 1.0.31,
# accelerate 1.0.0, himalaya 0.4.6, optuna 4.0.0, numpy 1.26.0, scipy 1.11.0, h5py 3.10.0, scikit-learn 1.4.0,
# pandas 2.1.0, matplotlib 3.9.0, safetensors 0.4.3, ipywidgets 7.7.0, nbclient 0.9.0, nbconvert 7.16.5, typst 0.15.0,
# gdown 6.3.0. The other one compares README's table with the committed run, which was about to be made again.
# What asks for the higher ones: torch 2.6 has torch.cpu._is_avx512_bf16_supported, timm 1.0.31 cuts DenseNet and PNASNet
# (prune_intermediate_layers), gdown 6.3 retries, typst 0.15 takes a timestamp, nbconvert 7.16.5 knows mistune 3.1,
# and accelerate 1.0 asks for safetensors 0.4.3.
set -eu
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${1:-python3.11}" -m venv "$folder/venv"
python=$folder/venv/bin/python
"$python" - >"$folder/bounds.txt" <<'EOF'
import tomllib

with open("pyproject.toml", "rb") as file:
    for requirement in tomllib.load(file)["project"]["dependencies"]:
        print(requirement.replace(">=", "=="))
EOF
# What only running notebooks and tests needs has no bound.
"$python" -m pip install --quiet --disable-pip-version-check -r "$folder/bounds.txt" ipykernel pytest
"$python" --version
"$python" -m pip list --format=freeze | grep -i -f <(sed -E 's/=.*//; s/.*/^&==/' "$folder/bounds.txt")
PYTHONPATH=$PWD "$python" -m pytest
