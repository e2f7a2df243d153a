"""What README names exists, and its results table is the one that the committed run gave."""

import re
import shlex
import subprocess

import pandas as pd
import pytest

from helpers import tables
from helpers.__main__ import parser
from helpers.runs import ROOT

README = (ROOT / "README.md").read_text() + (ROOT / "data" / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"python -m helpers ((?:data \w+|\w+)[^`#\n]*)", README)))
TARGETS = sorted(set(re.findall(r"\bmake ([a-z]+)", README)) - {"are"})


@pytest.mark.parametrize("line", COMMANDS)
def test_command_parses(line):
    line = line.replace("FILE", "file.h5").replace("NAME", "lite0-repaired").strip()
    assert parser().parse_args(shlex.split(line)).call


@pytest.mark.parametrize("target", TARGETS)
def test_make_target_exists(target):
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_paths_exist():
    named = re.findall(r"`((?:notebooks|helpers|benchmarks|data|figures|tests)/[\w./]*)`", README)
    missing = [path for path in named if not (ROOT / path).exists() and path not in ("data/runs", "data/IT_data.h5")]
    assert named and not missing


def test_results_table_is_the_committed_runs():
    table = pd.read_csv(ROOT / "figures" / "standin" / "results.csv")
    assert tables.readme_block(table) in README


def test_environment_and_requirements_agree():
    """conda installs what pip does, and every lower bound of the package is met by the tested pins."""
    from packaging.requirements import Requirement

    environment = (ROOT / "environment.yml").read_text()
    assert "-r requirements.txt" in environment
    pins = {}
    for line in (ROOT / "requirements.txt").read_text().split():
        name, version = line.split("==")
        pins[name.lower()] = version
    dependencies = re.search(r"dependencies = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.S)[1]
    for requirement in map(Requirement, re.findall(r'"(.+?)"', dependencies)):
        assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement
