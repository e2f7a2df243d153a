"""The object part of predictions against loops and planted effects; shuffled labels change nothing but the pairing."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from helpers import datasets
from helpers.analyses import labels
from helpers.datasets.hdf5 import CATEGORY_OF
from helpers.datasets.simulated import neurons, rendering, standin
from helpers.experiments import runs
from helpers.experiments.networks_and_recipes import EXPERIMENTS
from helpers.experiments.profiles import PROFILES


def test_object_mean_prediction_with_an_unseen_object():
    prediction = labels.object_mean_prediction([[1], [3], [8]], np.array(["a", "a", "b"]), np.array(["b", "a", "new"]))
    assert_array_equal(prediction, [[8], [2], [4]])


def test_the_object_part_of_an_image_is_the_mean_of_the_others_of_its_object():
    objects = np.array(list("abacabd"))
    predictions = np.random.default_rng(0).standard_normal((2, 7, 3))
    found = labels.object_part(predictions, objects)
    for i, name in enumerate(objects):
        others = [j for j in range(7) if objects[j] == name and j != i] or list(range(7))
        assert_allclose(found[:, i], predictions[:, others].mean(1))
    assert_allclose(labels.object_part(predictions[1], objects), found[1])


def test_differences_of_the_object_part_find_what_labels_taught_and_nothing_else():
    rng = np.random.default_rng(0)
    objects = np.repeat([f"object{i}" for i in range(20)], 12)
    of_object = np.repeat(rng.standard_normal((20, 5)), 12, axis=0)
    of_view = rng.standard_normal((240, 5))
    val = SimpleNamespace(responses=of_object + of_view, objects=objects)
    dataset = SimpleNamespace(val=val, train=SimpleNamespace(images=range(9)))
    info = {"name": "", "epochs": 5, "recipe_epochs": 5, "n_train": 9, "pixels": "8 x 8", "weights": "file"}

    def seeds(*parts):
        values = [sum(parts) + 0.3 * rng.standard_normal((240, 5)) for _ in range(5)]
        return [SimpleNamespace(val=val, info=info) for val in values]

    wild = rng.standard_normal((240, 5))  # a head at a scale of its own, as raw losses leave it
    # Knows the object, loses the view and the scale; knows the view alone; knows that better; knows neither.
    done = {"object": seeds(of_object, 3 * wild), "view": seeds(0.3 * of_view), "more": seeds(of_view), "none": seeds()}
    pairs = [("taught", "object", "view"), ("not taught", "more", "view"), ("nor this", "none", "view")]
    compared = labels.object_part_differences(pairs, done, dataset).set_index("comparison")
    assert compared["verdict"].tolist() == ["higher", "interval includes 0", "interval includes 0"]
    assert compared.loc["taught", "difference"] > 0.3


def test_labels_are_shuffled_and_nothing_else(tiny):
    shuffled = labels.shuffled_labels(tiny)
    assert_array_equal(np.sort(shuffled.train.objects), np.sort(tiny.train.objects))
    assert (shuffled.train.objects != tiny.train.objects).mean() > 0.5
    assert_array_equal(shuffled.train.categories, [CATEGORY_OF[name] for name in shuffled.train.objects])
    assert_array_equal(shuffled.train.images, tiny.train.images)
    assert_array_equal(shuffled.train.responses, tiny.train.responses)
    assert_array_equal(shuffled.val.objects, tiny.val.objects)
    assert shuffled.fingerprint not in (tiny.fingerprint, labels.shuffled_labels(tiny, seed=1).fingerprint)


def test_shuffling_reaches_the_network_through_its_object_head_alone(tiny, kept_runs):
    profile, shuffled = PROFILES["tiny"], labels.shuffled_labels(tiny)
    one, two = EXPERIMENTS["lite0-published"], EXPERIMENTS["lite0-bi-objective-published"]
    assert_array_equal(runs.run(one, tiny, profile).val, runs.run(one, shuffled, profile).val)
    assert np.abs(runs.run(two, tiny, profile).val - runs.run(two, shuffled, profile).val).max() > 1e-3


def test_the_planted_truth_is_what_the_benchmark_estimates(tmp_path):
    path = Path(__file__).parents[1] / "benchmarks" / "planted_truth.py"
    spec = importlib.util.spec_from_file_location("planted_truth", path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    planted = {"n_images": (64, 480, 8), "pixels": 16, "n_objects": 12}
    dataset = datasets.load(standin.write(tmp_path / "planted.h5", label_share=0.5, repeats=True, **planted))
    simulated = neurons.simulate(rendering.render(552, size=16, n_objects=12), n_train=64, label_share=0.5)
    found = benchmark.estimates(dataset, simulated)
    assert_allclose(found["found"], found["planted"], atol=benchmark.TOLERANCE)
    assert_allclose(found["planted"][:2], [0.82, 0.5], atol=0.005)
