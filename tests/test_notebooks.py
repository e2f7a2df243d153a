"""All notebooks run in the tiny profile, and the pages that come of it open without a network."""

import ast
import asyncio
import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from helpers.experiments.networks_and_recipes import EXPERIMENTS, published_rows
from helpers.report import notebooks, page

SHORT_ROWS = f"""
import sys

sys.path.append({str(Path(__file__).parent)!r})
from conftest import short
from helpers.experiments.networks_and_recipes import EXPERIMENTS

EXPERIMENTS.update({{name: short(row) for name, row in EXPERIMENTS.items()}})
"""


def execute(source):
    return asyncio.run(notebooks.execute(source))


def with_short_rows(source, folder):
    """A copy of a notebook whose first cell gives all rows two epochs at most."""
    copy = nbformat.read(source, as_version=4)
    copy.cells.insert(0, new_code_cell(SHORT_ROWS))
    nbformat.write(copy, folder / source.name)
    return folder / source.name


def test_notebooks_run_and_render(tiny_file, tmp_path, monkeypatch):
    output = tmp_path / "report"
    output.mkdir()
    for name, value in {"DATA": tiny_file, "OUT": output, "RUNS": tmp_path / "runs", "PROFILE": "tiny"}.items():
        monkeypatch.setenv(f"IT_{name}", str(value))
    assert [path.name[:2] for path in notebooks.NOTEBOOKS] == ["0_", "1_", "2_", "3_", "4_", "te"]
    for source in notebooks.NOTEBOOKS:
        notebook = execute(with_short_rows(source, tmp_path))
        counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
        assert counts == list(range(1, len(counts) + 1))
        page.render(notebook, output / f"{source.stem}.html")
        assert not re.search(r"<(script|link)[^>]*(src|href)=.https?:", (output / f"{source.stem}.html").read_text())
    assert (output / "predictions_test.npz").exists()

    table = pd.read_csv(output / "results.csv").set_index("name")
    assert table["epochs"].max() == 2
    rows = {name for name, row in published_rows().items() if row["stage"] in "123"}
    assert rows <= set(table["row"])
    for name, line in table.iterrows():  # no row is skipped in silence
        ran = line["state"] in ("run", "run from random weights")
        assert ran == pd.notna(line["explained_variance"])
        assert ran or line["state"].startswith(f"python -m helpers run {name} --seed 0")
        assert name in EXPERIMENTS


def written(path, *sources, figures=0):
    """A notebook file of code cells, the last of which has figures among its outputs as it lies there."""
    cells = [new_code_cell(source) for source in sources]
    cells[-1].outputs = [new_output("display_data", {"image/png": "iVBORw0KGgo="})] * figures
    nbformat.write(new_notebook(cells=cells), path)
    return path


def test_a_failing_cell_is_named_and_old_pages_stay(tiny_file, tmp_path, monkeypatch):
    broken = written(tmp_path / "9_broken.ipynb", "1", "raise KeyError('gone')")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", [broken])
    monkeypatch.setenv("IT_OUT", str(tmp_path / "pages"))
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.html").write_text("old", encoding="utf-8")
    with pytest.raises(notebooks.NotebookError, match=r"9_broken.ipynb, code cell 2: KeyError: 'gone'"):
        notebooks.build(tiny_file)
    assert (tmp_path / "pages" / "index.html").read_text(encoding="utf-8") == "old"


def test_the_kernel_is_this_interpreters_in_an_environment_of_its_own(tmp_path, monkeypatch):
    spec = {"argv": ["/no/such/python", "-f", "{connection_file}"], "display_name": "other", "language": "python"}
    (tmp_path / "kernels" / "python3").mkdir(parents=True)
    (tmp_path / "kernels" / "python3" / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "own.py").write_text("import matplotlib.pyplot as plt\nplt.show = print\n", encoding="utf-8")
    (startup / "matplotlibrc").write_text("text.usetex: True\n", encoding="utf-8")
    users = {
        "MPLBACKEND": "agg",
        "IPYTHONDIR": tmp_path / "ipython",
        "MATPLOTLIBRC": startup,
        "PYTHONWARNINGS": "error",
    }
    for name, value in (
        users | {"PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2", "PYTHONIOENCODING": "ascii"}
    ).items():
        monkeypatch.setenv(name, str(value))
    draws = """
import sys
import matplotlib.pyplot as plt
assert not (plt.rcParams["text.usetex"] or sys.warnoptions or sys.flags.optimize)
plt.plot([1, 2])
plt.show()
print(sys.executable, "é", end="")
"""
    executed = execute(written(tmp_path / "9_draws.ipynb", draws, figures=1))
    assert notebooks.n_figures(executed) == 1
    assert f"{sys.executable} é" in [output.get("text") for output in executed.cells[0].outputs]
    with pytest.raises(notebooks.NotebookError, match="9_silent.ipynb: none of its figures was drawn; expected 2"):
        execute(written(tmp_path / "9_silent.ipynb", "1", figures=2))
    labels = nbformat.read(notebooks.NOTEBOOKS[3], as_version=4)
    assert labels.metadata["draws"] == "nothing where all images have one label"  # as on a file without labels


