"""The report on one A4 page, by typst: question, answer, comparison table, layer figure, exploration, limits, stamp."""

import json
from pathlib import Path

import pandas as pd
import typst

from helpers.analyses import tables
from helpers.cache import write_whole
from helpers.report import summary

TEMPLATE = Path(__file__).with_suffix(".typ")
LAYERS = "layers_narrow.png", "Explained variance by layer of a frozen network, with trained and with random weights."
EXPLORATION = (
    "exploration.png",
    "One neuron: predicted against measured responses, tuning by category, rank, and the images that drive it.",
)


def content(folder, *, title, question):
    """What the page shows, from the files that notebook 4 left in a folder: a dict of text, for the template."""
    folder = Path(folder)
    answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    results = pd.read_csv(folder / "results.csv")
    trained = summary.by_recipe(results.dropna(subset="explained_variance"))
    readouts = pd.read_csv(folder / "combined.csv", index_col=0)
    rows = [
        [row + (" †" if line["weights"] == tables.ACCIDENT else ""), line["published recipe"], line["repaired recipe"]]
        for row, line in trained.iterrows()
    ]
    return answer | {
        "title": title,
        "question": question,
        "trained": rows,
        "readouts": [[name, tables.score(line)] for name, line in readouts.iterrows()],
        "caption": "Explained variance on val (share of variance), mean over neurons and seeds, 95 % interval."
        + (f" † {tables.ACCIDENT}." if (trained["weights"] == tables.ACCIDENT).any() else ""),
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
