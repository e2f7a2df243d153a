"""What tests share: a tiny stand-in, a folder of runs of their own, a generator of random numbers."""

import numpy as np
import pytest

from helpers import datasets
from helpers.datasets.simulated import standin


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


@pytest.fixture
def generator():
    return np.random.default_rng(0)


@pytest.fixture
def features(generator):
    """Features (n_images, n_features) with a steep spectrum and a mean that is large beside it, as a network's are."""
    return generator.standard_normal((80, 200)) * np.logspace(0, -2, 200) + 5
