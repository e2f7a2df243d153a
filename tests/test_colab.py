"""The first cell of the notebooks, with a stand-in for google.colab, for Drive and for pip."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from types import ModuleType, SimpleNamespace

import nbformat
import pytest

from helpers import notebook
from helpers.report import notebooks


def first_cells():
    read = [nbformat.read(path, as_version=4) for path in notebooks.NOTEBOOKS]
    return [next(cell.source for cell in book.cells if cell.cell_type == "code") for book in read]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Colab's disk under tmp_path; what was mounted and run; `start`, which runs the cell."""
    mounted, commands = [], []

    def mount(place):
        mounted.append(place)
        (tmp_path / "drive" / "MyDrive").mkdir(parents=True)

    google_colab = ModuleType("google.colab")
    google_colab.drive = SimpleNamespace(mount=mount)
    monkeypatch.setitem(sys.modules, "google.colab", google_colab)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(os, "environ", {key: value for key, value in os.environ.items() if not key.startswith("IT_")})

    def run(command, **_):
        commands.append(command)
        if command[0] == "git" and machine.clones:
            project(command[-1])
        return SimpleNamespace(returncode=0 if machine.clones else 128)

    monkeypatch.setattr(subprocess, "run", run)

    def project(place):
        folder = tmp_path / place
        (folder / "helpers").mkdir(parents=True)
        (folder / "helpers" / "notebook.py").touch()
        monkeypatch.setattr(notebook, "ROOT", folder)
        return folder

    def start():
        exec(first_cells()[0].replace("/content", str(tmp_path)), {})

    drive = tmp_path / "drive" / "MyDrive"
    machine = SimpleNamespace(drive=drive, mounted=mounted, commands=commands, clones=True)
    machine.mount, machine.project, machine.start = mount, project, start
    return machine


def test_all_notebooks_begin_alike():
    assert len(set(first_cells())) == 1


def test_elsewhere_nothing_happens(machine, monkeypatch):
    monkeypatch.delitem(sys.modules, "google.colab")
    before = list(sys.path), dict(os.environ)
    machine.start()
    assert not machine.commands and (sys.path, os.environ) == before


@pytest.mark.parametrize("place", ["clone", "drive/MyDrive/upload", "drive/MyDrive/Colab Notebooks/upload"])
def test_the_project_is_found_and_nothing_that_colab_has_is_replaced(machine, place, capsys):
    folder = machine.project(place)
    machine.start()
    install, make_standin = machine.commands
    assert install[:4] == [sys.executable, "-m", "pip", "install"] and str(folder) in install
    assert {f"{name}=={version(name)}" for name in ("torch", "torchvision", "numpy")} <= set(install)
    assert sys.path[0] == str(folder)
    standin = machine.drive / "it_runs" / "standin.h5"
    assert make_standin[1:] == ["-m", "helpers", "data", "standin", str(standin)]
    assert os.environ["IT_RUNS"] == str(machine.drive / "it_runs") and os.environ["IT_DATA"] == str(standin)
    assert os.environ["IT_SCRATCH"] == str(notebook.SCRATCH)  # matrices and checkpoints stay on the local disk
    assert str(standin) in capsys.readouterr().out


def test_a_second_run_finds_all_that_is_on_drive(machine):
    machine.project("clone")
    machine.start()
    (machine.drive / "it_runs").mkdir()
    (machine.drive / "it_runs" / "standin.h5").touch()
    first, n_commands = {key: os.environ.pop(key) for key in ("IT_DATA", "IT_RUNS")}, len(machine.commands)
    machine.start()
    assert len(machine.mounted) == 1 and len(machine.commands) == n_commands + 1
    assert {key: os.environ[key] for key in first} == first


def test_recordings_on_drive_come_first(machine):
    machine.project("clone")
    machine.mount("")
    (machine.drive / "IT_data.h5").touch()
    machine.start()
    assert os.environ["IT_DATA"] == str(machine.drive / "IT_data.h5") and len(machine.commands) == 1


def test_without_a_project_it_is_cloned_once(machine, tmp_path):
    machine.start()
    clone, install, _ = machine.commands
    folder = tmp_path / "it-encoding-models"
    assert clone[:2] == ["git", "clone"] and clone[-2].startswith("https://github.com/") and clone[-1] == str(folder)
    assert str(folder) in install and sys.path[0] == str(folder)
    machine.start()
    assert [command for command in machine.commands if command[0] == "git"] == [clone]


def test_what_cannot_be_cloned_is_named_with_the_line_to_change(machine):
    machine.clones = False
    with pytest.raises(FileNotFoundError, match="https://github.com/.*: cannot be cloned; change REPO above"):
        machine.start()


def test_every_notebook_has_a_badge_that_opens_it_from_the_place_of_repo():
    (repo,) = {re.search('REPO = "https://github.com/([^"]+)"', cell)[1] for cell in first_cells()}
    for path in notebooks.NOTEBOOKS:
        assert f"https://colab.research.google.com/github/{repo}/blob/main/notebooks/{path.name})" in path.read_text(
            encoding="utf-8"
        )
