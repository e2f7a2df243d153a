"""All five notebooks run in the tiny profile, and the pages that come of it open without a network."""

import re

import pandas as pd

from helpers.experiments.rows import EXPERIMENTS, published_rows
from helpers.report import notebooks


def test_notebooks_run_and_render(tiny_file, tmp_path, monkeypatch):
    output = tmp_path / "report"
    output.mkdir()
    for name, value in {"DATA": tiny_file, "OUT": output, "RUNS": tmp_path / "runs", "PROFILE": "tiny"}.items():
        monkeypatch.setenv(f"IT_{name}", str(value))
    assert [path.name[:2] for path in notebooks.NOTEBOOKS] == ["0_", "1_", "2_", "3_", "4_"]
    for source in notebooks.NOTEBOOKS:
        notebook = notebooks.execute(source)
        counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
        assert counts == list(range(1, len(counts) + 1))
        notebooks.render(notebook, output / f"{source.stem}.html")
        assert not re.search(r"<(script|link)[^>]*(src|href)=.https?:", (output / f"{source.stem}.html").read_text())
    assert (output / "predictions_test.npz").exists()

    table = pd.read_csv(output / "results.csv").set_index("name")
    rows = {name for name, row in published_rows().items() if row["stage"] in "123"}
    assert rows <= set(table["row"])
    for name, line in table.iterrows():  # no row is skipped in silence
        ran = line["state"] in ("run", "run from random weights")
        assert ran == pd.notna(line["explained_variance"])
        assert ran or line["state"].startswith(f"python -m helpers run {name} --seed 0 --profile full")
        assert name in EXPERIMENTS


def test_a_failing_cell_is_named(tmp_path):
    import nbformat
    import pytest
    from nbformat.v4 import new_code_cell, new_notebook

    path = tmp_path / "9_broken.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1"), new_code_cell("raise KeyError('gone')")]), path)
    with pytest.raises(notebooks.NotebookError, match=r"9_broken.ipynb, code cell 2: KeyError: 'gone'"):
        notebooks.execute(path)
