"""What others published on the course's recordings, and what is wrong with it: facts from public repositories, as data.

Nothing here is computed, and no difference is taken from it: splits and metrics are not the same everywhere.
"""

import re

import pandas as pd

from helpers.experiments.networks_and_recipes import PUBLISHED_TABLE

TEAM = "MetthewB/NX-414-Team-16"  # whose rows are run here by both recipes
SOURCES = ("team 16", "other teams", "other teams, R²")  # who reports, and by what
IT_SCORES = PUBLISHED_TABLE.with_name("published_it_results.csv")
FAULTS = PUBLISHED_TABLE.with_name("faults.csv")
FROZEN = r"(?P<model>.+?)(?: (?P<layer>conv1|layer\d|avgpool))?: (?P<method>.+)"  # a stage-0 row's name
COLUMNS = ["repository", "model", "layer", "method", "report", "explained_variance", "correlation", "metric", "split"]
# What was done, by how a line's model and method begin; the first that fits.
APPROACHES = {
    "pixels": r"Pixels",
    "frozen, random weights": r"Random .*\|frozen",
    "frozen, pretrained": r".*\|frozen",
    "shallow CNN": r"(?:Shallow|Deeper) CNN",
    "two objectives": r"Two objectives",
    "fine-tuned": r"",
}


def it_scores():
    """Published scores of models of the course's IT neurons, a line each: a frame with `COLUMNS` and where it stands.

    layer : empty for a network that was trained. report : "first" or "rerun" where one row has two. metric : EV
    (explained variance) or R2. split : "course val", or what else is said of the images scored. Sorted by repository,
    in each the highest first. They stand in a block of their own.
    """
    text = ["model", "layer", "method", "metric", "split"]
    others = pd.read_csv(IT_SCORES).fillna(dict.fromkeys(text, ""))
    scores = pd.concat([_team_scores(), others], ignore_index=True).fillna({"report": ""})
    order = ["repository", "explained_variance"]
    return scores.sort_values(order, ascending=[True, False], kind="stable", ignore_index=True)[[*COLUMNS, "where"]]


def by_approach(scores):
    """What `plots.published` draws of `it_scores`: they with what was done (`APPROACHES`) and who reports by what."""
    words = scores["model"] + "|" + scores["method"]
    approach = [next(name for name, begins in APPROACHES.items() if re.match(begins, text)) for text in words]
    others = scores["metric"].map({"EV": SOURCES[1], "R2": SOURCES[2]})
    source = others.mask(scores["repository"] == TEAM, SOURCES[0])
    return scores.assign(approach=approach, source=pd.Categorical(source, SOURCES))


def _team_scores():
    """Both reports of the published table's rows, in the columns of `it_scores`."""
    table, lines = pd.read_csv(PUBLISHED_TABLE), []
    for report, prefix in (("first", ""), ("rerun", "rerun_")):
        named = {f"{prefix}{score}": score for score in ("explained_variance", "correlation")}
        lines.append(table[["stage", "row", "source", *named]].rename(columns=named).assign(report=report))
    scores = pd.concat(lines, ignore_index=True).dropna(subset="explained_variance")
    parts = scores["row"].str.extract(FROZEN).fillna("")
    frozen = scores["stage"] == 0
    scores["report"] = scores["report"].mask(frozen, "")
    scores["model"] = parts["model"].where(frozen, scores["row"])
    scores["layer"] = parts["layer"].where(frozen, "")
    method = parts["method"].where(parts["layer"] == "", "frozen; " + parts["method"])
    scores["method"] = method.where(frozen, "trained")
    return scores.rename(columns={"source": "where"}).assign(repository=TEAM, metric="EV", split="course val")


def faults():
    """Faults of the published study that reading finds, without data.

    A frame with columns fault, rows (which rows it touches), repository, where (it stands there), effect (on the
    number) and repaired (how the repaired row differs).
    """
    return pd.read_csv(FAULTS)
