"""The stand-in: the course file's schema, and what was planted can be found again."""

import h5py
import numpy as np
import pytest

from helpers.datasets.hdf5 import CATEGORY_OF
from helpers.datasets.images import IMAGENET_MEAN, IMAGENET_SD
from helpers.datasets.simulated import neurons, rendering, standin

N_TRAIN, N_VAL, N_TEST = 384, 48, 48


@pytest.fixture(scope="module")
def scenes():
    return rendering.render(N_TRAIN + N_VAL + N_TEST, size=32, n_objects=24, seed=3)


def share_between(responses, objects):
    """Share of each neuron's variance that lies between object means, by the law of total variance."""
    names, index = np.unique(objects, return_inverse=True)
    means = np.stack([responses[objects == name].mean(0) for name in names])[index]
    return means.var(0) / responses.var(0)


def test_file_has_the_schema_of_the_course_file(tmp_path):
    tiny = dict(n_images=(96, 24, 24), pixels=32, n_trials=5, n_objects=8)
    path = standin.write(tmp_path / "standin.h5", **tiny)
    again = standin.write(tmp_path / "again.h5", **tiny)
    other = standin.write(tmp_path / "other.h5", **tiny, repeats=False, seed=1)
    assert path.read_bytes() == again.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.h5", "other.h5", "standin.h5"]

    with h5py.File(path) as file, h5py.File(other) as second:
        assert file.attrs["description"].startswith("Simulated responses.")
        keys = {f"{kind}_{split}" for kind in ("stimulus", "object") for split in ("train", "val", "test")}
        keys |= {"spikes_train", "spikes_val"}
        assert set(second) == keys and set(file) == keys | {"spikes_val_repeats"}
        for split, n_images in (("train", 96), ("val", 24), ("test", 24)):
            stimulus, objects = file[f"stimulus_{split}"], file[f"object_{split}"]
            assert stimulus.shape == (n_images, 3, 32, 32) and stimulus.dtype == np.float32
            assert objects.shape == (n_images,) and objects.dtype.kind == "S"
            assert {name.decode("latin-1") for name in objects[:]} <= set(CATEGORY_OF)
            pixels = 255 * (stimulus[:].transpose(0, 2, 3, 1) * IMAGENET_SD + IMAGENET_MEAN)
            assert np.abs(pixels - np.rint(pixels)).max() < 1e-3 and pixels.min() > -1 and pixels.max() < 256
            np.testing.assert_allclose(pixels[..., 0], pixels[..., 2], atol=1e-3)
        assert file["spikes_train"].shape == (96, 168) and file["spikes_train"].dtype == np.float32
        repeats = file["spikes_val_repeats"][:]
        assert repeats.shape == (24, 5, 168) and repeats.dtype == np.float32
        np.testing.assert_allclose(repeats.mean(1), file["spikes_val"][:], atol=1e-5)
        assert not np.array_equal(file["stimulus_val"][:], second["stimulus_val"][:])


def test_nothing_is_left_of_a_file_that_failed(tmp_path, monkeypatch):
    def fail(file, key, pixels):
        raise OSError("disk full")

    monkeypatch.setattr(standin, "write_images", fail)
    with pytest.raises(OSError, match="disk full"):
        standin.write(tmp_path / "standin.h5", n_images=(16, 8, 8), pixels=16, n_trials=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("planted", [0.0, 0.35, 0.5])
def test_planted_label_share_is_recovered(scenes, planted):
    simulated = neurons.simulate(scenes, n_train=N_TRAIN, label_share=planted, local_share=0.2, n_trials=4)
    found = share_between(simulated.responses, scenes.objects)
    assert found.mean() == pytest.approx(planted, abs=0.02)
    np.testing.assert_allclose(found, simulated.label_share, atol=0.05)  # rates cut off at zero move a few neurons

    total = simulated.label + simulated.local + simulated.view
    assert np.mean(simulated.local.var(0) / total.var(0)) == pytest.approx(0.2, abs=0.01)
    with pytest.raises(ValueError, match="shares"):
        neurons.simulate(scenes, n_train=N_TRAIN, label_share=0.9, local_share=0.2)


def test_marginals_and_reliability(scenes):
    simulated = neurons.simulate(scenes, n_train=N_TRAIN)
    average = simulated.trials.mean(1)
    np.testing.assert_allclose(average[:N_TRAIN].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(average[:N_TRAIN].std(0), 0.37, atol=1e-5)

    halves = simulated.trials[:, ::2].mean(1), simulated.trials[:, 1::2].mean(1)
    r = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(halves[0].T, halves[1].T, strict=True)])
    reliability = 2 * r / (1 + r)  # Spearman-Brown: from half of the trials to all
    assert reliability.mean() == pytest.approx(0.82, abs=0.02)
    np.testing.assert_allclose(reliability, simulated.reliability, atol=0.12)
    # The trial average scatters about the noise-free response as the reliability says.
    assert np.mean((average - simulated.responses).var(0) / average.var(0)) == pytest.approx(0.18, abs=0.02)


def test_a_fifth_of_the_images_shows_each_object_in_one_fixed_view(scenes):
    assert scenes.fixed.mean() == pytest.approx(0.2, abs=0.03)
    for name in np.unique(scenes.objects):
        some = scenes.fixed & (scenes.objects == name)
        for varying in (scenes.yaw, scenes.pitch, scenes.span, scenes.position, scenes.light):
            assert len(np.unique(varying[some], axis=0)) <= 1
        assert len(np.unique(scenes.pixels[some], axis=0)) == some.sum()  # before different backgrounds
