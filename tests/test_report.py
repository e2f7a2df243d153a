"""The report: one sheet of A4 with text that a reader of PDFs finds, pages that open without a network."""

import base64
import io
import json
import re
import zlib

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers import notebook
from helpers.analyses import tables
from helpers.report import notebooks, one_page, summary

OPENING = {"title": "What predicts IT?", "question": "How much, and by which networks?"}


def pdf_text(pdf):
    """The text of a PDF of typst's, without spaces: glyphs of the page's stream by the fonts' tables of characters."""
    objects = {int(n): body for n, body in re.findall(rb"(\d+) 0 obj\s(.*?)endobj", pdf, re.S)}

    def stream(n):
        return zlib.decompress(objects[n].partition(b"stream")[2].strip(b"\r\n"))

    def referred(pattern, text):
        return int(re.search(pattern + rb"\s+(\d+) 0 R", text)[1])

    page = next(body for body in objects.values() if re.search(rb"/Type\s*/Page\b", body))
    resources = objects[referred(rb"/Resources", page)] if b"/Resources <<" not in page else page
    characters = {}
    for font, n in re.findall(rb"/(f\d+)\s+(\d+) 0 R", resources):
        pairs = re.findall(rb"<(\w{4})> <(\w+)>\n", stream(referred(rb"/ToUnicode", objects[int(n)])))
        characters[font] = {int(glyph, 16): bytes.fromhex(text.decode()).decode("utf-16-be") for glyph, text in pairs}
    text, font = "", None
    for name, glyphs in shown(stream(referred(rb"/Contents", page))):
        font = name or font
        text += "".join(characters[font][glyph] for glyph in np.frombuffer(glyphs, ">u2").tolist())
    return "".join(text.split())


def shown(content):
    """Fonts that a page's stream sets and strings that it shows, in turn: pairs (name, b"") or (None, bytes)."""
    letters = dict(zip(b"nrtbf", b"\n\r\t\b\f", strict=True))
    at = 0
    while start := re.compile(rb"/(f\d+) [\d.]+ Tf|(?<![A-Za-z])\(").search(content, at):
        at, depth, found = start.end(), 1, bytearray()
        if start[1]:
            yield start[1], b""
            continue
        while depth:  # parentheses that match need no backslash
            token = re.compile(rb"\\([0-7]{3})|\\(.)|(.)", re.S).match(content, at)
            at = token.end()
            depth += {b"(": 1, b")": -1}.get(token[3], 0)
            code = int(token[1], 8) if token[1] else (token[2] or token[3])[0]
            found.append(letters.get(code, code) if token[2] else code)
        yield None, bytes(found[:-1])


def pictures(folder):
    for name, size in ((one_page.LAYERS[0], (4.4, 4.6)), (one_page.EXPLORATION[0], (12, 8.5))):
        figure, ax = plt.subplots(figsize=size)
        ax.plot([0, 1])
        figure.savefig(folder / name, dpi=50)
        plt.close(figure)


def outcome(folder, *, n_rows, name):
    """What notebook 4 leaves in a folder: n_rows trained rows by two recipes, names of any length."""
    line = {"stage": 1, "explained_variance": 0.1234, "low": -0.001, "high": 0.2, "weights": "random"}
    line |= {"seconds": 3.0, "epochs": 3.0, "n_train": 9.0, "seeds": 1.0, "pixels": "8x8"}
    lines = [
        line | {"row": f"{name} {i}", "recipe": recipe, "state": "run"}
        for i in range(n_rows)
        for recipe in ("published", "repaired")
    ]
    lines.append({"stage": 2, "row": "left out", "recipe": "repaired", "state": "python -m helpers run"})
    pd.DataFrame(lines).to_csv(folder / "results.csv", index=False)
    pd.DataFrame([line], index=["pixels"]).to_csv(folder / "combined.csv")
    answer = {
        "note": "Simulated responses.",
        "sentences": ["The best model explains 0.44 of the variance.", "Recipes: 0.06 & <0.41>.", "#3 *of* 25 fit."],
        "data": "standin.h5. IT recordings: not run here.",
        "run": "Profile quick; 2026-11-24.",
        "limits": "One seed.",
    }
    (folder / "answer.json").write_text(json.dumps(answer))
    pictures(folder)
    return answer


