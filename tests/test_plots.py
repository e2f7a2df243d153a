"""Figures draw what is defined and compared, and say of the rest why it has no mark."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from helpers import notebook, plots
from helpers.metrics import Interval


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


@pytest.fixture
def table():
    """Four rows: two that may be compared, one that was cut, one that was not run."""
    line = {"stage": 2, "weights": "PyPI", "low": 0.2, "high": 0.4, "explained_variance": 0.3, "seeds": 2}
    line |= {"label_weight": 1.0, "object_accuracy": 0.5, "seconds": 9.0, "refused": None, "state": "run"}
    line |= {"published_explained_variance": 0.4, "published_rerun_explained_variance": None}
    lines = [
        line | {"name": "a", "row": "A", "recipe": "published"},
        line | {"name": "b", "row": "A", "recipe": "repaired", "low": np.nan, "high": np.nan},
        line | {"name": "c", "row": "B", "recipe": "published", "refused": "3 of 15 epochs"},
        {"name": "d", "row": "B", "recipe": "repaired", "stage": 2, "state": "python -m helpers run d"},
    ]
    frame = pd.DataFrame(lines)
    return frame.assign(label=frame["row"], approach=frame["recipe"] + " recipe")


def texts(ax):
    return [text.get_text() for text in ax.texts]


def dots(ax):
    """Where single dots stand that belong to no legend: (x, y)."""
    single = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata()) == 1]
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in single]


def test_the_comparison_has_no_mark_for_a_row_that_was_cut(table):
    scores = pd.DataFrame({"name": ["a", "a", "b", "b"], "seed": [0, 1] * 2, "explained_variance": [0.29, 0.31] * 2})
    ax = plots.strip(table, scores, ceiling=0.8)
    assert [x for x, _ in dots(ax)] == [0.3, 0.3]
    assert {"published recipe: 3 of 15 epochs", "repaired recipe: not run"} <= set(texts(ax))


def test_differences_that_are_not_compared_say_why():
    lines = [("x", 0.2, 0.1, 0.3, "higher"), ("y", 0.2, np.nan, np.nan, "cannot be decided")]
    lines.append(("z", np.nan, np.nan, np.nan, "not compared: 3 of 15 epochs"))
    ax = plots.differences(pd.DataFrame(lines, columns=["comparison", "difference", "low", "high", "verdict"]))
    assert texts(ax) == ["not compared: 3 of 15 epochs"]
    faces = [line.get_markerfacecolor() for line in ax.lines if line.get_marker() == "o"]
    assert faces[:2] == ["black", "white"]  # an interval that is not defined decides nothing


def test_an_interval_is_drawn_where_it_is():
    found = {"pixels": Interval(0.1, 0.05, 0.2), "lite0: sum of blocks": Interval(0.4, 0.3, 0.5)}
    found = pd.DataFrame(found.values(), index=list(found))
    ax = plots.interval_rows(found, ceiling=0.9)
    assert dots(ax) == [(0.1, 0.0), (0.4, -1.0)]
    bars = [line.get_xdata() for line in ax.lines if line.get_marker() == "None" and len(line.get_xdata()) == 2]
    assert [0.05, 0.2] in [list(bar) for bar in bars] and "noise ceiling" in ax.get_legend_handles_labels()[1]
    ax = plots.interval_rows(found.loc[["pixels"]], ceiling=0.9)
    assert "noise ceiling 0.90, off the axis" in ax.get_legend_handles_labels()[1]


def test_one_wide_interval_does_not_squeeze_the_others():
    found = [Interval(0.1, -3.0, 5.0), Interval(0.2, 0.1, 0.3), Interval(0.4, 0.35, 0.45)]
    ax = plots.interval_rows(pd.DataFrame(found, index=["a", "b", "c"]))
    assert 0.45 < ax.get_xlim()[1] < 0.6 and -0.1 < ax.get_xlim()[0] < 0
    assert texts(ax) == ["-3.00 to 5.00"]
    ax = plots.interval_rows(pd.DataFrame(found, index=["a", "b", "c"]), ceiling=0.7)
    assert 0.7 < ax.get_xlim()[1] < 0.9  # the ceiling is in view
    frame = pd.DataFrame(found, index=["a", "b", "c"]).assign(dots=[(-1.2, 1.4), (), ()])
    assert plots.interval_rows(frame).get_xlim()[0] < -1.2  # and so are seeds


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_layers_without_a_score_are_no_reason_to_fail():
    scores = pd.DataFrame({"stage 1 of 2": np.full(3, np.nan), "stage 2 of 2": np.array([0.1, 0.2, np.nan])})
    ax = plots.layer_violins({"trained weights": scores, "random weights": scores}, ceiling=0.8)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [np.nan, 0.15])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["stage 1\nof 2", "stage 2\nof 2"]
    assert texts(plots.distribution(scores["stage 1 of 2"], xlabel="", what="neurons")) == ["undefined"]


def test_the_learning_curve_has_a_line_and_intervals_per_approach():
    frame = pd.DataFrame({"approach": ["shallow CNN", "lite0 readout"] * 2, "n_train": [10, 10, 100, 100]})
    frame = frame.assign(explained_variance=[0.1, 0.2, 0.3, 0.4], low=[0.0, 0.1, 0.2, 0.3], high=[0.2, 0.3, 0.4, 0.5])
    ax = plots.learning_curve(frame, ceiling=np.array([0.7, np.nan]))
    drawn = [list(container.lines[0].get_ydata()) for container in ax.containers]
    assert drawn == [[0.1, 0.3], [0.2, 0.4]] and all(container.has_yerr for container in ax.containers)


def test_the_ladder_has_a_panel_per_data_set_and_the_numbers_beside_it():
    frame = pd.DataFrame({"model": ["pixels", "best model"], "approach": ["pixels", "best model"], "ceiling": 0.8})
    frame = frame.assign(estimate=[0.1, 0.6], low=[0.0, 0.5], high=[0.2, 0.7], seeds=["", "0.59 0.61"])
    axes = plots.ladder({"a": frame, "b": frame.iloc[1:]})
    assert [sorted(x for x, _ in dots(ax)) for ax in axes] == [[0.1, 0.6], [0.6]]
    assert {"0.10", "0.60", "ceiling"} == set(texts(axes[0]))
    assert axes[0].get_yticklabels()[0].get_text() == "best model"


def test_lines_by_depth_are_dashed_for_the_published_regression():
    line = {"network": "lite0", "depth": [0.0, 1.0], "explained_variance": [0.1, 0.3]}
    ax = plots.depth(pd.concat(pd.DataFrame(line | {"kind": kind}) for kind in plots.KINDS), ceiling=0.8)
    drawn = {line.get_color(): line.get_linestyle() for line in ax.lines if len(line.get_xdata()) == 2}
    published = drawn.pop(plots.COLOURS["published recipe"])
    assert published == "--" and {drawn[plots.COLOURS[of]] for of in ("readout", "random weights")} == {"-"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lite0: best single block", "best single layer, Lite0"),
        ("lite0 + lite1 + lite2: sum of blocks", "all-layers kernel ridge, 3 networks"),
        ("lite0-published", "Lite0 fine-tuned, published recipe"),
        ("lite0-repaired, located", "Lite0 fine-tuned, receptive fields"),
        ("mean of vit-tiny-repaired, located and pixels", "mean of ViT-tiny fine-tuned (receptive fields) and pixels"),
        (
            "mean of lite0-repaired + lite1-repaired, located and lite0: sum of blocks",
            "mean of Lite0 + Lite1 fine-tuned (receptive fields) and all-layers kernel ridge (Lite0)",
        ),
        ("Shallow CNN: schedule alone", "Shallow CNN: schedule alone"),
        ("shallow", "shallow CNN"),
    ],
)
def test_a_model_has_one_name(name, words):
    assert plots.readable(name) == words


def test_a_layer_is_called_by_its_stage():
    layers = ["blocks.0.0", "blocks.1.0", "blocks.1.1"]
    assert list(plots.stages(layers).values()) == ["stage 1 of 2", "stage 2 of 2, block 1", "stage 2 of 2, block 2"]


def test_images_that_are_alike_are_dark_whatever_the_scale_of_their_dissimilarity():
    matrix = np.array([[0.0, 0.1, 9.0], [0.1, 0.0, 8.0], [9.0, 8.0, 0.0]])
    axes = plots.dissimilarities({"neurons": matrix, "model": 10 * matrix}, np.array(["a", "a", "b"]))
    drawn = [np.asarray(ax.images[0].get_array()) for ax in axes]
    np.testing.assert_array_equal(*drawn)
    assert drawn[0].min() == drawn[0][0, 0] and drawn[0].max() == drawn[0][0, 2]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["a", "b"]


@pytest.mark.parametrize("of_data", [True, False])
def test_a_figure_of_other_numbers_than_the_data_sets_is_not_called_simulated(of_data, tmp_path):
    study = notebook.Study(SimpleNamespace(path=Path("a.h5")), None, tmp_path, 1, "", "Simulated.")
    ax = plots.new_axis(None)
    study.save(ax, "a", "Dots.", of_data=of_data)
    assert ("Simulated." in ax.figure.texts[0].get_text()) == of_data and (tmp_path / "a.png").exists()
