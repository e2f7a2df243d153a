"""The explorer: its dots, means and pictures are those of the data, whatever the data; it leaves no figure open."""

import io
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.image import imread

from helpers import cache, explore, plots
from helpers.analyses import tables
from helpers.datasets.dataset import Dataset, Split
from helpers.experiments import profiles, runs, saved_model
from helpers.experiments.networks_and_recipes import EXPERIMENTS
from helpers.experiments.runs import Run


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def data(*, n_val=40, n_neurons=3, n_objects=12, channels=1, is_standin=False):
    """Image i is uniformly of gray level 2 i, and the response of neuron 0 to it is i."""
    rng = np.random.default_rng(0)
    images = np.full((n_val, channels, 16, 16), 2 * np.arange(n_val)[:, None, None, None], np.uint8)
    objects = np.array([f"object{i % n_objects}" for i in range(n_val)])
    responses = rng.normal(size=(n_val, n_neurons)).astype(np.float32)
    responses[:, 0] = np.arange(n_val)
    split = Split(images, objects, objects, responses)
    return Dataset("file.h5", "file", is_standin, "", images, split, split, split)


def runs_of(dataset, *, seeds=1):
    rng = np.random.default_rng(1)
    shape = dataset.val.responses.shape
    values = [(0.5 * dataset.val.responses + rng.normal(size=shape)).astype(np.float32) for _ in range(seeds)]
    return [Run(val, val, None, [], {}, "") for val in values]


def panels(drawn):
    return dict(zip(("responses", "tuning", "neurons", "images"), drawn.axes, strict=True))


def test_scores_and_dots():
    dataset = data()
    done = {"lite0-repaired": runs_of(dataset, seeds=3)}
    drawn = explore.figure(done, dataset, model="lite0-repaired", neuron=1, ceiling=np.array([0.1, 0.7, 0.2]))
    y, p = dataset.val.responses[:, 1], np.array([run.val[:, 1] for run in done["lite0-repaired"]])
    score, r = np.mean([1 - (y - q).var() / y.var() for q in p]), np.mean([np.corrcoef(y, q)[0, 1] for q in p])
    title = drawn.get_suptitle()
    assert f"neuron 1: explained variance {score:.2f}, correlation {r:.2f}\nnoise ceiling 0.70" in title
    identity, *groups = panels(drawn)["responses"].lines
    np.testing.assert_array_equal(identity.get_xdata(), identity.get_ydata())
    dots = np.array(sorted(pair for line in groups for pair in zip(*line.get_data(), strict=True)))
    np.testing.assert_allclose(dots, np.array(sorted(zip(y, p.mean(0), strict=True))), rtol=1e-6)


def test_tuning_is_the_mean_of_each_category():
    dataset = data(n_objects=4)
    drawn = explore.figure({"a": runs_of(dataset)}, dataset, model="a", neuron=2, ceiling=0.8)
    axis = panels(drawn)["tuning"]
    y = dataset.val.responses[:, 2]
    measured = axis.containers[0]
    shown = dict(
        zip([label.get_text() for label in axis.get_xticklabels()], measured.lines[0].get_ydata(), strict=True)
    )
    expected = {name: y[dataset.val.objects == name].mean() for name in set(dataset.val.objects)}
    assert shown == pytest.approx(expected, abs=1e-6) and list(shown) == sorted(shown, key=lambda name: -shown[name])
    low, high = measured.lines[2][0].get_segments()[0][:, 1]
    best = y[dataset.val.objects == next(iter(shown))]
    assert high - low == pytest.approx(2 * best.std(ddof=1) / best.size**0.5, rel=1e-5)


@pytest.mark.parametrize(("n_val", "n_columns"), [(40, 10), (5, 2), (2, 1)])
def test_images_are_those_with_the_highest_and_lowest_responses(n_val, n_columns):
    dataset = data(n_val=n_val)
    run = runs_of(dataset)[0]
    run.val[:, 0] = -np.arange(n_val)
    axis = panels(explore.figure({"a": [run]}, dataset, model="a", neuron=0, ceiling=0.8))["images"]
    labels = [label.get_text() for label in axis.get_yticklabels()]
    kinds = ["highest measured", "highest predicted", "lowest measured", "lowest predicted"]
    assert [label.split("\n")[0] for label in labels] == kinds
    assert labels[0].endswith(f"{n_val - 1:.2f} to {n_val - n_columns:.2f}")
    sheet = axis.images[0].get_array()
    cells = sheet.reshape(4, 18, n_columns, 18, 3)[:, 8, :, 8, 0]  # (n_rows, n_columns): a pixel inside each image
    ranks = np.arange(n_columns)
    brightest, darkest = 2 * (n_val - 1 - ranks), 2 * ranks
    expected = np.array([brightest, darkest, darkest, brightest]) / 255
    np.testing.assert_allclose(cells, expected, atol=0.5 / 31)  # the sheet has 32 grays