@pytest.mark.parametrize(("n_rows", "name"), [(3, "ResNet50"), (60, "A network with a name that goes on and on, and")])
def test_report_is_one_page_whose_text_is_found(tmp_path, n_rows, name):
    answer = outcome(tmp_path, n_rows=n_rows, name=name)
    path = one_page.write(tmp_path, **OPENING)
    pdf = path.read_bytes()
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1
    width, height = np.array(re.search(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", pdf).groups(), float) / 72 * 25.4
    assert (round(width), round(height)) == (210, 297)
    found = pdf_text(pdf)
    for words in [*answer["sentences"], answer["note"], answer["data"], answer["run"], *OPENING.values()]:
        assert "".join(words.split()) in found
    assert found.count("0.12[0.00,0.20]") == 2 * n_rows + 1
    assert "leftout" not in found
    assert len(re.findall(rb"/Subtype\s*/Image\b", pdf)) >= 2

    assert one_page.write(tmp_path, **OPENING).read_bytes() == pdf


def test_rows_by_recipe_say_whose_weights_were_missing():
    line = {
        "explained_variance": 0.5,
        "low": 0.4,
        "high": 0.6,
        "seconds": 2.4,
        "epochs": 3.0,
        "n_train": 9.0,
        "seeds": 3.0,
        "stage": 2,
        "pixels": "8x8",
    }
    table = pd.DataFrame(
        [
            line | {"row": "a", "recipe": "repaired", "weights": "PyPI some-package (ImageNet)", "state": "run"},
            line | {"row": "b", "recipe": "published", "weights": "random", "state": "run from random weights"},
            line | {"row": "b", "recipe": "repaired", "weights": "random", "state": "run", "seeds": 1.0},
            line | {"row": "cut", "recipe": "repaired", "weights": "a", "state": "run", "refused": "2 of 3 epochs"},
            {"row": "c", "recipe": "published", "stage": 2, "state": "python -m helpers run c"},
        ]
    )
    frame = summary.by_recipe(table)
    assert frame.loc["a"].tolist() == ["2", "", "0.50 [0.40, 0.60]", "3", "ImageNet (PyPI)", "3 x 9", "8x8", "2"]
    alone = "0.50 [0.40, 0.60], over images alone"
    assert frame.loc["b"].tolist() == ["2", "0.50 [0.40, 0.60]", alone, "3, 1", tables.ACCIDENT, "3 x 9", "8x8", "2"]
    assert frame.loc["c"].tolist() == ["2", tables.NOT_RUN, "", "", "", "", "", ""]
    assert frame.loc["cut", "repaired recipe"] == "not compared: 2 of 3 epochs"


def test_pages_describe_pictures_wrap_and_load_nothing(tmp_path):
    picture = io.BytesIO()
    plt.imsave(picture, np.zeros((2, 2)))
    output = new_output("display_data", {"image/png": base64.b64encode(picture.getvalue()).decode()})
    described = new_notebook(
        cells=[
            new_markdown_cell("# A title\n\n**Question.** Why\nnow?"),
            new_markdown_cell("## Layers\n\nRidge from each `block`, see [there](https://example.org)."),
            new_code_cell("draw()", outputs=[output], metadata={"tags": ["hide-input"]}),
        ]
    )
    assert notebooks.opening(described) == {"title": "A title", "question": "Why now?"}
    notebooks.render(described, tmp_path / "page.html", code=False)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert re.findall(r'<img[^>]*alt="([^"]*)"', page) == ["Layers. Ridge from each block, see there."]
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=.https?:", page)
    assert notebooks.STYLE in page
    assert "image/png" in described.cells[2].outputs[0].data  # the notebook itself is left alone


def test_widgets_are_not_stored(tmp_path):
    path = tmp_path / "9_widget.ipynb"
    cells = [new_code_cell("import ipywidgets"), new_code_cell("ipywidgets.IntSlider()", metadata={"tags": ["widget"]})]
    nbformat.write(new_notebook(cells=cells), path)
    executed = notebooks.execute(path)
    assert executed.cells[1].outputs == []
    assert "widgets" not in executed.metadata


def test_two_data_files_of_one_name_have_a_folder_each(tmp_path, monkeypatch):
    monkeypatch.setattr(notebook, "ROOT", tmp_path / "project")
    files = [tmp_path / place / "lab.h5" for place in ("A", "B", "project/data")]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    folders = [notebook.folder_for(path, tmp_path / "report") for path in files]
    assert len(set(folders)) == 3 and folders[2] == tmp_path / "report" / "lab"
    assert [notebook.folder_for(path, tmp_path / "report") for path in files] == folders
    assert notebook.folder_for(tmp_path / "A" / "other.h5", tmp_path / "report") == tmp_path / "report" / "other"
