"""The stand-in: the course file's schema, and what was planted can be found again."""

import h5py
import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GroupKFold

from helpers import datasets
from helpers.__main__ import main
from helpers.datasets.hdf5 import CATEGORY_OF
from helpers.datasets.images import IMAGENET_MEAN, IMAGENET_SD
from helpers.datasets.simulated import neurons, rendering, standin

N_TRAIN, N_VAL, N_TEST = 384, 48, 48


@pytest.fixture(scope="module")
def scenes():
    return rendering.render(N_TRAIN + N_VAL + N_TEST, size=32, n_objects=24, seed=3)


def share_between(responses, objects):
    """Share of each neuron's variance between objects: one-way analysis of variance, objects as a random effect."""
    names, index, counts = np.unique(objects, return_inverse=True, return_counts=True)
    means = np.stack([responses[objects == name].mean(0) for name in names])[index]
    within = ((responses - means) ** 2).sum(0) / (len(index) - len(names))
    between = ((means - responses.mean(0)) ** 2).sum(0) / (len(names) - 1)
    between = (between - within) / counts.mean() * (len(names) - 1) / len(names)  # of these objects, not of all
    return between / (between + within)


def test_file_says_what_is_in_it_and_the_same_settings_give_the_same_bytes(tmp_path, monkeypatch):
    tiny = dict(n_images=(96, 24, 24), pixels=32, n_trials=5)
    path = standin.write(tmp_path / "standin.h5", **tiny)
    again = standin.write(tmp_path / "again.h5", **tiny)
    other = tmp_path / "other.h5"
    monkeypatch.setattr(standin, "QUICK", (tiny["n_images"], tiny["pixels"]))
    assert main(["data", "standin", str(other), "--as-course", "--trials", "5"]) == 0
    assert path.read_bytes() == again.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.h5", "other.h5", "standin.h5"]

    more = standin.write(tmp_path / "more.h5", **tiny, n_unseen=48)
    with h5py.File(path) as file, h5py.File(more) as known_better:
        assert known_better.attrs["n_unseen"] == 48 and "n_unseen" not in file.attrs
        assert known_better["spikes_train"].shape == file["spikes_train"].shape
    with h5py.File(path) as file, h5py.File(other) as course:
        assert file.attrs["description"].startswith("Simulated responses.")
        built_in = dict(label_share=0.35, local_share=0.2, n_trials=5, seed=0, version=standin.VERSION)
        assert (
            {name: file.attrs[name] for name in built_in} == {name: course.attrs[name] for name in built_in} == built_in
        )
        keys = {f"{kind}_{split}" for kind in ("stimulus", "object") for split in ("train", "val", "test")}
        keys |= {"spikes_train", "spikes_val"}
        fields = {f"receptive_field_{name}" for name in ("x", "y", "width")}
        assert set(course) == keys and set(file) == keys | fields | {"spikes_val_repeats"}
        for split, n_images in (("train", 96), ("val", 24), ("test", 24)):
            images, stimulus, objects = file[f"stimulus_{split}"], course[f"stimulus_{split}"], file[f"object_{split}"]
            assert images.shape == (n_images, 32, 32) and images.dtype == np.uint8
            assert stimulus.shape == (n_images, 3, 32, 32) and stimulus.dtype == np.float32
            pixels = 255 * (stimulus[:].transpose(0, 2, 3, 1) * IMAGENET_SD + IMAGENET_MEAN)
            np.testing.assert_allclose(pixels, np.repeat(images[:][..., None], 3, -1), atol=1e-3)
            assert objects.shape == (n_images,) and objects.dtype.kind == "S"
            assert {name.decode("latin-1") for name in objects[:]} <= set(CATEGORY_OF)
        for name in fields:
            assert file[name].shape == (168,) and 0 < file[name][:].min() and file[name][:].max() < 1
        assert file["spikes_train"].shape == (96, 168) and file["spikes_train"].dtype == np.float32
        repeats = file["spikes_val_repeats"][:]
        assert repeats.shape == (24, 5, 168) and repeats.dtype == np.float32
        np.testing.assert_allclose(repeats.mean(1), file["spikes_val"][:], atol=1e-5)


@pytest.mark.parametrize("planted", [0.0, 0.35, 0.5])
def test_planted_label_share_is_recovered(scenes, planted):
    simulated = neurons.simulate(scenes, n_train=N_TRAIN, label_share=planted, local_share=0.2, n_trials=4)
    found = share_between(simulated.responses, scenes.objects)
    assert found.mean() == pytest.approx(planted, abs=0.02)
    np.testing.assert_allclose(found, simulated.label_share, atol=0.1)  # by the accidents of 20 images an object

    total = simulated.label + simulated.local + simulated.view
    assert np.mean(simulated.local.var(0) / total.var(0)) == pytest.approx(0.2, abs=0.01)
    with pytest.raises(ValueError, match="shares"):
        neurons.simulate(scenes, n_train=N_TRAIN, label_share=0.9, local_share=0.2)


def split_half(trials):
    """Reliability (n_neurons,) of the mean over trials (n_images, n_repeats, n_neurons), by Spearman and Brown."""
    halves = trials[:, ::2].mean(1), trials[:, 1::2].mean(1)
    r = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(halves[0].T, halves[1].T, strict=True)])
    return 2 * r / (1 + r)


