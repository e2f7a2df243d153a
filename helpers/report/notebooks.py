"""Execute the notebooks on a data set and render them as pages that open without a network, and as one sheet.

On a CPU two are executed at a time: 2, the longest, beside 1, which shares nothing with it, 0, which shares the Gram
matrices of Lite0's blocks that 2 begins by, and 3, which asks for Lite0's rows after its own: 2 trains them first.
Should both want a result at once, both make it, where a lane that waited would idle. 4 needs what they made, test 4's.
"""

import asyncio
import contextlib
import os
import signal
import tempfile
import time
from pathlib import Path

import matplotlib
import nbformat
import torch
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from helpers import datasets, notebook
from helpers.cache import ROOT, make_writable, runs_folder, write_whole
from helpers.experiments import profiles
from helpers.report import one_page, page, summary

NOTEBOOKS = [*sorted((ROOT / "notebooks").glob("[0-9]_*.ipynb")), ROOT / "notebooks" / "test.ipynb"]
REPORT = "4_report"
IN_LANES = "2103"  # how their names begin, in the order in which two lanes take them
ENOUGH_BYTES = 7 * 2**30  # of memory for two kernels, of one to three GB each, and all else: a machine of 8 GB
BAR_SECONDS = 60.0  # beside another notebook a progress bar is a line at most so often
# Variables that say where Python finds or leaves things; others change what code does.
FOUND_BY = {"PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONSAFEPATH", "MPLCONFIGDIR"}
FOUND_BY |= {"PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE"}
SHEET = "contact_sheet.png"  # a figure that is images of the data file


class NotebookError(RuntimeError):
    """A cell failed: names the notebook, the cell and the error."""


class StreamingClient(NotebookClient):
    """A notebook client that also prints what cells print, as they print it, or whole lines that begin by `prefix`.

    Its kernel is that of this interpreter, whatever specifications lie on $JUPYTER_PATH, and ends however its execution
    ends: nbclient's takes signals to itself, those of other kernels too, and stays where its start is cancelled.
    """

    prefix, rest, bar_at = "", "", float("-inf")

    @contextlib.asynccontextmanager
    async def async_setup_kernel(self, **options):
        self.km = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
        try:
            await self.async_start_new_kernel(**options)
            await self.async_start_new_kernel_client()
            yield
        finally:
            if self.km is not None:  # of a kernel that did not answer nbclient has disposed
                await self._async_cleanup_kernel()

    async def _async_check_alive(self):
        if not (self.task_poll_for_reply and self.task_poll_for_reply.done()):  # nbclient watches over cancelled cells
            await super()._async_check_alive()

    def output(self, outs, msg, display_id, cell_index):
        if msg["msg_type"] == "stream":
            self.show(msg["content"]["text"])
        return super().output(outs, msg, display_id, cell_index)

    def show(self, text):
        *lines, rest = (self.rest + text).split("\n")
        lines = [line.rstrip().rpartition("\r")[2] for line in lines]
        _, moved, self.rest = rest.rpartition("\r")  # by which a bar begins its line anew
        if moved and self.rest.strip() and time.monotonic() - self.bar_at > BAR_SECONDS:
            self.bar_at = time.monotonic()
            lines.append(self.rest)
        text = "".join(f"{self.prefix}{line}\n" for line in lines if line) if self.prefix else text
        print(text, end="", flush=True)


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
    NotebookError at the first cell that fails; KeyboardInterrupt at Ctrl-C, with no kernel left. DataError or OSError
    before any work, for a file that cannot be read or a folder that cannot be written.
    """
    path = (datasets.find(path) if path or not in_place else datasets.standin_path()).resolve()
    datasets.read(path)  # known before any work: a file that can be read, folders that can be written
    make_writable(runs_folder(), "IT_RUNS")
    simulated = path == (datasets.DATA / "standin.h5").resolve()
    target = notebook.folder_for(path, ROOT / "figures") if in_place else notebook.output_folder(path, below="report")
    target = target.resolve()
    make_writable(target, "IT_OUT")
    settings = {"IT_DATA": str(path), "IT_OUT": str(target)} | ({"IT_PROFILE": profile} if profile else {})
    links, began, numbers = page_links(in_place), time.monotonic(), iter(range(1, 1 + len(NOTEBOOKS)))

    async def make(source, threads):
        minutes = (time.monotonic() - began) / 60
        print(f"\n== {source.stem} ({next(numbers)} of {len(NOTEBOOKS)}, {minutes:.1f} min so far)", flush=True)
        prefix, limit = (f"[{source.stem[0]}] ", {"OMP_NUM_THREADS": str(threads)}) if threads else ("", {})
        executed = await execute(source, settings | limit, prefix=prefix)
        if simulated or not in_place:
            place = source if in_place else target / source.name
            write_whole(place, lambda path: nbformat.write(executed, path))
        print(f"{prefix}{n_figures(executed)} figures", flush=True)
        if not in_place:
            page.render(executed, target / f"{source.stem}.html", links=links)
        if source.stem == REPORT:
            one_page.write(target, **page.opening(executed))
            page.render(executed, target / "index.html", code=False, links=links, images=simulated or not in_place)

    try:
        asyncio.run(in_lanes(make, threads_a_lane(profile)))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    if in_place and not simulated:
        (target / SHEET).unlink(missing_ok=True)
    if in_place:
        refresh_readme(summary.readme_blocks())
    print(f"\nDone in {(time.monotonic() - began) / 60:.1f} min: {target}", flush=True)
    return target if in_place else target / "index.html"


def threads_a_lane(profile):
    """How many threads each of two kernels at a time gets; None for one at a time, with all threads.

    Small convolutional networks use a second thread badly: on two cores two processes of one thread trained 134 images
    a second, one of two threads 92. Threads are what torch would take: $OMP_NUM_THREADS, else the cores that this
    process may use. One at a time with a CUDA device, little memory, or a profile that first times its rows.
    """
    threads = torch.get_num_threads()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0  # on Windows
    timed = profiles.current_profile(profile).minutes is not None
    one = torch.cuda.is_available() or timed or threads < 2 or memory < ENOUGH_BYTES
    return None if one else threads // 2


async def in_lanes(make, threads):
    """Await `make(source, threads)` of notebooks in two lanes, then of the others `make(source, None)`, one by one.

    The first error ends all, and is raised; Ctrl-C and SIGTERM cancel all, once: a second one would end the ending.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    with contextlib.suppress(RuntimeError):  # not in a thread, nor on Windows
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, lambda: task.cancelling() or task.cancel())
    beside = [source for first in IN_LANES for source in NOTEBOOKS if threads and source.stem[0] == first]
    queue = iter(beside)

    async def lane(queue, threads):
        for source in queue:
            await make(source, threads)

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(lane(queue, threads))
            group.create_task(lane(queue, threads))  # from the same queue
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors.exceptions[0].__cause__
    await lane([source for source in NOTEBOOKS if source not in beside], None)


