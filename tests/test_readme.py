"""What README names exists, its short commands run, and its results table is the one that the committed run gave."""

import re
import shlex
import subprocess

import numpy as np
import pytest
from PIL import Image

from helpers.__main__ import main, parser
from helpers.cache import ROOT
from helpers.report import summary

PAGES = ("CONTRIBUTING.md", "README.md", "data/README.md", "docs/clusters.md", "docs/colab.md", "docs/weights.md")
README = "".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
COMMANDS = sorted(set(re.findall(r"(?:python|launch|torchrun)[^`\n]*? ?-m helpers ((?:data \w+|\w+)[^`#\n]*)", README)))
TARGETS = sorted(set(re.findall(r"\bmake ([a-z]+)", README)) - {"are"})


@pytest.mark.parametrize("line", COMMANDS)
def test_command_parses(line):
    line = line.replace("FILE", "file.h5").replace("NAME", "lite0-repaired").strip()
    assert parser().parse_args(shlex.split(line)).call


def test_every_command_is_named():
    commands = parser().format_help()
    named = {line.split()[0] for line in COMMANDS} | {" ".join(line.split()[:2]) for line in COMMANDS}
    assert {"data check", "data pack", "data standin", "data fetch"} <= named
    assert set(re.search(r"\{([\w,]+)\}", commands)[1].split(",")) - {"report"} <= named  # make report calls that one


def test_accelerate_knows_the_options_named():
    from accelerate.commands.launch import launch_command_parser

    for options in re.findall(r"accelerate launch ([^`\n]*?) -m helpers", README):
        assert launch_command_parser().parse_args([*shlex.split(options), "script"]).num_processes == 2


def test_scripts_know_the_options_named():
    for line in re.findall(r"python ((?:benchmarks|tests)/[^`#\n]*)", README):
        script, *options = shlex.split(line)
        source = (ROOT / script).read_text()
        assert all(f'"{option}"' in source for option in options if option.startswith("--")), line


def test_short_commands_run(tiny_file, tmp_path, runs_folder, short_rows, capsys):
    rng = np.random.default_rng(0)
    (images := tmp_path / "images").mkdir()
    rows = ["file,object,a,b"]
    for i in range(10):
        Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)).save(images / f"{i}.png")
        rows.append(f"{i}.png,mug,{rng.normal()},{rng.normal()}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    own = str(tmp_path / "own.h5")
    assert main(["data", "pack", str(images), str(tmp_path / "table.csv"), own]) == 0
    assert main(["data", "check", own]) == 0
    assert "(n_images, n_neurons) = (7, 2) train, (2, 2) val" in capsys.readouterr().out
    for _ in range(2):  # trained, then found
        assert main(["run", "lite0-repaired", "--seed", "0", "--profile", "tiny", "--data", str(tiny_file)]) == 0
    assert capsys.readouterr().out.count("epochs in") == 1
    targets = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert all(f"make {target}" in targets for target in TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_make_target_exists(target):
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


MADE = ("data/runs", "data/IT_data.h5", "data/standin.h5")  # by commands


def test_paths_exist():
    named = re.findall(r"`((?:notebooks|helpers|benchmarks|data|figures|tests)/[\w./]*)`", README)
    missing = [path for path in named if not (ROOT / path).exists() and path not in MADE]
    assert named and not missing


def test_every_room_has_its_place_in_the_map():
    rooms = [
        f"{path.parent.name}/" for path in (ROOT / "helpers").rglob("__init__.py") if path.parent.name != "formats"
    ]
    modules = [path.name for folder in ("helpers", "benchmarks") for path in (ROOT / folder).glob("[!_]*.py")]
    assert not [name for name in modules + rooms if name not in README]


def test_results_are_the_committed_runs():
    assert summary.readme_blocks() in (ROOT / "README.md").read_text(encoding="utf-8")


def test_links_lead_somewhere():
    for folder, text in ((ROOT / page, (ROOT / page).read_text(encoding="utf-8")) for page in PAGES):
        links = re.findall(r"\]\(([^)#:]+)\)", text)
        assert not [link for link in links if not (folder.parent / link).exists()], folder


def test_environment_and_requirements_agree():
    """conda installs what pip does, and every lower bound of the package is met by the tested pins."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    environment = (ROOT / "environment.yml").read_text()
    assert "-r requirements.txt" in environment
    project = (ROOT / "pyproject.toml").read_text()
    python = re.search(r"python=([\d.]+)", environment)[1]
    assert SpecifierSet(re.search(r'requires-python = "(.+)"', project)[1]).contains(python)
    pins = {}
    for line in (ROOT / "requirements.txt").read_text().split():
        name, version = line.split("==")
        pins[name.lower()] = version
    dependencies = re.search(r"dependencies = \[(.*?)\]", project, re.S)[1]
    for requirement in map(Requirement, re.findall(r'"(.+?)"', dependencies)):
        assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement
