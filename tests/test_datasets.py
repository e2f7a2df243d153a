"""Data files: found, read back exactly, split, cut, batched, summarised."""

from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from helpers import datasets
from helpers.__main__ import main
from helpers.analyses import best_model
from helpers.datasets import describe
from helpers.datasets.hdf5 import DataError
from helpers.datasets.images import IMAGENET, Normalisation, to_batch, training_statistics

MEAN = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
SD = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]
COUNTS = {"train": 20, "val": 10, "test": 4}


def write_file(path, *, kind="gray", size=(12, 12), n_neurons=3, objects=None, repeats=False, seed=0):
    """A small good file; returns its images as pixels of 0 to 1, float64 (n_images, 3, height, width)."""
    rng = np.random.default_rng(seed)
    n_images = sum(COUNTS.values())
    pixels = rng.integers(0, 256, (n_images, 1 if kind.startswith("gray") else 3, *size)) / 255
    if kind.endswith("float"):
        pixels = rng.uniform(0, 1, pixels.shape)
    pixels = np.broadcast_to(pixels, (n_images, 3, *size))
    objects = objects or {split: ["face0", "bear", "mug", "car_z3"] * n for split, n in COUNTS.items()}
    start = 0
    with h5py.File(path, "w") as file:
        for split, n in COUNTS.items():
            images = (pixels[start : start + n].astype(np.float32) - MEAN) / SD
            file.create_dataset(f"stimulus_{split}", data=images, chunks=(4, 3, *size), compression="gzip")
            file[f"object_{split}"] = [name.encode("latin-1") for name in objects[split][:n]]
            if split != "test":
                file[f"spikes_{split}"] = rng.normal(size=(n, n_neurons)).astype(np.float32)
            start += n
        if repeats:
            trials = rng.normal(size=(COUNTS["val"], 5, n_neurons)).astype(np.float32)
            trials[0, 3:] = np.nan
            file["spikes_val_repeats"] = trials
            file["spikes_val"][:] = np.nanmean(trials, axis=1)
    return pixels


@pytest.mark.parametrize(
    ("kind", "n_channels", "dtype"),
    [("gray", 1, np.uint8), ("colour", 3, np.uint8), ("gray float", 1, np.float32), ("colour float", 3, np.float32)],
)
def test_images_come_back_in_the_smallest_exact_form(tmp_path, kind, n_channels, dtype):
    pixels = write_file(tmp_path / "a.h5", kind=kind, size=(12, 20))
    if kind == "colour float":  # neither whole 255ths nor gray: only the user can know
        with pytest.raises(DataError, match="stimulus_train .*cannot be told"):
            datasets.load(tmp_path / "a.h5")
        assert main(["data", "declare", str(tmp_path / "a.h5"), "imagenet"]) == 0
    dataset = datasets.load(tmp_path / "a.h5")
    assert dataset.images.shape == (34, n_channels, 12, 20) and dataset.images.dtype == dtype
    found = dataset.images / (255 if dtype == np.uint8 else 1)
    np.testing.assert_allclose(np.broadcast_to(found, pixels.shape), pixels, atol=2e-7)
    with h5py.File(tmp_path / "a.h5") as file:
        batch = to_batch(torch.from_numpy(dataset.val.images), IMAGENET)
        np.testing.assert_allclose(batch.numpy(), file["stimulus_val"][()], atol=1e-4)
        np.testing.assert_array_equal(dataset.train.responses, file["spikes_train"][()])
    for split in (dataset.train, dataset.val, dataset.test):
        assert np.shares_memory(split.images, dataset.images)
    assert dataset.test.responses is None and dataset.val.repeats is None


def rewrite_images(path, change):
    with h5py.File(path, "r+") as file:
        for split in COUNTS:
            images = change(file[f"stimulus_{split}"][()])
            del file[f"stimulus_{split}"]
            file[f"stimulus_{split}"] = images