@pytest.mark.parametrize("sizes", [{"n_objects": 1}, {"channels": 3}, {"n_val": 4, "n_neurons": 2}, {"n_objects": 40}])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_any_data_can_be_shown(sizes):
    dataset = data(**sizes)
    done = {"a": runs_of(dataset)}
    dataset.val.responses[:, 1] = 3  # constant
    drawn = explore.figure(done, dataset, model="a", neuron=1, ceiling=np.full(dataset.n_neurons, np.nan))
    assert "constant: nothing to explain\nnoise ceiling unknown" in drawn.get_suptitle()
    explore.explore(done, dataset, 0.8)


def controls(widget):
    """Its controls by what they are called, and its picture."""
    *rows, picture = widget.children
    return {control.description: control for row in rows for control in row.children} | {"picture": picture}


def test_widget_turns_its_page_and_leaves_no_figure():
    dataset = data(is_standin=True)
    found = controls(explore.explore({"a": runs_of(dataset), "b": runs_of(dataset, seeds=2)}, dataset, 0.8))
    picture, seen = found["picture"], []
    for name, value in {"model": "b", "neuron": 1, "beside": "a"}.items():
        seen.append(bytes(picture.value))
        found["neuron"].value = 2 if name == "neuron" else found["neuron"].value
        found[name].value = value
    seen.append(bytes(picture.value))
    assert len(set(seen)) == 4 and all(value.startswith(b"\x89PNG") for value in seen)
    assert plt.get_fignums() == []
    assert {each._view_module for each in found.values()} == {"@jupyter-widgets/controls"}
    assert imread(io.BytesIO(picture.value)).shape[1] <= 900


def test_controls_go_below_each_other_where_the_page_is_narrow():
    dataset = data()
    *rows, _ = explore.explore({"a": runs_of(dataset)}, dataset, 0.8).children
    beside_the_files = 833  # pixels of an output of JupyterLab in a window of 1280
    for row in rows:
        widths = [int(control.layout.width.removesuffix("px")) + 4 for control in row.children]
        assert sum(widths) <= beside_the_files and row.layout.flex_flow == "row wrap"


@pytest.mark.parametrize("beside", [None, "lite0 + lite1 + lite2: located at two sizes"])
def test_all_words_are_inside_the_picture_and_clear_of_each_other(beside):
    dataset = data(n_val=80, n_objects=20)
    best = "best model: mean of lite0-repaired, located and lite0 + lite1 + lite2: located at two sizes"
    done = {best: runs_of(dataset), "lite0 + lite1 + lite2: located at two sizes": runs_of(dataset)}
    drawn = explore.figure(done, dataset, model=best, beside=beside, neuron=1, ceiling=0.8)
    drawn.canvas.draw()
    shown = explore.WITH_CAPTION.transformed(drawn.dpi_scale_trans)
    legends = [axis.get_legend().get_window_extent() for axis in drawn.axes if axis.get_legend()]
    title = drawn._suptitle.get_window_extent()
    boxes = [*legends, title, *(axis.xaxis.label.get_window_extent() for axis in drawn.axes)]
    assert all(shown.x0 <= box.x0 and box.x1 <= shown.x1 and box.y1 <= shown.y1 for box in boxes)
    assert not any(title.overlaps(box) for box in legends)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(legends, 2))


def test_the_best_model_has_its_colour_of_the_report():
    dataset = data()
    done = {"best model: a mean": runs_of(dataset)}
    drawn = explore.figure(done, dataset, model="best model: a mean", neuron=1, ceiling=0.8)
    assert panels(drawn)["tuning"].containers[1].lines[0].get_color() == plots.COLOURS["best model"]


def test_neurons_come_in_the_order_that_is_asked_for_and_the_neuron_stays():
    dataset = data(n_neurons=5, n_objects=4)
    ceiling = np.array([0.3, np.nan, 0.9, 0.5, 0.1])
    models = runs_of(dataset)
    for neuron, noise in enumerate((2.0, 0.1, 1.0, 0.5, 3.0)):
        y = dataset.val.responses[:, neuron]
        models[0].val[:, neuron] = y + noise * y.std() * np.where(np.arange(len(y)) % 8 < 4, 1, -1)
    found = controls(explore.explore({"a": models}, dataset, ceiling))
    assert found["neuron"].options == (1, 3, 2, 0, 4) and found["neuron"].value == 2  # the median
    found["next"].click()
    assert found["neuron"].value == 0
    found["sorted by"].value = "noise ceiling"
    assert found["neuron"].options == (2, 3, 0, 4, 1) and found["neuron"].value == 0
    found["previous"].click()
    assert found["neuron"].value == 3
    found["sorted by"].value = "preferred category"
    names = sorted(set(dataset.val.categories))
    means = [dataset.val.responses[dataset.val.categories == name].mean(0) for name in names]
    preferred = np.argmax(means, axis=0)[list(found["neuron"].options)]
    assert (np.diff(preferred) >= 0).all()