WORKS = """
import time
from helpers import progress
progress.SILENT_SECONDS = {silent}
began = time.monotonic()
for done in range(1, 6):
    time.sleep(0.6 if {silent} < 5 else 0)
    progress.show("counting", began, done, 5)
"""


@pytest.mark.parametrize(("silent", "lines"), [(0.1, r"counting: 5 in \d+ s\n"), (5, "")])
def test_of_a_progress_bar_a_notebook_keeps_one_line_at_most(silent, lines, tmp_path):
    executed = execute(written(tmp_path / "9_works.ipynb", WORKS.format(silent=silent)))
    assert re.fullmatch(lines, "".join(output.text for output in executed.cells[0].outputs))


MEETS = """
import os, time
from pathlib import Path
folder = Path({folder!r})
(folder / "{own}").write_text(str(os.getpid()))
while not (folder / "{other}").exists():
    time.sleep(0.05)
"""


def two_that_meet(folder, *last):
    """Two notebooks, of which each waits until the other has begun; their last cells."""
    names = {"0": "2", "2": "0"}
    return [
        written(folder / f"{own}_meets.ipynb", MEETS.format(folder=str(folder), own=own, other=other), cell)
        for (own, other), cell in zip(names.items(), last, strict=True)
    ]


def gone(process):
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    return True