@pytest.mark.parametrize(
    ("kind", "index"),
    [("colour", slice(None)), ("gray", slice(None)), ("gray", np.s_[:, :1]), ("gray", np.s_[:, 0])],
    ids=["colour", "gray, three channels", "gray, one channel", "gray, no channel"],
)
def test_uint8_images_are_read_as_they_are(tmp_path, kind, index):
    pixels = write_file(tmp_path / "a.h5", kind=kind)
    expected = datasets.load(tmp_path / "a.h5")
    rewrite_images(tmp_path / "a.h5", lambda x: np.rint((x * SD + MEAN) * 255).astype(np.uint8)[index])
    found = datasets.load(tmp_path / "a.h5")
    np.testing.assert_array_equal(found.images, np.rint(pixels * 255)[:, : found.images.shape[1]])
    assert found.fingerprint == expected.fingerprint  # the same data in another form
    assert "uint8 pixels" in describe.check(tmp_path / "a.h5")


CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073])[:, None, None]
CLIP_SD = np.array([0.26862954, 0.26130258, 0.27577711])[:, None, None]


@pytest.mark.parametrize("kind", ["gray", "colour"])
@pytest.mark.parametrize(
    ("words", "mean", "sd"),
    [("CLIP", CLIP_MEAN, CLIP_SD), ("-1 to 1", 0.5, 0.5), ("0 to 1", 0, 1), ("0 to 255", 0, 1 / 255)],
)
@pytest.mark.parametrize("dtype", ["f4", "f2"])
def test_known_constants_are_found_by_evidence(tmp_path, kind, words, mean, sd, dtype):
    pixels = write_file(tmp_path / "a.h5", kind=kind)
    rewrite_images(tmp_path / "a.h5", lambda x: (((x * SD + MEAN) * 255).round() / 255 - mean) / sd)
    rewrite_images(tmp_path / "a.h5", lambda x: x.astype(dtype))
    found = datasets.load(tmp_path / "a.h5").images
    scale = 255 if found.dtype == np.uint8 else 1
    atol = 1e-3 if dtype == "f2" else 1e-6
    np.testing.assert_allclose(np.broadcast_to(found / scale, pixels.shape), pixels, atol=atol)
    assert words in describe.check(tmp_path / "a.h5")


@pytest.mark.parametrize("given", [["0.45", "0.3"], ["0.45"] * 3 + ["0.3"] * 3])
def test_constants_that_nobody_knows_are_declared(tmp_path, given):
    pixels = write_file(tmp_path / "a.h5", kind="colour")
    rewrite_images(tmp_path / "a.h5", lambda x: ((x * SD + MEAN) - 0.45) / 0.3)
    with pytest.raises(DataError, match="cannot be told"):
        datasets.load(tmp_path / "a.h5")
    assert main(["data", "declare", str(tmp_path / "a.h5"), "nonsense"]) == 2
    assert main(["data", "declare", str(tmp_path / "a.h5"), *given]) == 0
    np.testing.assert_allclose(datasets.load(tmp_path / "a.h5").images / 255, pixels, atol=1e-6)
    assert "constants that the file declares" in describe.check(tmp_path / "a.h5")


def test_gray_images_may_overshoot_by_two_percent(tmp_path):
    write_file(tmp_path / "a.h5", kind="gray float")
    rewrite_images(tmp_path / "a.h5", lambda x: ((x * SD + MEAN) * 1.038 - 0.019 - MEAN) / SD)
    images = datasets.load(tmp_path / "a.h5").images
    assert images.shape[1] == 1 and images.dtype == np.float32 and -0.02 < images.min() < 0
    rewrite_images(tmp_path / "a.h5", lambda x: ((x * SD + MEAN) * 1.1 - 0.05 - MEAN) / SD)
    with pytest.raises(DataError, match="stimulus_train"):
        datasets.load(tmp_path / "a.h5")


