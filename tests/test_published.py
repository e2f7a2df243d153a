"""What others published: every number of both tables, by repository, with its metric and split; faults name rows."""

import numpy as np
import pandas as pd
import pytest

from helpers import plots
from helpers.experiments import networks_and_recipes
from helpers.report import published

SCORES = ("explained_variance", "rerun_explained_variance")


def test_published_it_scores_hold_every_number_of_both_tables_once():
    scores = published.it_scores()
    own, others = pd.read_csv(networks_and_recipes.PUBLISHED_TABLE), pd.read_csv(published.IT_SCORES)
    numbers = [own["explained_variance"], own["rerun_explained_variance"], others["explained_variance"]]
    expected = pd.concat(numbers).dropna()
    assert sorted(scores["explained_variance"]) == sorted(expected)
    assert not scores.duplicated(["repository", "model", "layer", "method", "report", "explained_variance"]).any()
    assert scores["repository"].nunique() == 8 and scores.drop(columns="correlation").notna().all(axis=None)
    assert set(scores["metric"]) == {"EV", "R2"} and "course val" in set(scores["split"])

    best = scores.loc[scores["explained_variance"].idxmax()]
    assert (best["model"], best["explained_variance"]) == ("Swin-T with a ResNet50 stem", 0.5015)
    layers = scores[(scores["repository"] == published.TEAM) & (scores["model"] == "ResNet50")]
    assert set(layers["layer"]) == {"conv1", "layer1", "layer2", "layer3", "layer4", "avgpool"}
    reports = scores[scores["model"] == "ResNet50 fine-tuned"].set_index("report")["explained_variance"]
    assert reports.to_dict() == pytest.approx({"first": 0.4467, "rerun": 0.4231})


def test_the_figure_has_a_dot_per_published_number_by_what_was_done():
    frame = published.by_approach(published.it_scores())
    of = frame.set_index("model")["approach"]
    assert of["Pixels"].eq("pixels").all() and of["Random ResNet50"].eq("frozen, random weights").all()
    assert set(of["ResNet50"]) == {"frozen, pretrained", "fine-tuned"} and of["DINOv2"] == "frozen, pretrained"
    assert of["Deeper CNN"] == "shallow CNN" and of["ViT-base fine-tuned"].eq("fine-tuned").all()
    ax = plots.published(frame)
    drawn = np.concatenate([points.get_offsets()[:, 0] for points in ax.collections])
    np.testing.assert_allclose(np.sort(drawn), np.sort(frame["explained_variance"]))


def test_faults_say_where_they_stand_and_quote_the_published_table():
    faults = published.faults()
    assert list(faults) == ["fault", "rows", "repository", "where", "effect", "repaired"] and faults.notna().all(
        axis=None
    )
    own = networks_and_recipes.published_rows()
    rounded = {f"{abs(own[row][score]):.3f}".lstrip("0") for row in own for score in SCORES if own[row][score]}
    quoted = faults["effect"].str.findall(r"(?<!\d)\.\d{3}").explode().dropna()
    assert len(quoted) > 10 and set(quoted) <= rounded