def test_without_a_gpu_two_notebooks_are_executed_at_a_time(tiny_file, tmp_path, monkeypatch, capsys):
    says = "import os\nprint('threads', os.environ['OMP_NUM_THREADS'], end='\\rthreads\\n')\nprint('last')"
    alone = written(tmp_path / "4_alone.ipynb", "import os\nprint(os.environ.get('OMP_NUM_THREADS'), end=' all')")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", [*two_that_meet(tmp_path, says, says), alone])
    monkeypatch.setattr(notebooks, "threads_a_lane", lambda profile: 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("IT_OUT", str(tmp_path / "pages"))
    notebooks.build(tiny_file)
    said = capsys.readouterr().out
    assert re.findall(r"== (\w+) \((\d) of 3", said) == [("2_meets", "1"), ("0_meets", "2"), ("4_alone", "3")]
    for number in "02":
        assert re.findall(rf"^\[{number}\] (.*)", said, re.M) == ["threads", "last", "0 figures"]
        executed = nbformat.read(tmp_path / "pages" / f"{number}_meets.ipynb", as_version=4)
        assert [cell.execution_count for cell in executed.cells] == [1, 2]
        assert (tmp_path / "pages" / f"{number}_meets.html").exists()
    assert "7 all" in said


def test_an_error_ends_the_other_notebook_too(tiny_file, tmp_path, monkeypatch):
    both = two_that_meet(tmp_path, "import time\ntime.sleep(600)", "raise KeyError('gone')")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", both)
    monkeypatch.setattr(notebooks, "threads_a_lane", lambda profile: 1)
    monkeypatch.setenv("IT_OUT", str(tmp_path / "pages"))
    with pytest.raises(notebooks.NotebookError, match=r"^2_meets.ipynb, code cell 2: KeyError: 'gone'$"):
        notebooks.build(tiny_file)
    assert all(gone(int((tmp_path / number).read_text())) for number in "02")


def test_a_cancelled_notebook_leaves_neither_a_kernel_nor_a_watch_over_it(tmp_path, caplog):
    begun, complaints = tmp_path / "begun", []
    (tmp_path / "other").touch()
    meets = MEETS.format(folder=str(tmp_path), own="begun", other="other")
    sleeps = written(tmp_path / "9_sleeps.ipynb", meets, "time.sleep(600)")

    async def cancel():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        executing = asyncio.ensure_future(notebooks.execute(sleeps))
        while not (begun.exists() and begun.read_text()):
            await asyncio.sleep(0.05)
        executing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await executing
        await asyncio.sleep(1.5)  # nbclient looks after its kernel every second
        gc.collect()

    asyncio.run(cancel())
    assert gone(int(begun.read_text())) and not complaints and not caplog.records


def test_a_kernel_that_dies_is_named(tmp_path):
    with pytest.raises(notebooks.NotebookError, match="9_dies.ipynb: its kernel died"):
        execute(written(tmp_path / "9_dies.ipynb", "import os\nos._exit(1)"))


def test_where_notebooks_are_executed_one_by_one(monkeypatch):
    monkeypatch.setattr(notebooks.torch, "get_num_threads", lambda: 5)
    monkeypatch.setattr(notebooks.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(notebooks, "ENOUGH_BYTES", 1)
    assert notebooks.threads_a_lane("quick") == 2
    assert notebooks.threads_a_lane("full") is None  # which times its rows first
    for module, name, value in (
        (notebooks.torch, "get_num_threads", lambda: 1),
        (notebooks.torch.cuda, "is_available", lambda: True),
        (notebooks, "ENOUGH_BYTES", 2**60),
    ):
        with monkeypatch.context() as changed:
            changed.setattr(module, name, value)
            assert notebooks.threads_a_lane("quick") is None


def test_bars_of_two_notebooks_are_lines_now_and_then(capsys):
    client = notebooks.StreamingClient(nbformat.v4.new_notebook())
    client.prefix = "[2] "
    for text in ("\rrow: 1/9", "\rrow: 2/9", "\r        \r", "row: 9 in ", "60 s\nnext\n", "\rnext: 1/9"):
        client.show(text)
    assert capsys.readouterr().out == "[2] row: 1/9\n[2] row: 9 in 60 s\n[2] next\n"
    client.bar_at -= notebooks.BAR_SECONDS
    client.show("\rnext: 2/9")
    assert capsys.readouterr().out == "[2] next: 2/9\n"


REPORT = """
import sys
from pathlib import Path
from helpers import __main__
from helpers.report import notebooks

data, *paths = sys.argv[1:]
notebooks.NOTEBOOKS = [Path(path) for path in paths]
notebooks.threads_a_lane = lambda profile: 1 if len(paths) > 1 else None
sys.exit(__main__.main(["report", "--data", data]))
"""


@pytest.mark.parametrize(("number", "n_lanes"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)])
def test_an_interrupted_report_says_so_in_one_sentence_and_leaves_no_kernel(number, n_lanes, tiny_file, tmp_path):
    sleeps = "import os, time\nprint('pid', os.getpid())\ntime.sleep(600)"
    paths = [written(tmp_path / f"{i}_sleeps.ipynb", sleeps) for i in range(n_lanes)]
    environment = os.environ | {"IT_OUT": str(tmp_path / "pages"), "IT_RUNS": str(tmp_path / "runs")}
    command = [sys.executable, "-u", "-c", REPORT, str(tiny_file), *map(str, paths)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        begun = (int(line.split("pid")[1]) for line in process.stdout if "pid" in line)
        kernels = [next(begun) for _ in paths]
        process.send_signal(number)
        time.sleep(0.05)
        process.send_signal(number)  # by somebody impatient
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and said.strip().count("\n") == 0 and "finished runs are kept" in said
    assert all(map(gone, kernels))


def sections(path):
    """Code cells of a notebook by the heading that they stand below: dict heading -> list of cells."""
    found, heading = {}, ""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            heading = next((line for line in cell.source.splitlines()[::-1] if line.startswith("## ")), heading)
        elif "colab" not in cell.metadata.get("tags", []):
            found.setdefault(heading, []).append(cell)
    return found


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS[1:4], ids=lambda path: path.stem)
def test_cells_are_short_and_prose_is_computed_in_the_answer_alone(path):
    cells = [cell for below in sections(path).values() for cell in below]
    lines = [sum(bool(line.strip()) for line in cell.source.splitlines()) for cell in cells]
    assert np.median(lines) <= 6 and max(lines) <= 15
    answers = [cell for cell in cells if "study.answer(" in cell.source]
    assert answers == cells[-1:] and "answer" in answers[0].metadata["tags"]
    assert not any("Markdown" in cell.source or "print(f" in cell.source for cell in cells)


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS[1:4], ids=lambda path: path.stem)
def test_no_section_depends_on_a_name_that_another_redefines(path):
    stored, loaded = {}, {}
    for heading, cells in sections(path).items():
        nodes = [node for cell in cells for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)]
        for names, kind in ((stored, ast.Store), (loaded, ast.Load)):
            names[heading] = {node.id for node in nodes if isinstance(node.ctx, kind)}
    for heading, names in loaded.items():
        for name in names - stored[heading]:
            assert sum(name in other for other in stored.values()) <= 1, f"{heading}: {name} is set in several sections"
