"""The estimator and saved models: predictions for new images equal those of before, whatever the model is made of."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from helpers import EncodingModel, datasets, encoding, metrics
from helpers.__main__ import main
from helpers.analyses import best_model, frozen_networks
from helpers.cache import ROOT
from helpers.datasets.formats import own_images
from helpers.experiments import profiles, runs, saved_model
from helpers.experiments.networks_and_recipes import EXPERIMENTS, LITE0
from helpers.readout import gram_by_place, receptive_fields

TINY = profiles.PROFILES["tiny"]


@pytest.fixture(scope="module")
def cut(tiny):
    """The tiny stand-in with few images and neurons."""
    few = datasets.reduce(tiny, n_train=40, pixels=None)
    train, val = (replace(split, responses=split.responses[:, ::28]) for split in (few.train, few.val))
    return replace(few, train=train, val=replace(val, repeats=val.repeats[:, :, ::28]), fingerprint="few neurons")


@pytest.fixture(scope="module")
def fitted(cut):
    """A model of a lab's arrays, gray images (n_images, height, width)."""
    return EncodingModel(networks=(LITE0,)).fit(cut.train.images[:, 0], cut.train.responses, cut.train.objects)


def test_new_images_are_predicted_as_in_one_stack_with_the_fitted(fitted, cut):
    """The kernel of all images at once gives the same as products with the fitted ones; so does gray in color."""
    images, readout = cut.val.images[:8, 0], fitted._model.parts[0]
    both = np.concatenate([cut.train.images, cut.val.images[:8]])
    stack = gram_by_place.stack_of(readout.views, both, n_train=len(both))
    learned = (readout.arrays[name] for name in ("masks", "dual", "output", "mean"))
    expected = receptive_fields.predict(stack, *learned, bandwidth=readout.bandwidth)
    color = np.repeat(images[:, :, :, None], 3, axis=3)
    assert_allclose(fitted.predict(color), expected, atol=1e-5 * cut.train.responses.std())
    score = metrics.known_mean(metrics.explained_variance(cut.val.responses[:8], expected))
    assert fitted.score(images, cut.val.responses[:8]) == pytest.approx(score, abs=1e-5)


