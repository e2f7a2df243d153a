"""The report on one A4 page, by typst: question, answer, comparison table, layer figure, exploration, limits, stamp."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import typst

from helpers import models
from helpers.training import write_whole

ACCIDENT = "random weights, for want of pretrained ones"
TEMPLATE = Path(__file__).with_suffix(".typ")
LAYERS = "layers_narrow.png", "Explained variance by layer of a frozen network, with trained and with random weights."
EXPLORATION = (
    "exploration.png",
    "One neuron: predicted against measured responses, tuning by category, rank, and the images that drive it.",
)


def by_recipe(table):
    """The rows of a results table that were run, a line each: explained variance by either recipe, weights, cost.

    Parameters
    ----------
    table : results table of `tables.results_table`, or the CSV that notebook 4 made of it

    Returns
    -------
    pandas.DataFrame
        Index row; text in columns stage, published recipe, repaired recipe (mean [95 % interval]), weights and
        seconds a run.
    """
    ran = table[np.isfinite(table["explained_variance"].astype(float))]
    lines = {}
    for row, recipes in ran.groupby("row", sort=False):
        first = recipes.iloc[0]
        line = {"stage": str(first["stage"]), "published recipe": "", "repaired recipe": ""}
        line |= {f"{recipe['recipe']} recipe": score(recipe) for recipe in recipes.to_dict("records")}
        line["weights"] = first["weights"] if first["weights"] == models.RANDOM else "ImageNet"
        if first["state"].startswith("run from random"):
            line["weights"] = ACCIDENT
        line["seconds a run"] = f"{recipes['seconds'].mean():.0f}"
        lines[row] = line
    frame = pd.DataFrame.from_dict(lines, orient="index")
    frame.index.name = "row"
    return frame


def score(line):
    """Explained variance and its interval as text. line : mapping with explained_variance, low, high."""
    return "{:z.2f} [{:z.2f}, {:z.2f}]".format(*(line[key] for key in ("explained_variance", "low", "high")))


def content(folder, *, title, question):
    """What the page shows, from the files that notebook 4 left in a folder: a dict of text, for the template."""
    folder = Path(folder)
    answer = json.loads((folder / "answer.json").read_text())
    trained = by_recipe(pd.read_csv(folder / "results.csv"))
    readouts = pd.read_csv(folder / "combined.csv", index_col=0)
    rows = [
        [row + (" †" if line["weights"] == ACCIDENT else ""), line["published recipe"], line["repaired recipe"]]
        for row, line in trained.iterrows()
    ]
    return answer | {
        "title": title,
        "question": question,
        "trained": rows,
        "readouts": [[name, score(line)] for name, line in readouts.iterrows()],
        "caption": "Explained variance on val (share of variance), mean over neurons and seeds, 95 % interval."
        + (f" † {ACCIDENT}." if (trained["weights"] == ACCIDENT).any() else ""),
        "layers": dict(zip(("file", "alt"), LAYERS, strict=True)),
        "exploration": dict(zip(("file", "alt"), EXPLORATION, strict=True)),
    }


def write(folder, *, title, question):
    """Write `report.pdf` into the folder that holds notebook 4's answer.json, results.csv, combined.csv and figures.

    The same content makes the same bytes. Typst's own fonts are used, so the page looks alike on every machine.

    Returns
    -------
    Path of the PDF.
    """
    folder = Path(folder).resolve()
    text = json.dumps(content(folder, title=title, question=question), allow_nan=False)
    document = {"input": TEMPLATE.read_bytes(), "root": folder, "sys_inputs": {"content": text}}
    page = typst.compile(**document, ignore_system_fonts=True, timestamp=0)
    write_whole(folder / "report.pdf", lambda path: path.write_bytes(page))
    return folder / "report.pdf"
