"""What every notebook opens with: Colab's set-up, its data set and profile, where its figures and tables go.

On Colab data and finished runs go to Drive, where a disconnect leaves them, and what is large and soon made again to
the local disk. The top of this module imports what Python brings: Colab installs the rest by it.
"""

import contextlib
import functools
import hashlib
import importlib
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRATCH = Path("/content/it_scratch")  # Colab's local disk
PREINSTALLED = ("torch", "torchvision", "numpy")  # built for Colab's devices, and imported already


def set_up(drive):
    """Install the project for this kernel; set $IT_RUNS, $IT_SCRATCH and $IT_DATA, unless they are set.

    Data: IT_data.h5 on Drive (a shortcut to it will do), else in the project, else a stand-in, made on Drive once.

    Parameters
    ----------
    drive : Path of My Drive

    Raises
    ------
    subprocess.CalledProcessError
        If a dependency asks for another version of torch, torchvision or numpy: pip then changes nothing.
    """
    kept = [f"{name}=={version(name)}" for name in PREINSTALLED]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--editable", str(ROOT), *kept], check=True)
    importlib.invalidate_caches()  # this kernel looked for packages before they came
    places = (drive / "IT_data.h5", ROOT / "data" / "IT_data.h5", drive / "it_runs" / "standin.h5")
    data = next((path for path in places if path.exists()), None)
    if data is None:
        data = places[-1]
        subprocess.run([sys.executable, "-m", "helpers", "data", "standin", str(data)], cwd=ROOT, check=True)
    os.environ.setdefault("IT_DATA", str(data))
    os.environ.setdefault("IT_RUNS", str(drive / "it_runs"))
    os.environ.setdefault("IT_SCRATCH", str(SCRATCH))  # Drive is slow, and keeps what is overwritten in its trash
    print(f"project {ROOT}\ndata    {os.environ['IT_DATA']}\nruns    {os.environ['IT_RUNS']}")


@dataclass(frozen=True)
class Study:
    """What a notebook works on.

    Attributes
    ----------
    dataset : Dataset, as the profile sees it
    profile : Profile
    output : Path of the folder of figures and tables
    ceiling : noise ceiling per neuron (n_neurons,), or the published reliability where the file has no repeats
    ceiling_sentence : str, which of the two it is
    note : str, the sentence about simulated responses; empty for recordings
    """

    dataset: object
    profile: object
    output: Path
    ceiling: object
    ceiling_sentence: str
    note: str

    def save(self, drawn, name, caption, *, of_data=True):
        """Write a figure with a caption below it, as `name`.png.

        drawn : the figure, its axis, or an array of axes. of_data : whether it shows this data set's numbers, which the
        caption calls simulated where they are
        """
        from helpers import cache, plots

        figure = getattr(drawn, "figure", None) or (drawn if hasattr(drawn, "savefig") else drawn.flat[0].figure)
        note = f"{self.dataset.path.name}: {self.note} " if self.note and of_data else ""
        plots.caption(figure, note + caption)
        path = self.output / f"{name}.png"
        cache.write_whole(path, lambda part: figure.savefig(part, dpi=150, bbox_inches="tight", format="png"))

    def keep(self, frame, name):
        """Write a table as `name`.csv, and return it."""
        write_table(frame, self.output, name)
        return frame

    def committed(self, name):
        """A table that takes longer than a notebook, made before by a command; empty where nobody has made it."""
        import pandas as pd

        path = folder_for(self.dataset.path, ROOT / "figures") / f"{name}.csv"
        return pd.read_csv(path) if path.exists() else pd.DataFrame()

    def rows(self, *stages):
        """The results table's experiments of some stages; none with an object head where there is one object alone."""
        from helpers.experiments.networks_and_recipes import EXPERIMENTS

        several = len(self.dataset.object_names) > 1
        rows = [row for row in EXPERIMENTS.values() if row.stage in stages and row.in_table]
        return [row for row in rows if several or row.label_weight is None]

    def compare(self, networks, *, recipe="repaired", seeds=1):
        """Train networks of one's own, or find them trained, and show them beside the row whose recipe they share.

        Parameters
        ----------
        networks : dict name -> function or class, called with (height, width) and n_neurons, that returns an nn.Module
            from images (b, 3, height, width) to predictions (b, n_neurons); or a full timm tag, to be fine-tuned
        recipe : "published", "repaired", or a training.recipe.Recipe
        seeds : int, of every network

        Returns
        -------
        The results table, as a Styler; the figure is own_networks.png. Raises what `experiments.own.row` raises.
        """
        from helpers import plots
        from helpers.analyses import tables
        from helpers.experiments import own, runs

        where = self.dataset, self.profile
        chosen = [own.row(name, network, *where, recipe=recipe) for name, network in networks.items()]
        done = {row.name: [runs.run(row, *where, seed=seed) for seed in range(seeds)] for row in chosen}
        beside = {row.name: row for row in map(own.reference, chosen)}
        done |= {name: found for name, row in beside.items() if (found := runs.find_all(row, *where))}
        chosen += [row for name, row in beside.items() if name in done]
        table = tables.results_table(chosen, done, self.dataset)
        scores = tables.neuron_scores({name: [run.val for run in found] for name, found in done.items()}, self.dataset)
        ax = plots.strip(table, scores, ceiling=self.ceiling)
        self.save(ax, "own_networks", "Dots: seeds; lines: 95 % interval over val images and seeds.")
        return tables.shown(table, self.dataset)

    def answer(self, *sentences):
        """Show sentences as a list, below the note on simulated responses."""
        from IPython.display import Markdown, display

        note = f"**{self.note}**\n\n" if self.note else ""
        display(Markdown(note + "\n".join(f"- {sentence}" for sentence in sentences)))


