"""An executed notebook as one HTML page without a network: its answer first, links to other pages, contents."""

import copy
import html
import itertools
import re
from pathlib import Path

from nbconvert import HTMLExporter
from nbformat.v4 import new_markdown_cell, new_output
from traitlets.config import Config

from helpers.analyses.tables import SIMULATED
from helpers.cache import write_whole

STYLE = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
LOG_LINES = 4  # longer logs are folded
IMAGES = "images"  # tag of cells that show images of the data file, which recordings' owners may not want handed on
OPTIONAL = "optional"  # tag of cells that draw what a command has made; the first page leaves out a section without it


def opening(notebook):
    """Title and question of a notebook, from its first cell: dict title, question."""
    title, _, rest = notebook.cells[0].source.partition("\n")
    question = " ".join(rest.split()).removeprefix("**Question.** ")
    return {"title": title.lstrip("# "), "question": question}


def render(notebook, path, *, code=True, links=(), images=True):
    """Write a notebook as a page.

    notebook : executed. code : False for the report's first page, which leaves code and logs out, folds tables and
    figures of cells tagged "fold" and hides the outputs of those tagged "hide-output". links : pairs (title, address)
    of the pages that it belongs to. images : False leaves out what cells tagged "images" show
    """
    simulated = SIMULATED in str([cell.get("outputs") for cell in notebook.cells])
    notebook = copy.deepcopy(notebook)
    if not code:
        notebook.cells[0].source = re.sub(r"^# \d+\. ", "# ", notebook.cells[0].source)
    hidden = {"colab", "widget"} | (set() if images else {IMAGES})
    notebook.cells = answer_first([cell for cell in notebook.cells if not hidden & tags(cell)], code=code)
    described(notebook, code=code)
    config = Config()
    config.TagRemovePreprocessor.enabled = True
    config.TagRemovePreprocessor.remove_all_outputs_tags = set() if code else {"hide-output"}
    exporter = HTMLExporter(config=config, template_name="basic", exclude_input=not code)
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    body, resources = exporter.from_notebook_node(notebook)
    style = "\n".join([*resources["inlining"]["css"], STYLE])  # the first colours code
    body = re.sub(r"<table.*?</table>", wrapped, body.replace(SIMULATED, ""), flags=re.S)
    title = opening(notebook)["title"]
    page = [
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>',
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{style}</style></head><body>',
        f'<p class="simulated">{SIMULATED} Published numbers are not simulated.</p>' if simulated else "",
        navigation(links, path.name),
        f"<main>{with_contents(body)}</main>{navigation(links, path.name)}</body></html>\n",
    ]
    write_whole(path, lambda beside: beside.write_text("\n".join(page), encoding="utf-8"))


def tags(cell):
    return set(cell.metadata.get("tags", []))


def sections(cells):
    """The same cells in lists, one a section: text is cut before each heading, what stands above all comes first."""
    found = [[]]
    for cell in cells:
        parts = re.split(r"^(?=## )", cell.source, flags=re.M) if cell.cell_type == "markdown" else []
        pieces = [new_markdown_cell(part, metadata=cell.metadata) for part in parts if part.strip()]
        for piece in pieces if len(pieces) > 1 else [cell]:
            if piece.source.startswith("## "):
                found.append([])
            found[-1].append(piece)
    return found


def answer_first(cells, *, code):
    """The same cells, those of the section "Answer" after the first; see `render` for the sections left out."""
    (title, *opening), *others = sections(cells)
    answer = next((section for section in others if section[0].source.startswith("## Answer")), [])
    kept = [section for section in others if section is not answer and (code or not lacks_its_picture(section))]
    return [title, *answer, *opening, *itertools.chain(*kept)]


def lacks_its_picture(section):
    optional = [cell for cell in section if OPTIONAL in tags(cell)]
    return any(not any("data" in output for output in cell.outputs) for cell in optional)


def described(notebook, *, code):
    """Give pictures a text for those who do not see them, fold logs and what is tagged "fold"; changes the notebook.

    A picture's text is its section's heading and the "What you see" that follows it, else the prose before it.
    """
    heading, prose = "", ""
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            heading = next((line.lstrip("# ") for line in cell.source.splitlines() if line.startswith("#")), heading)
            prose = " ".join(line for line in cell.source.splitlines() if line and not line.startswith("#"))
            continue
        after = next((other.source for other in notebook.cells[i:] if other.cell_type == "markdown"), "")
        seen = re.search(r"\*\*What you see\.\*\* (.*?)(?:\n\n|\n\*\*|$)", after, re.S)
        words = f"{heading}. {' '.join(seen[1].split()) if seen else prose}"
        words = re.sub(r"\[([^]]*)\]\([^)]*\)|[*`]", r"\1", words)
        fold = not code and "fold" in tags(cell)
        cell.outputs = [replaced(output, words, heading if fold else "") for output in cell.get("outputs", [])]


def replaced(output, words, folded):
    """An output as a page shows it. words : for a picture. folded : what it is called where it is folded, else empty"""
    data = output.get("data", {})
    if picture := data.get("image/png"):
        picture = f'<img src="data:image/png;base64,{picture.strip()}" alt="{html.escape(words)}">'
        return as_html(details(f"{folded}: the figure", picture) if folded else picture)
    if output.output_type == "stream" and len(lines := output.text.strip().splitlines()) > LOG_LINES:
        log = html.escape("\n".join(lines))
        return as_html(details(f"Log, {len(lines)} lines", f"<pre>{log}</pre>"))
    if folded and "text/html" in data:
        return as_html(details(f"{folded}: the table", data["text/html"]))
    return output


def details(summary, body):
    return f"<details><summary>{summary}</summary>{body}</details>"


def as_html(text):
    return new_output("display_data", {"text/html": text})


def wrapped(table):
    """A table in a box of its own, which says that it scrolls where a narrow screen does not hold it."""
    header = re.search(r"<tr.*?</tr>", table[0], re.S)
    wide = len(re.findall("<th", header[0])) > 3 if header else False
    hint = '<p class="hint">Scroll the table sideways.</p>' if wide else ""
    return f'{hint}<div class="table{" wide" if wide else ""}">{table[0]}</div>'


def navigation(links, here):
    """Links to the other pages; that of this one's own file name is no link."""
    items = [
        f'<span aria-current="page">{html.escape(title)}</span>'
        if address == here
        else f'<a href="{html.escape(address)}" title="{html.escape(title)}">{html.escape(title)}</a>'
        for title, address in links
    ]
    return f'<nav class="pages">{" ".join(items)}</nav>' if items else ""


def with_contents(body):
    """The page's body with links to its sections after the first of them, the answer."""
    sections = re.findall(r'<h2 id="([^"]+)">(.*?)<a class="anchor-link', body)
    if len(sections) < 3:
        return body
    links = " ".join(f'<a href="#{anchor}">{words}</a>' for anchor, words in sections[1:])
    second = body.index(f'<h2 id="{sections[1][0]}"')
    return f'{body[:second]}<nav class="contents"><b>On this page</b> {links}</nav>{body[second:]}'
