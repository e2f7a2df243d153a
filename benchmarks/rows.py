"""Every row of the published table, whole, once: that each runs to its end by both recipes, and no more than that.

    python benchmarks/rows.py [--rows shallow-published vit-tiny-repaired]

The fifteen trained rows by both recipes, all of their own epochs, on 648 training images of a stand-in (a quarter of
the course's) at 64 pixels, one seed; random weights where no others lie here. Each row runs in a process of its own,
whose peak memory is kept. Killed, the same command goes on: finished rows stand in benchmarks/rows.csv, a row under way
goes on from its checkpoint. Scores of random weights and small images say nothing of the networks.
"""

import argparse
import resource
import subprocess
import sys
from pathlib import Path

import pandas as pd
import torch

from helpers import cache, datasets, metrics, notebook
from helpers.datasets.simulated import standin
from helpers.experiments import runs
from helpers.experiments.networks_and_recipes import EXPERIMENTS, published_rows
from helpers.experiments.profiles import Profile

TABLE = Path(__file__).parent / "rows.csv"
PROFILE, N_IMAGES = Profile("rows", None, n_train=648, pixels=64), (1296, 144, 160)  # in train, val and test
PUBLISHED = published_rows()
NAMES = [name for name, experiment in EXPERIMENTS.items() if experiment.in_table and experiment.row in PUBLISHED]


def run(name):
    """Run one row, and put its line into the table: cost, score, and how far it ran."""
    experiment, dataset = EXPERIMENTS[name], PROFILE.prepare(datasets.load(data_file()))
    found = runs.run(experiment, dataset, PROFILE)
    scores = metrics.explained_variance(dataset.val.responses, found.val)
    columns = ("weights", "diverged", "seconds", "epochs", "recipe_epochs", "n_train", "pixels", "hardware")
    line = {"name": name, "row": experiment.row, "explained_variance": float(metrics.known_mean(scores))}
    line |= {column: found.info[column] for column in columns} | {"peak_memory_gb": peak_memory()}
    keep(line)


def data_file():
    """The stand-in of these rows, which lies with what can be made again; rendered if it is not there."""
    path = cache.scratch_folder() / "standin_rows.h5"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        standin.write(path, n_images=N_IMAGES)
    return path


def peak_memory():
    """Peak memory of this process in GB; on a GPU, of what it held there."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def keep(line):
    """Put a line into the table, in the rows' order; a table that lacks some says how many it has."""
    table = pd.concat([*known(), pd.DataFrame([line])]).drop_duplicates("name", keep="last")
    table = table.sort_values("name", key=lambda names: names.map(NAMES.index), ignore_index=True)
    missing = "" if len(table) == len(NAMES) else f"incomplete, {len(table)} of {len(NAMES)} rows; "
    table["made"] = f"{missing}python benchmarks/rows.py; {notebook.stamp()}"
    cache.write_whole(TABLE, lambda beside: table.round(4).to_csv(beside, index=False))


def known():
    """The table as it lies there, as a list of one frame or none."""
    return [pd.read_csv(TABLE)] if TABLE.exists() else []


def finished():
    return {name for table in known() for name in table["name"]}


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--rows", nargs="+", choices=NAMES, default=NAMES, help="some rows alone")
    options.add_argument("--one", choices=NAMES, help=argparse.SUPPRESS)  # in this process
    options = options.parse_args()
    if options.one:
        return run(options.one)
    failed = []
    for i, name in enumerate(options.rows, 1):
        if name in finished():
            continue
        print(f"{name} ({i} of {len(options.rows)})", flush=True)
        if subprocess.run([sys.executable, __file__, "--one", name]).returncode:
            failed.append(name)
    print(f"{len(finished())} of {len(NAMES)} rows in {TABLE}")
    return f"failed: {', '.join(failed)}" if failed else None


if __name__ == "__main__":
    sys.exit(main())
