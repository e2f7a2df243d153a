"""The report: one sheet of A4 with text that a reader of PDFs finds, pages that open without a network."""

import asyncio
import base64
import io
import json
import re
import zlib
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers import metrics, notebook
from helpers.analyses import claims, tables
from helpers.cache import ROOT
from helpers.report import evidence, notebooks, one_page, page, published, summary

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


def sizes(pdf):
    """Sizes of print that a page's streams set, in points."""
    streams = re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.S)
    texts = [zlib.decompress(body) for body in streams if body[:1] == b"x"]
    return [float(size) for text in texts for size in re.findall(rb"/f\d+ ([\d.]+) Tf", text)]


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


def outcome(folder, *, n_models, name):
    """What notebook 4 leaves in a folder: n_models approaches and candidates, names of any length."""
    for (picture, _), size in ((one_page.LAYERS, (5, 4.6)), (one_page.RECIPES, (6, 4))):
        figure, ax = plt.subplots(figsize=size)
        ax.plot([0, 1])
        figure.savefig(folder / picture, dpi=50)
        plt.close(figure)
    line = {"estimate": 0.1234, "low": -0.001, "high": 0.2, "ceiling": 0.8}
    pd.DataFrame([line | {"model": f"{name} {i}"} for i in range(n_models)]).to_csv(folder / "ladder.csv", index=False)
    candidates = pd.DataFrame({"model": [f"{name} {i}" for i in range(40)], "held-out explained variance": 0.25})
    candidates.to_csv(folder / "candidates.csv", index=False)
    answer = {
        "note": "Simulated responses.",
        "headline": "The best model predicts 44 % of the variance.",
        "findings": ["**Recipes.** 0.06 & <0.41>.", "**Claims.** #3 *of* 25 fit."],
        "data": "**Data.** standin.h5. IT recordings: not run here.",
        "run": "**Run.** Profile quick; 2026-11-24.",
        "limits": ["One seed gives no spread.", "Images, not neurons."],
    }
    (folder / "answer.json").write_text(json.dumps(answer))
    return answer