def setup():
    """Load the data set that is there, cut it to the profile, and say what they are: a Study."""
    import matplotlib.pyplot as plt
    import pandas as pd

    from helpers import datasets
    from helpers.datasets import populations
    from helpers.experiments import profiles, runs

    plt.rcParams["figure.dpi"] = 80  # keeps the notebook small; saved figures have 150
    pd.set_option("display.max_colwidth", None)
    file, profile = datasets.load(), profiles.current_profile()
    dataset = profile.prepare(file)
    profile = profiles.planned(profile, dataset, runs.find_all)
    train, val = dataset.train.responses, dataset.val.responses
    print(f"{file.path.name}, profile {profile.name!r}: (n_images, n_neurons) = {train.shape} train, {val.shape} val")
    print(f"(height, width) = {dataset.images.shape[2:]} pixels, {len(dataset.object_names)} objects", end="")
    print("" if dataset is file else f"; cut from {len(file.train.images)} images of {file.images.shape[2:]} pixels")
    note = datasets.SIMULATED if dataset.is_standin else ""
    print(note or "recordings")
    return Study(dataset, profile, output_folder(file.path), *populations.ceiling_of(dataset), note)


def show_source(thing):
    """The source of a function or class of this package, or of a notebook's cell, with its colours."""
    from IPython.display import Code

    from helpers.experiments.own import source_of

    return Code(source_of(thing), language="python")


def write_table(frame, folder, name):
    """Write a frame as `name`.csv into a folder, with its index where that names its lines; return the path."""
    import pandas as pd

    from helpers.cache import write_whole

    path, index = folder / f"{name}.csv", not isinstance(frame.index, pd.RangeIndex)
    write_whole(path, lambda beside: frame.to_csv(beside, index=index))
    return path


def output_folder(path, *, below="figures"):
    """Where figures, tables and pages of a data file go: $IT_OUT, or else figures/<data set>; made if need be."""
    from helpers.cache import make_writable

    given = os.environ.get("IT_OUT")
    folder = Path(given) if given else folder_for(path, ROOT / below)
    make_writable(folder, "IT_OUT")
    return folder


def folder_for(path, parent):
    """The folder of a data file below `parent`, by the file's name; another file of that name has one with a hash.

    Whose a folder is stands in its data_file.txt; without that it is the one of the project's own file in data/.
    """
    path = Path(path).resolve()
    folder, own = parent / path.stem, ROOT / "data" / path.name
    note = folder / "data_file.txt"
    owner = Path(note.read_text(encoding="utf-8").strip()) if note.exists() else own if own.exists() else path
    if owner != path:
        folder = parent / f"{path.stem}-{hashlib.blake2b(str(path).encode(), digest_size=3).hexdigest()}"
    elif path != own and not note.exists():
        with contextlib.suppress(OSError):  # a folder that cannot be written is refused by those who write to it
            folder.mkdir(parents=True, exist_ok=True)
            note.write_text(f"{path}\n", encoding="utf-8")
    return folder


def stamp():
    """Date, code version and hardware, for reports."""
    from helpers.cache import code_hash
    from helpers.device import hardware

    version = f"hash {code_hash('run')}"
    git = functools.partial(subprocess.run, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    with contextlib.suppress(OSError, subprocess.CalledProcessError):  # no git, or not a clone
        version = git(["git", "rev-parse", "--short", "HEAD"], check=True).stdout.strip()
        if git(["git", "status", "--porcelain", "helpers", "benchmarks/*.py"], check=True).stdout:
            version += " with changes"
    return f"{datetime.now(UTC):%Y-%m-%d}; code {version}; {hardware()}"