def test_optional_repeats_and_metadata(tmp_path):
    write_file(tmp_path / "a.h5", repeats=True)
    rng = np.random.default_rng(0)
    trials = rng.normal(size=(20, 4, 3)).astype(np.float32)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["spikes_train"][:] = trials.mean(axis=1)
        file["spikes_train_repeats"] = trials
        file["neurons/animal"] = [b"Tito", b"Chabo", b"Tito"]
        file["neurons/x"] = [1.0, 2.0, 3.0]
        file["images_train/variation"] = np.arange(20) % 4
    dataset = datasets.load(tmp_path / "a.h5")
    np.testing.assert_array_equal(dataset.train.repeats, trials)
    assert dataset.neurons["animal"].tolist() == ["Tito", "Chabo", "Tito"] and dataset.neurons["x"].sum() == 6
    cut = datasets.reduce(dataset, n_train=9, pixels=8)
    kept = [np.flatnonzero((dataset.train.responses == row).all(1))[0] for row in cut.train.responses]
    np.testing.assert_array_equal(cut.train.repeats, trials[kept])
    np.testing.assert_array_equal(cut.train.metadata["variation"], np.array(kept) % 4)
    assert dataset.val.metadata == {} and cut.neurons is dataset.neurons


def test_one_image_that_does_not_fit_widens_all(tmp_path):
    pixels = write_file(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["stimulus_test"][3] = (np.full((3, 12, 12), 0.3003, np.float32) * [[[1]], [[2]], [[3]]] - MEAN) / SD
    images = datasets.load(tmp_path / "a.h5").images
    assert images.dtype == np.float32 and images.shape[1] == 3
    np.testing.assert_allclose(images[:-1], pixels[:-1], atol=2e-7)
    np.testing.assert_allclose(images[-1, :, 0, 0], [0.3003, 0.6006, 0.9009], atol=2e-7)


def test_names_types_and_fingerprint(tmp_path):
    objects = {"train": ["café", "bear"] * 10, "val": ["café"] * 10, "test": ["bear"] * 4}
    write_file(tmp_path / "a.h5", objects=objects, repeats=True)
    first = datasets.load(tmp_path / "a.h5")
    assert (
        first.object_names == ["bear", "café"] and first.n_neurons == 3 and first.name == "a" and not first.is_standin
    )
    assert first.train.categories[:2].tolist() == ["café", "animals"]
    assert np.isnan(first.val.repeats[0, 3:]).all() and np.isfinite(first.val.repeats[1:]).all()
    with h5py.File(tmp_path / "a.h5", "r+") as file:  # the same contents, stored in another way
        for key, dtype in {"object_train": h5py.string_dtype(), "spikes_val": "f8", "stimulus_val": "f8"}.items():
            values = file[key].asstr("latin-1")[()].astype(object) if "object" in key else file[key][()]
            del file[key]
            file.create_dataset(key, data=values, dtype=dtype)
        file.attrs["description"] = "Simulated responses. Rankings are built in."
    second = datasets.load(tmp_path / "a.h5")
    assert second.fingerprint == first.fingerprint and second.is_standin
    assert second.train.objects.tolist() == first.train.objects.tolist() and second.val.responses.dtype == np.float32
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        counts = np.arange(60).reshape(20, 3) % 7  # integers are cast
        del file["spikes_train"]
        file["spikes_train"] = counts
    third = datasets.load(tmp_path / "a.h5")
    assert third.fingerprint != first.fingerprint
    np.testing.assert_array_equal(third.train.responses, counts.astype(np.float32))


def test_find(tmp_path, monkeypatch):
    monkeypatch.setattr("helpers.datasets.DATA", tmp_path)
    monkeypatch.delenv("IT_DATA", raising=False)
    (tmp_path / "IT_data.h5").touch()
    assert datasets.find() == tmp_path / "IT_data.h5"
    with pytest.raises(DataError, match=r"other.h5: no such file"):
        datasets.find(tmp_path / "other.h5")
    monkeypatch.setenv("IT_DATA", str(tmp_path / "third.h5"))
    with pytest.raises(DataError, match=r"third.h5: no such file .*IT_DATA"):
        datasets.find()
    assert datasets.find(tmp_path / "IT_data.h5") == tmp_path / "IT_data.h5"


def test_without_recordings_the_stand_in_is_made_once_and_announced(tmp_path, monkeypatch, capsys):
    made = []
    monkeypatch.setattr("helpers.datasets.DATA", tmp_path)
    monkeypatch.delenv("IT_DATA", raising=False)
    monkeypatch.setattr("helpers.datasets.simulated.standin.write", lambda path: (made.append(path), path.touch()))
    assert datasets.find() == datasets.find() == tmp_path / "standin.h5"
    assert made == [tmp_path / "standin.h5"] and capsys.readouterr().out.count("SIMULATED") == 2


def test_folds_hold_every_image_once_and_spread_the_objects():
    objects = np.array(["a"] * 23 + ["b"] * 10 + ["c"] * 3 + ["only one"])
    for n_folds in (2, 5, 37):
        pairs = datasets.folds(objects, n_folds, seed=3)
        assert sorted(np.concatenate([held_out for _, held_out in pairs])) == list(range(37))
        for name in np.unique(objects):
            counts = [(objects[held_out] == name).sum() for _, held_out in pairs]
            assert max(counts) - min(counts) <= 1
        sizes = [len(held_out) for _, held_out in pairs]
        assert max(sizes) - min(sizes) <= 1
        for fit, held_out in pairs:
            np.testing.assert_array_equal(np.sort(np.concatenate([fit, held_out])), np.arange(37))
    same, other = (datasets.folds(objects, 5, seed=seed)[0][1].tolist() for seed in (3, 4))
    assert same == datasets.folds(objects, 5, seed=3)[0][1].tolist() != other
    with pytest.raises(ValueError, match="38 folds of 37 images"):
        datasets.folds(objects, 38, seed=0)


def test_few_images_are_fewer_folds_for_readouts_and_for_training_alike():
    few = SimpleNamespace(train=SimpleNamespace(objects=np.array(["a", "b", "a"]), images=np.zeros((3, 1, 8, 8))))
    pairs = datasets.choosing_folds(few)
    assert sorted(held_out.tolist() for _, held_out in pairs) == [[0], [1], [2]]
    for fold, pair in enumerate(pairs):
        assert all(map(np.array_equal, datasets.fold_of(few, fold), pair))
    with pytest.raises(ValueError, match="no fold 3 of 3 training images; expected 0 to 2"):
        datasets.fold_of(few, 3)
    candidates = {name: SimpleNamespace(held_out=np.ones((1, 2))) for name in ("first", "second")}
    assert list(best_model.choose(candidates, np.zeros((1, 2)))) == ["first", "second"]  # one image has no score


def test_object_folds_hold_whole_objects():
    objects = np.random.default_rng(0).permutation(np.repeat([f"o{i}" for i in range(9)], [40, 1, 5, 5, 5, 5, 5, 5, 9]))
    pairs = datasets.object_folds(objects, 2, seed=1)
    assert sorted(np.concatenate([held_out for _, held_out in pairs])) == list(range(80))
    for fit, held_out in pairs:
        assert not set(objects[fit]) & set(objects[held_out]) and len(held_out) == 40
    with pytest.raises(ValueError, match="2 folds of 1 objects"):
        datasets.object_folds(["a"] * 5, 2, seed=0)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_to_batch_is_the_formula(n_channels):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, n_channels, 7, 9), dtype=np.uint8)
    normalisation = Normalisation((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    mean, sd = (np.array(values)[:, None, None] for values in (normalisation.mean, normalisation.sd))
    expected = (images / 255 - mean) / sd
    for stored in (images, (images / 255).astype(np.float32)):
        batch = to_batch(torch.from_numpy(stored), normalisation)
        assert batch.dtype == torch.float32 and batch.shape == (5, 3, 7, 9)
        np.testing.assert_allclose(batch.numpy(), expected, atol=1e-6)
        twice = to_batch(torch.from_numpy(stored), normalisation.twice())
        np.testing.assert_allclose(twice.numpy(), (expected - mean) / sd, atol=1e-5)


def test_shift_moves_each_image_as_a_loop_would():
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (40, 3, 8, 11), dtype=np.uint8))
    plain = Normalisation((0, 0, 0), (1, 1, 1))
    torch.manual_seed(5)
    batch = to_batch(images, plain, translation=3)
    moves = torch.randint(-3, 4, (2, 40, 1), generator=torch.Generator().manual_seed(5))[:, :, 0]
    for image, shifted, down, right in zip(images.numpy(), batch.numpy(), *moves.tolist(), strict=True):
        padded = np.pad(image, ((0, 0), (3, 3), (3, 3)), mode="edge")
        expected = padded[:, 3 - down : 11 - down, 3 - right : 14 - right]
        np.testing.assert_allclose(shifted * 255, expected, atol=1e-4)
    assert set(moves.flatten().tolist()) == set(range(-3, 4))