def test_a_saved_model_predicts_images_in_no_file_the_same_in_another_process(fitted, cut, tmp_path, capsys):
    fitted.save(tmp_path / "model")
    (folder := tmp_path / "images").mkdir()
    for i, image in enumerate(cut.val.images[:2, 0]):
        Image.fromarray(image).resize((48, 48), Image.Resampling.NEAREST).save(folder / f"{i}.png")
    command = ["predict", str(tmp_path / "model"), str(folder), str(tmp_path / "out.csv")]
    done = subprocess.run([sys.executable, "-m", "helpers", *command], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 0 and "holds: 40 fitted images (0.0 MB), seconds for one image: " in done.stdout
    table = pd.read_csv(tmp_path / "out.csv", index_col="image")
    assert list(table.index) == ["0.png", "1.png"] and list(table)[0] == "neuron 0"
    assert_allclose(table, fitted.predict(folder), atol=1e-6)
    assert main(command) == 2 and "out.csv: exists already" in capsys.readouterr().err

    loaded = EncodingModel.load(tmp_path / "model")
    assert loaded.get_params() == {"networks": [LITE0], "pixels": 112}
    for name in ("receptive_fields_", "leave_one_out_", "ceiling_"):
        assert_allclose(getattr(loaded, name), getattr(fitted, name))
    with pytest.raises(ValueError, match="without the responses"):
        loaded.cross_validate()


def test_a_model_whose_network_is_another_is_refused(fitted, cut):
    readout = fitted._model.parts[0]
    zoomed = readout.views[1]._replace(layers=readout.views[1].layers[:-1])
    with pytest.raises(ValueError, match="predicts a fitted image otherwise than when fitted"):
        replace(readout, views=[readout.views[0], zoomed]).predict(cut.val.images[:1])


def test_what_was_learned(fitted, cut):
    assert fitted.receptive_fields_.shape == (cut.n_neurons, 7, 7)
    assert_allclose(fitted.receptive_fields_.sum((1, 2)), 1, rtol=1e-5)
    assert np.isnan(fitted.ceiling_).all()
    assert len(fitted.plot(n_shown=2)) == 3
    held_out = fitted.cross_validate(n_folds=2)
    assert held_out.shape == (cut.n_neurons,) and held_out.mean() < fitted.leave_one_out_.mean() < 1


def test_the_ceiling_is_that_of_the_repeats(cut):
    images, responses, repeats = cut.val.images[:12], cut.val.responses[:12], cut.val.repeats[:12]
    model = EncodingModel(networks=(LITE0,), pixels=16).fit(images, responses, repeats=repeats)
    assert_allclose(model.ceiling_, metrics.noise_ceiling(repeats))


IMAGES, RESPONSES = np.zeros((12, 8, 8), np.uint8), np.zeros((12, 2))


@pytest.mark.parametrize(
    ("images", "responses", "says"),
    [
        (IMAGES.astype(float), RESPONSES, "is of float64"),
        (IMAGES[:, :, :, None], RESPONSES, "expected uint8"),
        (IMAGES[:5], RESPONSES[:5], "5 images; expected 10 or more"),
        (IMAGES[:0], RESPONSES[:0], "holds no images"),
        (IMAGES, RESPONSES[:9], r"12 images and responses of shape \(9, 2\)"),
        (IMAGES, RESPONSES * np.nan, "NaN"),
        ("no/such/folder", RESPONSES, "no/such/folder: no such file or folder"),
        (["no.png", "such.png"], RESPONSES, "no.png: no such file"),
    ],
)
def test_what_cannot_be_fitted_is_said_in_a_sentence(images, responses, says):
    with pytest.raises(ValueError, match=says) as error:
        EncodingModel(networks=(LITE0,)).fit(images, responses)
    assert "\n" not in str(error.value)


def test_too_many_images_are_refused_with_how_many_fit(monkeypatch):
    monkeypatch.setattr(encoding, "free_memory", lambda: 8e9)
    encoding.check_room(5000)
    with pytest.raises(MemoryError, match=r"10000 images take 25.0 GB, and 8.0 GB are free; about 5507 images fit"):
        encoding.check_room(10_000)


def test_importing_the_package_imports_no_torch():
    script = "import helpers, sys; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_images_are_read_from_files_arrays_and_folders(tmp_path, generator):
    color = generator.integers(0, 256, (3, 12, 16, 3), dtype=np.uint8)
    for i, image in enumerate(color):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("no image")
    folder = own_images.read(tmp_path)
    assert np.array_equal(folder, color.transpose(0, 3, 1, 2)) and own_images.names(tmp_path)[2] == "2.png"
    assert np.array_equal(own_images.read(color), folder)
    gray = own_images.read(tmp_path, shape=(1, 12, 16), dtype=np.uint8)
    assert np.array_equal(gray[:, 0], [np.asarray(Image.fromarray(image).convert("L")) for image in color])
    assert np.array_equal(own_images.read(np.repeat(gray, 3, axis=1)), gray)
    small = own_images.read(tmp_path, pixels=8)
    assert small.shape == (3, 3, 6, 8)
    with pytest.raises(ValueError, match="has 12 x 16 pixels; expected 16 x 16"):
        own_images.read(tmp_path, shape=(3, 16, 16), dtype=np.uint8)


KINDS = [
    ("pixels", (), False),
    ("sum of blocks at two sizes", (), False),
    (None, ("lite0-repaired",), False),
    (frozen_networks.LOCATED, ("lite0-repaired", "lite0-random-repaired"), True),
]


@pytest.fixture(scope="module")
def kept_runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize(("readout", "names", "located"), KINDS)
def test_every_kind_of_best_model_predicts_the_files_images_as_before(
    readout, names, located, cut, kept_runs, tmp_path, monkeypatch
):
    monkeypatch.setenv("IT_RUNS", str(kept_runs))
    if readout:
        readout = next(name for name in frozen_networks.specs(cut, TINY) if name.endswith(readout))
    fitted = best_model.fit("best", best_model.Candidate(readout, names, None, located), cut, TINY)
    before = np.concatenate([fitted.predictions["val"], fitted.predictions["test"]])
    if not located:
        made = frozen_networks.rows(cut, TINY)[readout] if readout else runs.run(EXPERIMENTS[names[0]], cut, TINY)
        assert_allclose(before, np.concatenate([made.val, made.test]), atol=1e-6)
    fitted.save(tmp_path / "model")
    loaded = saved_model.load(tmp_path / "model", cut)
    holds_images = [*(tmp_path / "model").glob("images-*")]  # once, however many parts were fitted to them
    assert len(holds_images) == bool(readout) == loaded.description["holds"].count("fitted images")
    images = np.concatenate([cut.val.images, cut.test.images])
    assert_allclose(loaded.predict(images), before, atol=1e-5 * cut.train.responses.std())
    with pytest.raises(ValueError, match="fitted to other data"):
        saved_model.load(tmp_path / "model", replace(cut, fingerprint="another"))
