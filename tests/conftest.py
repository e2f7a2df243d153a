"""What tests share: a tiny stand-in, short recipes, folders of runs, a generator of random numbers."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from helpers import datasets
from helpers.datasets.simulated import standin
from helpers.experiments.networks_and_recipes import EXPERIMENTS


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory):
    return standin.write(tmp_path_factory.mktemp("data") / "tiny.h5", n_images=(96, 32, 32), pixels=32, n_trials=6)


@pytest.fixture(scope="session")
def tiny(tiny_file):
    return datasets.load(tiny_file)


@pytest.fixture
def runs_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("IT_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def short(experiment, epochs=2):
    """The experiment with at most so many epochs, for tests that need a trained row, whatever it learned."""
    return replace(experiment, recipe=replace(experiment.recipe, epochs=min(epochs, experiment.recipe.epochs)))


@pytest.fixture
def short_rows(monkeypatch):
    """All rows with two epochs at most."""
    for name, experiment in EXPERIMENTS.items():
        monkeypatch.setitem(EXPERIMENTS, name, short(experiment))


def runs_of(name, dataset, predictions=(None, None), **info):
    """Imitated runs, a seed each, that are whole unless `info` says otherwise.

    predictions : (n_seeds, n_images, n_neurons)
    """
    whole = {"name": name, "epochs": 15, "recipe_epochs": 15, "n_train": len(dataset.train.images), "weights": "PyPI"}
    whole |= {"pixels": "32 x 32", "diverged": False, "seconds": 1.0, "hardware": "here", "date": "today"}
    return [SimpleNamespace(val=val, info=whole | info, object_accuracy=None) for val in predictions]


@pytest.fixture(scope="session")
def kept_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def kept_runs(kept_folder, short_rows, monkeypatch):
    """A folder of runs that tests share: what one of them has made, of short rows, the next one finds."""
    monkeypatch.setenv("IT_RUNS", str(kept_folder))
    return kept_folder


@pytest.fixture
def generator():
    return np.random.default_rng(0)


@pytest.fixture
def features(generator):
    """Features (n_images, n_features) with a steep spectrum and a mean that is large beside it, as a network's are."""
    return generator.standard_normal((80, 200)) * np.logspace(0, -2, 200) + 5
