"""Execute the notebooks on a data set and render them as pages that open without a network, and as one sheet."""

import asyncio
import contextlib
import os
import signal
import tempfile
import time
from pathlib import Path

import matplotlib
import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from helpers import datasets, notebook
from helpers.cache import ROOT, make_writable, write_whole
from helpers.report import one_page, page, summary

NOTEBOOKS = [*sorted((ROOT / "notebooks").glob("[0-9]_*.ipynb")), ROOT / "notebooks" / "test.ipynb"]
REPORT = "4_report"
# Variables that say where Python finds or leaves things; others change what code does.
FOUND_BY = {"PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONSAFEPATH", "MPLCONFIGDIR"}
FOUND_BY |= {"PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE"}
SHEET = "contact_sheet.png"  # a figure that is images of the data file


class NotebookError(RuntimeError):
    """A cell failed: names the notebook, the cell and the error."""


class StreamingClient(NotebookClient):
    """A notebook client that also prints what cells print, as they print it, and stops at Ctrl-C.

    Its kernel is that of this interpreter, whatever specifications lie on $JUPYTER_PATH.
    """

    interrupted = False

    def create_kernel_manager(self):
        self.km = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
        return self.km

    async def async_start_new_kernel(self, **options):
        task = asyncio.current_task()

        def interrupt():
            if not self.interrupted:  # a second one would end the shutting down
                self.interrupted, self.shutdown_kernel = True, "immediate"
                task.cancel()  # which shuts the kernel down on its way out

        with contextlib.suppress(RuntimeError):  # not in a thread, nor on Windows
            for number in (signal.SIGINT, signal.SIGTERM):  # nbclient's own handlers end in an AssertionError
                asyncio.get_running_loop().add_signal_handler(number, interrupt)
        await super().async_start_new_kernel(**options)

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
    in_place : refresh what is committed, figures/<data set>/ with a page of its own, and, for the stand-in, the
        notebooks, instead of copies in report/<data set>/ or, where that is set, in $IT_OUT. Of recordings no image is
        left there

    Pages of an earlier run stay until there are new ones.

    Returns
    -------
    Path of index.html, or of the folder of figures with `in_place`.

    Raises
    ------
    NotebookError at the first cell that fails; KeyboardInterrupt at Ctrl-C, with no kernel left.
    """
    standin = datasets.standin_path().resolve()
    path = (standin if in_place and path is None else datasets.find(path)).resolve()
    target, simulated = folder_of(path, in_place=in_place), path == standin
    make_writable(target, "IT_OUT")
    settings = {"IT_DATA": str(path), "IT_OUT": str(target)} | ({"IT_PROFILE": profile} if profile else {})
    links, began = page_links(in_place), time.monotonic()
    for i, source in enumerate(NOTEBOOKS, 1):
        print(
            f"\n== {source.stem} ({i} of {len(NOTEBOOKS)}, {(time.monotonic() - began) / 60:.1f} min so far)",
            flush=True,
        )
        executed = execute(source, settings)
        if simulated or not in_place:
            place = source if in_place else target / source.name
            write_whole(place, lambda path, executed=executed: nbformat.write(executed, path))
        print(f"{n_figures(executed)} figures", flush=True)
        if not in_place:
            page.render(executed, target / f"{source.stem}.html", links=links)
        if source.stem == REPORT:
            one_page.write(target, **page.opening(executed))
            images = simulated or not in_place
            page.render(executed, target / "index.html", code=False, links=links, images=images)
    if in_place and not simulated:
        (target / SHEET).unlink(missing_ok=True)
    if in_place:
        refresh_readme(summary.readme_blocks())
    print(f"\nDone in {(time.monotonic() - began) / 60:.1f} min: {target}", flush=True)
    return target if in_place else target / "index.html"


def page_links(in_place):
    """The pages that belong together, for their navigation: list of (title, address)."""
    titles = [(page.opening(nbformat.read(path, as_version=4))["title"].partition(":")[0], path) for path in NOTEBOOKS]
    others = [(title, f"../../notebooks/{path.name}" if in_place else f"{path.stem}.html") for title, path in titles]
    if not in_place:
        named = {f"{REPORT}.html": "The report with its code"}
        others = [(named.get(address, title), address) for title, address in others]
    return [("Report", "index.html"), *others, ("One page (PDF)", "report.pdf")]


def folder_of(path, *, in_place):
    """Where the pages and figures of a data file go."""
    if in_place:
        return notebook.folder_for(path, ROOT / "figures")
    given = os.environ.get("IT_OUT")
    return Path(given).resolve() if given else notebook.folder_for(path, ROOT / "report")


def refresh_readme(block):
    """Put the results between the README's two marks."""
    readme = ROOT / "README.md"
    before, mark, rest = readme.read_text(encoding="utf-8").partition("<!-- results: written by `make notebooks` -->\n")
    _, end, after = rest.partition("<!-- end of results -->")
    write_whole(readme, lambda path: path.write_text(before + mark + block + "\n" + end + after, encoding="utf-8"))


