#!/usr/bin/env bash
# Run the tests on the lower bounds of pyproject.toml, each installed as that very version in a fresh environment.
#
#     tests/lower_bounds.sh [PYTHON]      # not part of `make test`: 6 GB in a temporary folder and some ten minutes
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
"$python" -m pip list --format=freeze | grep -i -f <(sed -E 's/[=].*//; s/^/^/; s/$/==/' "$folder/bounds.txt")
PYTHONPATH=$PWD "$python" -m pytest
