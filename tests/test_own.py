"""Networks of one's own: trained by the loop that trains all rows, found again by their code, shown by their name."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from torch import nn

from helpers import models
from helpers.experiments import own, profiles, runs, saved_model
from helpers.experiments.networks_and_recipes import EXPERIMENTS
from helpers.notebook import Study

TINY = profiles.PROFILES["tiny"]


class Small(nn.Module):
    def __init__(self, pixels, n_neurons):
        super().__init__()
        self.layers = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3 * (pixels[0] // 8) ** 2, n_neurons))

    def forward(self, images):
        return self.layers(images)


def test_it_is_trained_once_and_stands_in_table_and_figure_by_its_name(tiny, runs_folder, tmp_path, capsys):
    runs.run(EXPERIMENTS[f"{own.LIKE_SHALLOW}-repaired"], tiny, TINY)
    study = Study(tiny, TINY, tmp_path, 0.8, "", "")
    pages = [study.compare({"small": Small}, seeds=2).to_html() for _ in range(2)]
    said = capsys.readouterr().out
    assert [said.count(f"own small-repaired, seed {seed}: 20 epochs in") for seed in (0, 1)] == [1, 1]  # by one call
    assert all(">small<" in page and "Shallow CNN + dropout 0.2 + L2" in page for page in pages)
    assert (tmp_path / "own_networks.png").stat().st_size > 5000


@pytest.mark.parametrize("recipe", own.RECIPES)
def test_the_saved_network_predicts_in_the_units_of_the_file_by_either_recipe(recipe, tiny, runs_folder):
    train = replace(tiny.train, responses=100 + 10 * tiny.train.responses)
    scaled = replace(tiny, train=train, fingerprint="scaled")
    row = own.row("small", Small, scaled, TINY, recipe=recipe)
    run = runs.run(row, scaled, TINY)
    tuned = saved_model.of_run(row, run, scaled)
    np.testing.assert_array_equal(tuned.predict(scaled.val.images), run.val)
    assert run.info["epochs"] == row.recipe.epochs == 20
    assert recipe == "published" or abs(run.val.mean() - train.responses.mean()) < 5


MODULE = """
from torch import nn

SIDE = {side}

def pool(images):
    {pool}

class Mine(nn.Module):
    '''{words}'''
    def __init__(self, pixels, n_neurons):
        super().__init__()
        self.readout = nn.Linear(3 * SIDE**2, n_neurons)  # {words}

    def forward(self, images):
        return self.readout(pool(images))
"""
POOL = "return nn.functional.adaptive_avg_pool2d(images, SIDE).flatten(1)"


def test_changed_code_is_another_network_and_words_are_not(tiny, tmp_path):
    def code(i, **parts):
        path = tmp_path / f"mine{i}.py"
        path.write_text(MODULE.format(**{"side": 4, "words": "Words.", "pool": POOL} | parts), encoding="utf-8")
        spec = importlib.util.spec_from_file_location("mine", path)
        module = importlib.util.module_from_spec(spec)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(own.sys.modules, "mine", module)
            spec.loader.exec_module(module)
            return own.row("mine", module.Mine, tiny, TINY).code

    first = code(0)
    assert code(1, words="Other words.") == first
    assert len({first, code(2, side=8), code(3, pool=POOL.replace("avg", "max"))}) == 3


def test_a_class_of_a_notebooks_cell_has_a_source(tiny):
    shell, cell = InteractiveShell.instance(), MODULE.format(side=4, words="", pool=POOL)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(own.sys.modules, "__main__", shell.user_module)
            assert shell.run_cell(cell, store_history=True).success
            assert own.source_of(shell.user_ns["Mine"]).startswith("class Mine(nn.Module):")
            assert own.row("mine", shell.user_ns["Mine"], tiny, TINY).code
    finally:
        InteractiveShell.clear_instance()


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (lambda pixels, n_neurons: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), r"returned \(2, 3\)"),
        (lambda pixels, n_neurons: torch.zeros(2), "expected a torch.nn.Module"),
        ("resnet5O.tv_in1k", "timm has no network of this name"),
    ],
)
def test_what_cannot_be_trained_is_named_before_anything_is(network, says, tiny):
    with pytest.raises(ValueError, match=says):
        own.row("mine", network, tiny, TINY)
    with pytest.raises(ValueError, match="expected one of published, repaired"):
        own.row("mine", Small, tiny, TINY, recipe="mended")


def test_a_tag_whose_weights_are_not_to_be_had_is_refused(tiny, monkeypatch):
    monkeypatch.setattr(own, "weights_of", lambda row: (models.RANDOM, ""))
    with pytest.raises(ValueError, match="resnet18.tv_in1k: no pretrained weights here"):
        own.row("mine", "resnet18.tv_in1k", tiny, TINY)