def environment(settings):
    """What a kernel's environment is, whatever the user's shell says: figures inline, this project, UTF-8.

    Of variables of Python, IPython and matplotlib it keeps `FOUND_BY` alone.
    """
    changes = ("PYTHON", "IPYTHON", "MPL", "MATPLOTLIB")
    kept = {k: value for k, value in os.environ.items() if k in FOUND_BY or not k.startswith(changes)}
    named = ("IT_RUNS", "IT_SCRATCH", "IT_WEIGHTS", "IT_DATA", "IT_OUT", "IT_OTHER_AREA")
    for name in named:  # kernels run in another folder
        if kept.get(name):
            kept[name] = str(Path(kept[name]).resolve())
    paths = [str(ROOT), *filter(None, [kept.get("PYTHONPATH")])]
    own = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "PYTHONPATH": os.pathsep.join(paths)}
    own |= {"MATPLOTLIBRC": str(Path(matplotlib.get_data_path()) / "matplotlibrc")}  # not the one in the user's home
    return kept | own | {"PYTHONUTF8": "1"} | settings


def execute(source, settings=None):
    """The executed notebook, its cells numbered from 1 by a fresh kernel.

    settings : environment variables for the kernel beside `environment`'s. Raises NotebookError where a cell fails, or
    where figures are drawn in the notebook as it lies there and none came, unless its metadata say that this may be.
    """
    executed = nbformat.read(source, as_version=4)
    expected = n_figures(executed)
    client = StreamingClient(
        executed,
        timeout=None,
        store_widget_state=False,  # it would need a network to show
        coalesce_streams=True,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # not "running over TCP without encryption"
        resources={"metadata": {"path": source.parent}},
    )
    try:
        with tempfile.TemporaryDirectory() as home:  # IPython's, without the user's start-up files and settings
            client.execute(env=environment((settings or {}) | {"IPYTHONDIR": home}))
    except CellExecutionError as error:
        cells = [cell for cell in executed.cells if cell.cell_type == "code"]
        number = next(i for i, cell in enumerate(cells, 1) if any(o.output_type == "error" for o in cell.outputs))
        raise NotebookError(f"{source.name}, code cell {number}: {error.ename}: {error.evalue}") from error
    except (DeadKernelError, asyncio.CancelledError) as error:
        if client.interrupted:
            raise KeyboardInterrupt from None
        raise NotebookError(f"{source.name}: its kernel died, of too little memory perhaps") from error
    for cell in executed.cells:
        cell.metadata.pop("execution", None)  # times of day, which would change at every run
        if "widget" in cell.metadata.get("tags", []):
            cell.outputs = []
    if expected and not n_figures(executed) and "draws" not in executed.metadata:  # which says when it draws nothing
        raise NotebookError(f"{source.name}: none of its figures was drawn; expected {expected}")
    return executed


def n_figures(notebook):
    """How many pictures the outputs of a notebook hold."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return sum("image/png" in output.get("data", {}) for output in outputs)