def test_two_models_stand_side_by_side():
    dataset = data()
    done = {"a": runs_of(dataset), "b": runs_of(dataset, seeds=2)}
    done["b"][0].val[:] += 1
    drawn = explore.figure(done, dataset, model="a", beside="b", neuron=1, ceiling=0.8)
    assert [line[:5] for line in drawn.get_suptitle().split("\n")[:2]] == ["1: a,", "2: b,"]
    for axis, name in zip(drawn.axes[:2], "ab", strict=True):
        dots = sorted(np.concatenate([line.get_ydata() for line in axis.lines[1:]]))
        np.testing.assert_allclose(dots, sorted(np.mean([run.val[:, 1] for run in done[name]], 0)), rtol=1e-5)
    assert len(drawn.axes[2].containers) == 3


OPENS = """
import sys
from helpers import explore

page = explore.open(sys.argv[1], profile="tiny")
assert page.children[0].children[0].value == "pixels"
assert "timm" not in sys.modules
"""


def test_it_opens_on_what_the_cache_holds_without_importing_networks(tiny, tiny_file, runs_folder, tmp_path):
    tiny_profile = profiles.PROFILES["tiny"]
    dataset = tiny_profile.prepare(tiny)
    run = runs.run(EXPERIMENTS["shallow-published"], dataset, tiny_profile)
    runs.run(EXPERIMENTS["shallow-published"], dataset, tiny_profile, held_out_fold=0)
    settings = {"row": "pixels", "kernels": [], "fit": "ridge"}
    values = {"val": dataset.val.responses, "held_out": dataset.train.responses}
    cache.cached(dataset, "readouts", "pixels", settings, lambda: values)
    cache.cached(dataset, "readouts", "objects", settings | {"folds": "objects"}, lambda: values)
    found = explore.held(dataset, tiny_profile)
    assert list(found) == ["pixels", "shallow-published"]  # the best first
    np.testing.assert_array_equal(found["shallow-published"][0].val, run.val)
    environment = os.environ | {"IT_OUT": str(tmp_path)}
    subprocess.run([sys.executable, "-c", OPENS, str(tiny_file)], check=True, cwd=cache.ROOT, env=environment)
    with pytest.raises(ValueError, match="nothing finished for .*expected `make report` first"):
        explore.open(tiny_file, profile="full")


def test_the_best_model_stands_first_by_the_predictions_that_it_was_saved_with(
    tiny, runs_folder, tmp_path, monkeypatch
):
    dataset, profile = profiles.PROFILES["tiny"].prepare(tiny), profiles.PROFILES["tiny"]
    monkeypatch.setenv("IT_OUT", str(tmp_path))
    predictions = {"val": dataset.val.responses, "test": dataset.val.responses[:3]}
    for data, expected in ((dataset.fingerprint, ["best model: a mean"]), ("other", [])):
        description = {"name": "a mean", "data": data, "profile": "tiny"}
        saved_model.Model(description, [], dataset.images[:0], predictions).save(tmp_path / "best_model")
        assert list(found := explore.held(dataset, profile)) == expected
    assert found == {} and len(list((tmp_path / "best_model").iterdir())) == 2  # the same predictions, kept


def test_a_stand_in_says_so_inside_the_picture(tmp_path):
    dataset = data(is_standin=True)
    drawn = explore.figure({"a": runs_of(dataset)}, dataset, model="a", neuron=0, ceiling=0.8)
    (caption,) = [text for text in drawn.texts if tables.SIMULATED in text.get_text().replace("\n", " ")]
    path = tmp_path / "page.png"
    path.write_bytes(explore.explore({"a": runs_of(dataset)}, dataset, 0.8).children[-1].value)
    height = imread(path).shape[0]
    inches = explore.WITH_CAPTION.height
    bottom = caption.get_window_extent().y0 / drawn.dpi - explore.WITH_CAPTION.y0
    assert 0 < bottom < inches and height == round(80 * inches)


@pytest.mark.parametrize(
    ("model", "neuron", "says"), [("b", 0, "there are a"), ("a", 3, "0 to 2"), ("a", -1, "0 to 2")]
)
def test_what_is_not_there_is_named(model, neuron, says):
    dataset = data()
    with pytest.raises(ValueError, match=says):
        explore.figure({"a": runs_of(dataset)}, dataset, model=model, neuron=neuron, ceiling=0.8)
    with pytest.raises(ValueError, match="no finished runs"):
        explore.explore({}, dataset, 0.8)