def page_links(in_place):
    """The pages that belong together, for their navigation: list of (title, address)."""
    first, last = ("Report", "index.html"), ("PDF", "report.pdf")
    if in_place:  # no pages: the committed notebooks, whatever data this report is of
        return [first, ("Notebooks (simulated data)", "../../notebooks/"), last]
    titles = [(page.opening(nbformat.read(path, as_version=4))["title"].partition(":")[0], path) for path in NOTEBOOKS]
    others = [(title, f"{path.stem}.html") for title, path in titles]
    named = {f"{REPORT}.html": "The report with its code"}
    others = [(named.get(address, title), address) for title, address in others]
    return [first, *others, last]


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
    kept |= {name: str(Path(kept[name]).resolve()) for name in named if kept.get(name)}  # kernels run in another folder
    paths = [str(ROOT), *filter(None, [kept.get("PYTHONPATH")])]
    own = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "PYTHONPATH": os.pathsep.join(paths)}
    own |= {"MATPLOTLIBRC": str(Path(matplotlib.get_data_path()) / "matplotlibrc")}  # not the one in the user's home
    return kept | own | {"PYTHONUTF8": "1"} | settings


async def execute(source, settings=None, *, prefix=""):
    """The executed notebook, its cells numbered from 1 by a fresh kernel.

    settings : environment variables for the kernel beside `environment`'s. prefix : see `StreamingClient`. Raises
    NotebookError where a cell fails, or where figures are drawn in the notebook as it lies there and none came, unless
    its metadata say that this may be.
    """
    executed = nbformat.read(source, as_version=4)
    expected = n_figures(executed)
    client = StreamingClient(
        executed,
        shutdown_kernel="immediate",
        store_widget_state=False,  # it would need a network to show
        coalesce_streams=True,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # not "running over TCP without encryption"
        resources={"metadata": {"path": source.parent}},
    )
    client.prefix = prefix
    try:
        with tempfile.TemporaryDirectory() as home:  # IPython's, without the user's start-up files and settings
            await client.async_execute(env=environment((settings or {}) | {"IPYTHONDIR": home}))
        client.show("\n" if client.rest.strip() else "")
    except CellExecutionError as error:
        cells = [cell for cell in executed.cells if cell.cell_type == "code"]
        number = next(i for i, cell in enumerate(cells, 1) if any(o.output_type == "error" for o in cell.outputs))
        raise NotebookError(f"{source.name}, code cell {number}: {error.ename}: {error.evalue}") from error
    except (DeadKernelError, asyncio.CancelledError) as error:
        if asyncio.current_task().cancelling():
            raise asyncio.CancelledError from None
        raise NotebookError(f"{source.name}: its kernel died, of too little memory perhaps") from error
    for cell in executed.cells:
        cell.metadata.pop("execution", None)  # times of day, which would change at every run
        if cell.cell_type == "code" and "widget" in cell.metadata.get("tags", []):
            cell.outputs = []
    if expected and not n_figures(executed) and "draws" not in executed.metadata:  # which says when it draws nothing
        raise NotebookError(f"{source.name}: none of its figures was drawn; expected {expected}")
    return executed


def n_figures(notebook):
    """How many pictures the outputs of a notebook hold."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return sum("image/png" in output.get("data", {}) for output in outputs)