def test_marginals_and_reliability(scenes):
    simulated = neurons.simulate(scenes, n_train=N_TRAIN)
    average = simulated.trials.mean(1)
    np.testing.assert_allclose(average[:N_TRAIN].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(average[:N_TRAIN].std(0), 0.37, atol=1e-5)

    reliability = split_half(simulated.trials)
    assert reliability.mean() == pytest.approx(0.82, abs=0.02)
    np.testing.assert_allclose(reliability, simulated.reliability, atol=0.12)
    # The trial average scatters about the noise-free response as the reliability says.
    assert np.mean((average - simulated.responses).var(0) / average.var(0)) == pytest.approx(0.18, abs=0.02)


def test_parts_without_labels_favour_no_object_in_train_and_val_alike():
    rng = np.random.default_rng(0)
    index, effect = np.tile(np.arange(100), 10), rng.standard_normal((100, 400))
    drive = effect[index] + rng.standard_normal((1000, 400))
    part = drive - neurons.expectation(drive, index, rng.standard_normal(1000))
    train, val = (part[rows].reshape(-1, 100, 400).mean(0) for rows in (slice(0, 800), slice(800, 1000)))
    assert np.mean(train * val) / np.sqrt(np.mean(train**2) * np.mean(val**2)) == pytest.approx(0, abs=0.03)
    within = part - part.reshape(10, 100, 400).mean(0)[index]
    np.testing.assert_allclose(within, drive - drive.reshape(10, 100, 400).mean(0)[index], atol=1e-12)


def test_objects_are_told_apart_by_what_can_be_seen_and_not_too_well(scenes):
    simulated = neurons.simulate(scenes, n_train=N_TRAIN)
    names, index = np.unique(scenes.objects, return_inverse=True)
    label = np.stack([simulated.label[index == i][0] for i in range(len(names))])
    assert np.linalg.matrix_rank(label - label.mean(0), tol=1e-6 * np.linalg.norm(label)) == scenes.appearance.shape[1]
    looks = np.stack([scenes.appearance[index == i].mean(0) for i in range(len(names))])
    looks = (looks - looks.mean(0)) / looks.std(0)
    fitted = LinearRegression().fit(looks, label).score(looks, label)
    assert fitted > 0.75  # a linear function of the views' mean appearance, but for what the views leave open
    average = simulated.trials.mean(1)
    held_out = slice(N_TRAIN, None)
    decoder = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(average[:N_TRAIN], index[:N_TRAIN])
    assert 0.3 < decoder.score(average[held_out], index[held_out]) < 0.8  # of these 24 objects; chance is .04


def test_a_fifth_of_the_images_shows_each_object_in_one_fixed_view(scenes):
    assert scenes.fixed.mean() == pytest.approx(0.2, abs=0.03)
    for name in np.unique(scenes.objects):
        some = scenes.fixed & (scenes.objects == name)
        for varying in (scenes.yaw, scenes.pitch, scenes.span, scenes.position, scenes.light):
            assert len(np.unique(varying[some], axis=0)) <= 1
        assert len(np.unique(scenes.pixels[some], axis=0)) == some.sum()  # before different backgrounds


# The stand-in of the project, measured ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole():
    path = datasets.DATA / "standin.h5"
    if not path.exists():
        pytest.skip("needs data/standin.h5, which python -m helpers data standin writes")
    with h5py.File(path) as file:
        assert file.attrs["version"] == standin.VERSION
    return datasets.load(path)


def object_means(values, objects, names):
    """Means over each object's images, less their mean over objects: (n_objects, n_neurons)."""
    means = np.stack([values[objects == name].mean(0, dtype=float) for name in names])
    return means - means.mean(0)


def test_the_file_has_the_recordings_marginals_and_objects_that_are_partly_told_apart(whole):
    train, val = whole.train, whole.val
    np.testing.assert_allclose(train.responses.std(0), 0.37, atol=1e-3)
    reliability = split_half(val.repeats).mean()
    decoder = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(train.responses, train.objects)
    decoded = decoder.score(val.responses, val.objects)
    names = np.intersect1d(train.objects, val.objects)
    a, b = (object_means(split.responses, split.objects, names) for split in (train, val))
    alike = (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())
    found = f"reliability {reliability:.3f}, objects decoded {decoded:.3f}, object means of train and val {alike:.2f}"
    print(found)
    assert len(np.unique(train.objects)) == 64 and reliability == pytest.approx(0.82, abs=0.02), found
    assert 0.3 < decoded < 0.6 and alike > 0.4, found


def orientations(images, *, cell=16, n_bins=8):
    """Contrast energy by place and orientation: (n_images, n_features). images : (n_images, side, side)."""
    dy, dx = np.gradient(images / 255, axis=(1, 2))
    energy, side = np.hypot(dx, dy), images.shape[1] // cell
    angle = (np.arctan2(dy, dx) % np.pi * n_bins / np.pi).astype(int) % n_bins
    shape = (len(images), side, cell, side, cell)
    sums = [np.where(angle == i, energy, 0).reshape(shape).sum((2, 4)) for i in range(n_bins)]
    features = np.sqrt(np.stack(sums, -1)).reshape(len(images), -1)
    return (features - features.mean(0)) / features.std(0)


def test_what_images_show_predicts_the_means_of_objects_never_seen(whole):
    train, features = whole.train, orientations(whole.train.images[:, 0])
    predicted = np.empty(train.responses.shape)
    for fit, held_out in GroupKFold(5).split(features, groups=train.objects):
        model = Ridge(alpha=3 * features.shape[1]).fit(features[fit], train.responses[fit])
        predicted[held_out] = model.predict(features[held_out])
    names = np.unique(train.objects)
    p, y = (object_means(values, train.objects, names) for values in (predicted, train.responses))
    between = (1 - ((y - p) ** 2).sum(0) / (y**2).sum(0)).mean()
    print(f"between-object part of unseen objects from oriented contrast: {between:.2f} of its variance")
    assert between > 0.05
