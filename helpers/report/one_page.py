"""The report on one A4 page, by typst: question, answer, tables, two figures, faults, a few words, limits, stamp."""

import json
import re
from pathlib import Path

import pandas as pd
import typst

from helpers.analyses import tables
from helpers.cache import write_whole
from helpers.report import published

TEMPLATE = Path(__file__).with_suffix(".typ")
# Drawn at 5 and 6 inches with print of 10 points: at the template's widths no smaller than 7.
LAYERS = "depth.png", "Explained variance by depth of a layer in frozen networks, pretrained and with random weights."
RECIPES = "repaired_against_published.png", "Repaired against published recipe, network by network: paired intervals."
N_CANDIDATES = 4


def content(folder, *, title, question):
    """What the page shows, from the files that notebook 4 left in a folder: a dict of text, for the template."""
    answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    ladder = pd.read_csv(folder / "ladder.csv").iloc[::-1]
    scores = [tables.with_interval(line.estimate, line.low, line.high, "z.2f") for line in ladder.itertuples()]
    candidates = pd.read_csv(folder / "candidates.csv").head(N_CANDIDATES)
    return {
        "title": re.sub(r"^\d+\. ", "", title),
        "question": question,
        "note": answer["note"],
        "headline": answer["headline"],
        "findings": [lead(text) for text in answer["findings"]],
        "faults": "; ".join(published.faults()["fault"]),
        "last": [lead(answer["data"]), lead(answer["run"]), ["Limits.", " ".join(answer["limits"])]],
        "ladder": [list(pair) for pair in zip(ladder["model"], scores, strict=True)],
        "ceiling": tables.number(float(ladder["ceiling"].iloc[0]), ".2f"),
        "candidates": [[line[0], tables.number(line[1], ".3f")] for line in candidates.to_numpy().tolist()],
        "layers": dict(zip(("file", "alt"), LAYERS, strict=True)),
        "recipes": dict(zip(("file", "alt"), RECIPES, strict=True)),
    }


def lead(text):
    """A sentence in Markdown as its bold beginning and the rest, both plain: [beginning, rest]."""
    _, beginning, rest = text.split("**", 2)
    return [beginning, rest.strip().replace("*", "")]


def write(folder, *, title, question):
    """Write `report.pdf` into the folder that holds notebook 4's answer.json, ladder.csv, candidates.csv and figures.

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
