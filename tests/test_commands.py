"""The command line: one sentence and a non-zero exit on bad input, no traceback, nothing overwritten."""

from pathlib import Path

import numpy as np
import optuna
import pytest
from sklearn.metrics import explained_variance_score

from helpers import datasets
from helpers.__main__ import main
from helpers.analyses import layer_profile
from helpers.experiments import profiles
from helpers.training import loop


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["data", "check", "missing.h5"], "missing.h5"),
        (["run", "shallow-published", "--data", "missing.h5"], "missing.h5"),
        (["report", "--data", "missing.h5"], "missing.h5"),
        (["search", "--data", "missing.h5"], "missing.h5"),
        (["data", "pack", "a.nc", "b.csv", "c.zip", "d.h5", "--where", "IT"], "IT: no condition; expected NAME=VALUE"),
    ],
)
def test_a_missing_file_is_named(command, says, capsys):
    assert main(command) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and says in captured.err and captured.err.count("\n") == 1
    assert "using the stand-in" not in captured.out


@pytest.mark.parametrize("command", [["run", "shallow-published"], ["search", "--trials", "2"], ["claims"]])
def test_an_interrupted_command_says_so_in_one_sentence(command, tiny_file, runs_folder, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "fit", interrupted)
    monkeypatch.setattr(layer_profile, "block_readouts", interrupted)
    assert main([*command, "--profile", "tiny", "--data", str(tiny_file)]) == 130
    said = capsys.readouterr().err.strip()
    assert said == "interrupted: finished runs are kept, and the same command goes on from them"
    if command[0] == "search":  # which would log the trial's traceback, past pytest
        assert optuna.logging.get_verbosity() == optuna.logging.ERROR
    assert not list(runs_folder.rglob("result.json"))


def test_an_unknown_row_is_refused_with_the_known_ones():
    with pytest.raises(SystemExit, match="lite0-repaired"):
        main(["run", "resnet51"])


@pytest.mark.parametrize("fold", [[], ["--held-out-fold", "1"]])
def test_a_run_prints_its_cut_and_its_score(fold, tiny_file, runs_folder, capsys):
    assert main(["run", "shallow-published", "--profile", "tiny", "--data", str(tiny_file), *fold]) == 0
    cut, *_, scored, _, last = capsys.readouterr().out.strip().splitlines()
    dataset = profiles.PROFILES["tiny"].prepare(datasets.load(tiny_file))
    responses = dataset.val.responses
    if fold:
        responses = dataset.train.responses[datasets.folds(dataset.train.objects, 5, seed=0)[1][1]]
    with np.load(Path(last.partition(": ")[0]) / "predictions.npz") as arrays:
        predicted = arrays["held_out" if fold else "val"]
    assert f": {explained_variance_score(responses, predicted):z.2f}" in scored
    assert cut == "10 epochs of 64 images of 32x32 pixels"


def test_a_stand_in_is_not_written_over_a_file(tmp_path, capsys):
    path = tmp_path / "mine.h5"
    path.write_text("mine")
    assert main(["data", "standin", str(path)]) == 2
    assert path.read_text() == "mine" and str(path) in capsys.readouterr().err


def test_check_prints_what_a_file_holds(tiny_file, capsys):
    assert main(["data", "check", str(tiny_file)]) == 0
    assert "(n_images, n_neurons) = (96, 168) train" in capsys.readouterr().out


def test_a_stand_in_with_other_shares_is_another_file(tmp_path, tiny_file):
    from helpers import datasets
    from helpers.datasets.simulated import standin

    other = standin.write(tmp_path / "other.h5", n_images=(96, 32, 32), pixels=32, n_trials=6, label_share=0.0)
    assert datasets.load(other).fingerprint != datasets.load(tiny_file).fingerprint
