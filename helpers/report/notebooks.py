"""Execute the notebooks on a data set and render them as pages that open without a network, and as one sheet."""

import copy
import html
import json
import os
import re
import time
from pathlib import Path

import nbformat
import pandas as pd
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter
from traitlets.config import Config

from helpers import datasets
from helpers.cache import ROOT, write_whole
from helpers.report import one_page, summary

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]_*.ipynb"))
REPORT = "4_report"
# Text wraps at any width, wide tables scroll in their own boxes, and cells that show nothing take no room.
STYLE = """<style>
main { max-width: 1200px; margin: 0 auto; }
.jp-Notebook .jp-RenderedHTMLCommon { overflow-wrap: anywhere; padding-right: 0; }
.jp-RenderedHTMLCommon table { display: block; max-width: 100%; overflow-x: auto; overflow-wrap: normal; border: 0; }
.jp-RenderedHTMLCommon caption { text-align: left; padding: 0 0.5em 0.5em; }
.jp-Notebook .jp-RenderedHTMLCommon :is(th, td) { text-align: left; vertical-align: top; }
.jp-Notebook .jp-RenderedHTMLCommon tbody th { font-weight: normal; }
.jp-OutputArea-output { padding-left: 5px; }
.jp-RenderedHTMLCommon img { max-width: 100%; height: auto; }
.jp-RenderedHTMLCommon summary { cursor: pointer; }
.jp-InputArea pre, .jp-OutputArea pre { white-space: pre-wrap; overflow-wrap: anywhere; }
.jp-mod-noInput.jp-mod-noOutputs { display: none; }
@media (max-width: 700px) { .jp-InputPrompt, .jp-OutputPrompt { display: none; } .jp-Notebook { padding: 4px; } }
</style>
"""


class NotebookError(RuntimeError):
    """A cell failed: names the notebook, the cell and the error."""


class StreamingClient(NotebookClient):
    """A notebook client that also prints what cells print, as they print it."""

    def output(self, outs, msg, display_id, cell_index):
        if msg["msg_type"] == "stream":
            print(msg["content"]["text"], end="", flush=True)
        return super().output(outs, msg, display_id, cell_index)


def build(path=None, *, profile=None, in_place=False):
    """Execute all notebooks in order and render them.

    Parameters
    ----------
    path : data file, or None for the one that datasets.find names; the stand-in's with `in_place`
    profile : name of a profile, or None
    in_place : refresh the committed notebooks and figures/<data set>/ instead of copies in report/<data set>/

    Returns
    -------
    Path of index.html, or of the folder of figures with `in_place`.

    Raises
    ------
    NotebookError at the first cell that fails.
    """
    path = (datasets.standin_path() if in_place else datasets.find(path)).resolve()
    for name in ("IT_RUNS", "IT_WEIGHTS"):  # kernels run in another folder
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).resolve())
    target = ROOT / "figures" / path.stem if in_place else ROOT / "report" / path.stem
    target.mkdir(parents=True, exist_ok=True)
    os.environ |= {"IT_DATA": str(path), "IT_OUT": str(target)} | ({"IT_PROFILE": profile} if profile else {})
    for page in [*target.glob("*.html"), *target.glob("report.pdf")]:  # of an earlier run, should this one fail
        page.unlink()
    began = time.monotonic()
    for i, source in enumerate(NOTEBOOKS, 1):
        print(
            f"\n== {source.stem} ({i} of {len(NOTEBOOKS)}, {(time.monotonic() - began) / 60:.1f} min so far)",
            flush=True,
        )
        notebook = execute(source)
        place = source if in_place else target / source.name
        write_whole(place, lambda path, notebook=notebook: nbformat.write(notebook, path))
        if not in_place:
            render(notebook, target / f"{source.stem}.html")
        if source.stem == REPORT:
            one_page.write(target, **opening(notebook))
            if not in_place:
                render(notebook, target / "index.html", code=False)
    if in_place:
        made = json.loads((target / "answer.json").read_text())["run"]
        refresh_readme(summary.readme_block(pd.read_csv(target / "results.csv"), made))
    print(f"\nDone in {(time.monotonic() - began) / 60:.1f} min: {target}", flush=True)
    return target if in_place else target / "index.html"


def refresh_readme(block):
    """Put the results between the README's two marks."""
    readme = ROOT / "README.md"
    before, mark, rest = readme.read_text().partition("<!-- results: written by `make notebooks` -->\n")
    _, end, after = rest.partition("<!-- end of results -->")
    write_whole(readme, lambda path: path.write_text(before + mark + block + "\n" + end + after))


def execute(source):
    """The executed notebook, its cells numbered from 1 by a fresh kernel."""
    notebook = nbformat.read(source, as_version=4)
    client = StreamingClient(
        notebook,
        timeout=None,
        store_widget_state=False,  # it would need a network to show
        coalesce_streams=True,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # not "running over TCP without encryption"
        resources={"metadata": {"path": source.parent}},
    )
    try:
        client.execute()
    except CellExecutionError as error:
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        number = next(i for i, cell in enumerate(cells, 1) if any(o.output_type == "error" for o in cell.outputs))
        raise NotebookError(f"{source.name}, code cell {number}: {error.ename}: {error.evalue}") from error
    except DeadKernelError as error:
        raise NotebookError(f"{source.name}: its kernel died, of too little memory perhaps") from error
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day, which would change at every run
        if "widget" in cell.metadata.get("tags", []):
            cell.outputs = []
    return notebook


def opening(notebook):
    """Title and question of a notebook, from its first cell: dict title, question."""
    title, _, rest = notebook.cells[0].source.partition("\n")
    question = " ".join(rest.split()).removeprefix("**Question.** ")
    return {"title": title.lstrip("# "), "question": question}


def described(notebook):
    """A copy whose pictures are HTML with a text for those who do not see them: the heading and the prose before."""
    notebook = copy.deepcopy(notebook)
    heading, prose = "", ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            lines = cell.source.strip().splitlines()
            heading = next((line.lstrip("# ") for line in lines if line.startswith("#")), heading)
            prose = " ".join(line for line in lines if line and not line.startswith("#"))
        for output in cell.get("outputs", []):
            if picture := output.get("data", {}).get("image/png"):
                words = re.sub(r"\[([^]]*)\]\([^)]*\)|[*`]", r"\1", f"{heading}. {prose}")
                image = f'<img src="data:image/png;base64,{picture.strip()}" alt="{html.escape(words)}">'
                output.data = {"text/html": image}
    return notebook


def render(notebook, path, *, code=True):
    """Write a notebook as one HTML page with its pictures inside; `code=False` leaves the code out."""
    config = Config()
    config.TagRemovePreprocessor.enabled = True
    config.TagRemovePreprocessor.remove_input_tags = {"hide-input"}
    config.TagRemovePreprocessor.remove_all_outputs_tags = set() if code else {"hide-output"}
    exporter = HTMLExporter(config=config, template_name="lab", embed_images=True, exclude_input=not code)
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = not code
    title = opening(notebook)["title"]
    page, _ = exporter.from_notebook_node(described(notebook), {"metadata": {"name": title}})
    # The template loads two libraries from elsewhere; no cell of these notebooks needs them.
    page = re.sub(r'<script[^>]*\bsrc="https?://[^"]*"[^>]*>\s*</script>', "", page)
    page = page.replace("</head>", f"{STYLE}</head>", 1)
    write_whole(path, lambda path: path.write_text(page))