@pytest.mark.parametrize(
    ("n_models", "name"), [(3, "ResNet50"), (11, "A network with a name that goes on and on, and")]
)
def test_report_is_one_page_whose_text_is_found_and_large_enough(tmp_path, n_models, name):
    answer = outcome(tmp_path, n_models=n_models, name=name)
    path = one_page.write(tmp_path, **OPENING)
    pdf = path.read_bytes()
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1
    width, height = np.array(re.search(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", pdf).groups(), float) / 72 * 25.4
    assert (round(width), round(height)) == (210, 297)
    found = pdf_text(pdf)
    words = [
        *answer["limits"],
        "; ".join(published.faults()["fault"]),
        answer["note"],
        answer["headline"],
        "0.06 & <0.41>.",
        "#3 of 25 fit.",
        "standin.h5.",
        "2026-11-24.",
    ]
    for text in [*words, *OPENING.values()]:
        assert "".join(text.split()) in found
    assert found.count("0.12[0.00,0.20]") == n_models and found.count("0.250") == one_page.N_CANDIDATES
    assert len(re.findall(rb"/Subtype\s*/Image\b", pdf)) >= 2
    assert min(sizes(pdf)) >= 7

    assert one_page.write(tmp_path, **OPENING).read_bytes() == pdf


def test_the_best_layer_is_named_by_kind_and_depth():
    lines = [("a", "ridge, random weights", 0.0, 0.2), ("a", "ridge, random weights", 1.0, np.nan)]
    lines += [("lite0", "ridge, pretrained weights", d, s) for d, s in ((0.0, 0.1), (0.5, 0.4), (1.0, 0.3))]
    found = summary._depths(pd.DataFrame(lines, columns=["network", "kind", "depth", "explained_variance"]))
    pretrained = "at depth 0.50 of Lite0 by ridge, pretrained weights (40\xa0%)"
    assert f"lies {pretrained}; at depth 0.00 of a by ridge, random weights (20\xa0%). " in found


def test_tests_of_claims_are_counted_by_what_became_of_them():
    verdicts = ["supported", "supported (one seed)", "refuted", "untested: one network twice", claims.OPEN]
    lines = [{"claim": claim, "effect": 0.1, "verdict": v} for claim, v in zip("aabcd", verdicts, strict=True)]
    register = pd.DataFrame([*lines, {"claim": "e", "effect": np.nan, "verdict": "undecidable: not in profile"}])
    expected = "6 tests of 5 claims. Supported: 2, 1 of them by one seed (*a*). Refuted: 1 (*b*). "
    expected += "No test, as both rows are one network: 1 (*c*). Undecidable: 1. Not tested here: 1."
    assert summary._claims(register) == expected
    seen = SimpleNamespace(objects=["face"])
    dataset = SimpleNamespace(train=seen, val=seen)
    assert "Not tested here: c; e." in summary.limits(dataset, register)  # one network twice, and not in profile
    assert not any("Not tested" in limit for limit in summary.limits(dataset, register[:2]))
    assert summary._claims(register[5:]).endswith("Undecidable: 0. Not tested here: 1.")


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
    frame = summary.by_recipe(table).set_index("row")
    assert frame.loc["a"].tolist() == ["2", "", "0.50 [0.40, 0.60]", "3", "2"]
    random = f"0.50 [0.40, 0.60], {tables.ACCIDENT}"
    assert frame.loc["b"].tolist() == ["2", random, "0.50 [0.40, 0.60], over images alone", "3, 1", "2"]
    assert "c" not in frame.index  # was not run
    assert frame.loc["cut", "repaired recipe"] == "not compared: 2 of 3 epochs"


def executed():
    """A notebook as it is after its run on simulated data: a log, a picture, a wide table, an answer at its end."""
    picture = io.BytesIO()
    plt.imsave(picture, np.zeros((2, 2)))
    output = new_output("display_data", {"image/png": base64.b64encode(picture.getvalue()).decode()})
    log = new_output("stream", text="\n".join([tables.SIMULATED, *"abcdef"]))
    table = pd.DataFrame(1, index=["a"], columns=list("bcdef")).to_html()
    return new_notebook(
        cells=[
            new_markdown_cell("# A title\n\n**Question.** Why\nnow?"),
            new_code_cell("import colab", metadata={"tags": ["colab"]}),
            new_code_cell("setup()", outputs=[log], metadata={"tags": ["hide-output"]}),
            new_markdown_cell("## Layers\n\nRidge from each `block`."),
            new_code_cell("draw()", outputs=[output]),
            new_markdown_cell("**What you see.** Which [layer](https://example.org)\nis best.\n\nMore."),
            new_code_cell("sheet()", outputs=[output], metadata={"tags": ["images"]}),
            new_markdown_cell("And more.\n\n## Curve\n\nHow many?"),
            new_code_cell("curve()", outputs=[new_output("stream", text="Made by")], metadata={"tags": ["optional"]}),
            new_markdown_cell("**What you see.** It climbs.\n\n## Rows"),
            new_code_cell(
                "rows()",
                outputs=[new_output("display_data", {"text/html": table}), output],
                metadata={"tags": ["fold"]},
            ),
            new_markdown_cell("## Answer"),
            new_code_cell("answer()", outputs=[new_output("stream", text=f"{tables.SIMULATED} It is so.")]),
        ]
    )


LINKS = [("Report", "index.html"), ("With code", "code.html")]


def rendered(path, **options):
    notebook = executed()
    page.render(notebook, path, links=LINKS, **options)
    assert "image/png" in notebook.cells[4].outputs[0].data  # the notebook itself is left alone
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=.https?:", text)
    return text


def test_the_first_page_answers_first_and_says_once_that_it_is_simulated(tmp_path):
    text = rendered(tmp_path / "index.html", code=False)
    assert page.opening(executed()) == {"title": "A title", "question": "Why now?"}
    assert text.index("It is so.") < text.index("Ridge from each")
    assert text.count(tables.SIMULATED) == 1 and "draw()" not in text and "abcdef" not in text
    assert re.findall(r'<img[^>]*alt="([^"]*)"', text)[0] == "Layers. Which layer is best."
    assert "<summary>Rows: the table</summary>" in text and 'class="hint"' in text
    assert "<summary>Rows: the figure</summary><img" in text
    assert "It climbs" not in text  # nobody has made that figure yet
    assert (
        '<a href="code.html" title="With code">With code</a>' in text
        and '<span aria-current="page">Report</span>' in text
    )
    anchors = re.findall(r'<a href="#([^"]+)">', text.split('class="contents"')[1].split("</nav>")[0])
    assert anchors == ["Layers", "Rows"] and all(f'<h2 id="{anchor}"' in text for anchor in anchors)


def test_a_page_with_code_has_it_and_folds_its_log(tmp_path):
    text = rendered(tmp_path / "code.html")
    assert all(f">{word}<" in text for word in ("setup", "draw", "answer")) and "colab" not in text
    assert "<summary>Log, 7 lines</summary>" in text and "the table</summary>" not in text


def test_a_page_of_recordings_can_leave_their_images_out(tmp_path):
    assert len(re.findall("<img", rendered(tmp_path / "a.html", code=False))) == 3
    assert len(re.findall("<img", rendered(tmp_path / "b.html", code=False, images=False))) == 2


def test_widgets_are_not_stored(tmp_path):
    path = tmp_path / "9_widget.ipynb"
    cells = [new_code_cell("import ipywidgets"), new_code_cell("ipywidgets.IntSlider()", metadata={"tags": ["widget"]})]
    nbformat.write(new_notebook(cells=cells), path)
    executed = asyncio.run(notebooks.execute(path))
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


def test_the_three_neurons_are_reliable_ones(generator):
    measured = generator.standard_normal((30, 12))
    predicted = measured + np.linspace(0, 3, 12) * generator.standard_normal((30, 12))
    measured[:, 0] = 1.0  # constant: not defined
    dataset = SimpleNamespace(val=SimpleNamespace(responses=measured))
    ceiling = np.where(np.arange(12) == 11, 0.0, 0.8)  # the worst cannot be predicted at all
    found = evidence.three_neurons(predicted, dataset, ceiling)
    scores = metrics.explained_variance(measured, predicted)
    well, middling, badly = (scores[i] for i in found.values())
    assert well > middling > badly and not {0, 11} & set(found.values())


def test_a_committed_page_links_to_the_committed_notebooks():
    addresses = [address for _, address in notebooks.page_links(True)]
    assert {"index.html", "report.pdf"} < set(addresses)
    folders = [notebook.folder_for("standin.h5", ROOT / "figures") / a for a in addresses if a.endswith("/")]
    assert [folder.resolve() for folder in folders] == [path.parent for path in notebooks.NOTEBOOKS[:1]]