@pytest.mark.parametrize("kind", ["gray", "colour", "gray float"])
def test_training_statistics_are_numpys(tmp_path, kind):
    pixels = write_file(tmp_path / "a.h5", kind=kind)[:20]
    found = training_statistics(datasets.load(tmp_path / "a.h5"))
    np.testing.assert_allclose(found.mean, pixels.mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(found.sd, pixels.std(axis=(0, 2, 3)), rtol=1e-6)


def test_reduce(tmp_path):
    pixels = write_file(tmp_path / "a.h5", size=(16, 32), repeats=True)
    full = datasets.load(tmp_path / "a.h5")
    assert datasets.reduce(full, n_train=20, pixels=32) is full is datasets.reduce(full, n_train=None, pixels=None)
    cut = datasets.reduce(full, n_train=9, pixels=16)
    assert cut.images.shape == (9 + 10 + 4, 1, 8, 16) and cut.images.dtype == np.uint8
    assert sorted(np.unique(cut.train.objects, return_counts=True)[1]) == [2, 2, 2, 3]
    assert cut.fingerprint not in (full.fingerprint, datasets.reduce(full, n_train=10, pixels=16).fingerprint)
    np.testing.assert_array_equal(cut.val.repeats, full.val.repeats)
    kept = [np.flatnonzero((full.train.responses == row).all(1))[0] for row in cut.train.responses]
    assert cut.train.objects.tolist() == full.train.objects[kept].tolist()
    images = (Image.fromarray(image[0]).resize((16, 8), Image.Resampling.BILINEAR) for image in full.train.images[kept])
    assert np.abs(np.stack([np.asarray(image, int) for image in images]) - cut.train.images[:, 0]).max() <= 1
    few = datasets.reduce(full, n_train=9, pixels=32)
    np.testing.assert_allclose(few.train.images[:, 0] / 255, pixels[kept, 0], atol=1e-6)


def test_check_summarises_without_torch(tmp_path):
    write_file(tmp_path / "a.h5", repeats=True)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["stimulus_val"][2] = file["stimulus_train"][5]
    summary = describe.check(tmp_path / "a.h5")
    for part in (
        "(n_images, n_neurons) = (20, 3) train, (10, 3) val",
        "12 x 12 pixels, gray, normalised once with ImageNet",
        "4 in train (animals 1, cars 1, faces 1, other 1)",
        "3 to 5 per val image, 4.8 on average; correlation of their mean with spikes_val: 1.000",
        "above 0.95: 1 of 10",
        "warning: 1 image in both stimulus_train and stimulus_val",
    ):
        assert part in summary


def test_check_says_which_known_data_set_a_file_is(tmp_path, generator):
    facts = describe.catalogue()["course"]["facts"]
    counts = {"train": facts["n_train"], "val": 10, "test": 1}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for split, n in counts.items():
            file[f"stimulus_{split}"] = generator.integers(0, 256, (n, 8, 8), dtype=np.uint8)
            file[f"object_{split}"] = [b"mug"] * n
            if split != "test":
                file[f"spikes_{split}"] = generator.normal(size=(n, facts["n_neurons"])).astype(np.float32)
        for fact in facts["averages"]:
            file["spikes_train"][fact["row"], :3], file["spikes_train"][fact["row"], -3:] = fact["first"], fact["last"]
    assert "known: the responses of the course's file" in describe.check(tmp_path / "a.h5")
    write_file(tmp_path / "b.h5")
    assert "\nknown:" not in describe.check(tmp_path / "b.h5")
