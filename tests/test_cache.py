"""The cache: its keys know what a computation executes; a folder says what made it; checkpoints on two disks."""

import functools
import json
import os
import sys
import time
from pathlib import Path

import accelerate.state
import numpy as np
import pytest
import torch

from helpers import cache, device
from helpers.analyses import frozen_networks, layer_profile
from helpers.experiments import profiles, runs, search
from helpers.experiments.networks_and_recipes import EXPERIMENTS, LITE0
from helpers.training.checkpoint import Checkpoint, load

TINY = profiles.PROFILES["tiny"]
HELPERS = cache.ROOT / "helpers"


def executed(call, found):
    """Call, and add to a set the package's modules of which a function runs meanwhile, as `cache.CODE` names them."""

    files = set()

    def note(frame, event, argument):
        if event == "call" and frame.f_code.co_name != "<module>":
            files.add(frame.f_code.co_filename)

    sys.settrace(note)  # called once for each function of Python, where a profiler is for every built-in too
    try:
        return call()
    finally:
        sys.settrace(None)
        own = [Path(file) for file in files if file.startswith(str(HELPERS))]
        found.update(str(path.relative_to(HELPERS).with_suffix("")) for path in own)


@pytest.fixture
def cut(tiny):
    return TINY.prepare(tiny)


def test_every_module_that_computes_a_result_is_declared(cut, runs_folder, short_rows, monkeypatch):
    found, cached = {kind: set() for kind in cache.CODE}, cache.cached

    def traced(dataset, name, variant, settings, compute, *, kind="readout", **options):
        trace = functools.partial(executed, compute, found[kind])
        return cached(dataset, name, variant, settings, trace, kind=kind, **options)

    monkeypatch.setattr(cache, "cached", traced)
    bi_objective = EXPERIMENTS["lite0-bi-objective-repaired"]
    runs.run(bi_objective, cut, TINY)
    runs.run(EXPERIMENTS["shallow-published"], cut, TINY, held_out_fold=0)
    layer_profile.block_sum(LITE0, cut, TINY, zoomed=True)
    layer_profile.block_readouts(LITE0, cut, TINY)
    frozen_networks.rows(cut, TINY)
    frozen_networks.tuned_held_out(EXPERIMENTS["lite0-repaired"], cut, TINY, 1)
    found["run"].discard("metrics")  # for the held-out curve alone
    executed(lambda: search.search(cut, TINY, n_trials=1), found["search"])
    for kind, modules in found.items():
        assert modules - {*cache.CODE[kind], *cache.NO_INFLUENCE} == set(), kind
        declared = set(cache.CODE[kind]) - {*cache.CUT, "readout/regression"}  # of which a run takes a constant
        assert kind == "search" or declared <= modules, kind  # and nothing else


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ('"""Other words."""\ndef f(x):\n    """More."""\n    return x + 1  # why\n\n\n\nclass A:\n    b = 1\n', True),
        ('def f(x):\n    return x + 2\nclass A:\n    """Doc."""\n    b = 1\n', False),
        ("def f(x):\n    return x + 1\nclass A:\n    b = 2\n", False),
    ],
)
def test_a_docstring_a_comment_and_layout_have_no_meaning(changed, same):
    source = 'def f(x):\n    return x + 1\n\nclass A:\n    """Doc."""\n    b = 1\n'
    assert (cache.meaning(source) == cache.meaning(changed)) == same


def test_a_folder_says_what_made_it(cut, runs_folder):
    folder = runs.run(EXPERIMENTS["shallow-published"], cut, TINY, seed=1).folder
    made = json.loads((folder / "result.json").read_text(encoding="utf-8"))["made"]
    recipe = made["settings"]["experiment"]["recipe"]
    assert made["kind"] == "run" and made["code"] == cache.code_hash("run") and made["hardware"] and made["date"]
    assert recipe["optimiser"] == "torch.optim.adam.Adam" and recipe["schedule"]["class"] == "Step"
    assert made["settings"]["data"] == cut.fingerprint and made["settings"]["seed"] == 1


def test_values_of_one_repr_that_differ_have_two_keys(cut):
    long = np.arange(5000.0).tolist()
    other = [*long[:2500], -1.0, *long[2501:]]
    folders = {cache.result_folder(cut, "a", "b", {"values": values}) for values in (long, other)}
    assert len(folders) == 2 and cache.digest({"a": (1, 2)}) == cache.digest({"a": [1, 2]})


def test_gram_matrices_lie_on_the_local_disk_and_results_on_the_other(cut, runs_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("IT_SCRATCH", str(tmp_path / "local"))
    grams, _ = layer_profile.kernels(LITE0, cut, TINY)
    assert all(isinstance(K, np.memmap) and not K.flags.writeable for K in grams.values())
    run = runs.run(EXPERIMENTS["shallow-published"], cut, TINY)
    assert not list(runs_folder.rglob("*.npy")) and list((tmp_path / "local").rglob("*.npy"))
    assert run.folder.is_relative_to(runs_folder) and not list((tmp_path / "local").rglob("*.npz"))


def test_the_slow_disk_gets_a_checkpoint_every_ten_minutes(runs_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("IT_SCRATCH", str(tmp_path / "local"))
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    folder = runs_folder / "data" / "row" / "seed0-key"
    checkpoint, written = Checkpoint(folder), []
    for minute in range(25):
        clock[0] = 60.0 * minute
        checkpoint.keep(lambda minute=minute: {"minute": minute})
        written.append((load(folder / "checkpoint.pt") or {}).get("minute"))
    assert written == [None] * 10 + [10] * 10 + [20] * 5
    assert checkpoint.take_up() == {"minute": 24}
    (tmp_path / "local" / folder.relative_to(runs_folder) / "checkpoint.pt").unlink()  # the machine was taken away
    assert Checkpoint(folder).take_up() == {"minute": 20}
    checkpoint.remove()
    assert not list(tmp_path.rglob("checkpoint.pt"))


def test_files_are_written_whole_or_not_at_all_and_half_ones_of_killed_processes_removed_once_old(tmp_path):
    path, old, young = (tmp_path / name for name in ("file", ".file.1", ".file.2"))
    for left in (path, old, young):
        left.write_text("old")
    os.utime(old, (0, 0))

    def fails(beside):
        beside.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cache.write_whole(path, fails)
    assert path.read_text() == "old" and {p.name for p in tmp_path.iterdir()} == {"file", young.name}
    cache.write_whole(path, lambda beside: beside.write_text("new"))
    assert path.read_text() == "new" and {p.name for p in tmp_path.iterdir()} == {"file", young.name}


def test_apples_mps_is_never_taken(monkeypatch):
    states = accelerate.state.PartialState._shared_state, accelerate.state.AcceleratorState._shared_state
    kept = [dict(state) for state in states]
    monkeypatch.setattr(accelerate.state, "is_mps_available", lambda *_, **__: True)
    try:
        for state in states:
            state.clear()
        assert device.accelerator.__wrapped__().device.type == ("cuda" if torch.cuda.is_available() else "cpu")
        assert accelerate.state.PartialState().default_device.type == ("cuda" if torch.cuda.is_available() else "mps")
    finally:
        for state, before in zip(states, kept, strict=True):
            state.clear()
            state.update(before)
