"""Kill a training process at random moments, start it again, and compare with one that was never killed.

    python tests/kill.py [--times 50] [--row lite0-bi-objective-repaired]

Every process is a real one that trains a real row and gets a real SIGKILL. They are forked from a server that has
imported the package and run nothing, which spares each start the imports. A checkpoint is written after every epoch,
so that kills fall into writing one as well.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["helpers.experiments.runs", "helpers.experiments.search"])
# row -> epochs: heads trained with the network, and heads by ridge that follow from the backbone
ROWS = {"shallow-dropout-l2-repaired": 20, "lite0-bi-objective-repaired": 5}
SHALLOW = "shallow-dropout-l2-repaired"


class Kill(NamedTuple):
    """What a kill left behind."""

    seconds: float  # after the process began
    epochs: int  # in the checkpoint
    writing: bool  # whether it fell into writing a file


def train(tiny_file, folder, ready, name):
    """Train the row in this process; its runs lie in a folder."""
    import torch

    from helpers import datasets
    from helpers.experiments import profiles, runs
    from helpers.experiments.networks_and_recipes import EXPERIMENTS
    from helpers.training import checkpoint

    torch.set_num_threads(1)
    os.environ["IT_RUNS"] = str(folder)
    checkpoint.SAVED_SECONDS = 0.0
    dataset = datasets.load(tiny_file)
    experiment = EXPERIMENTS[name]
    experiment = replace(experiment, recipe=replace(experiment.recipe, epochs=ROWS[name]))
    ready.set()
    with contextlib.redirect_stdout(io.StringIO()):
        runs.run(experiment, dataset, profiles.PROFILES["tiny"], seed=0)


def begin(tiny_file, folder, name=SHALLOW):
    """A process that has the data in memory and is about to train."""
    ready = SERVER.Event()
    process = SERVER.Process(target=train, args=(str(tiny_file), str(folder), ready, name))
    process.start()
    assert ready.wait(timeout=120)
    return process


def whole(tiny_file, folder, name=SHALLOW):
    """Seconds of a run that nobody kills, and its predictions."""
    process, began = begin(tiny_file, folder, name), time.monotonic()
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - began, predictions_in(folder)


def predictions_in(folder):
    (path,) = Path(folder).glob("*/*/*/predictions.npz")
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def kill_until_done(tiny_file, folder, seconds, n_kills, name=SHALLOW):
    """Start a run again and again, each time killed at a random moment of its `seconds`, at most so many times.

    Returns a list of Kill; the run is finished then.
    """
    from helpers.training import checkpoint

    kills, half_written = [], set()
    while True:
        process, began = begin(tiny_file, folder, name), time.monotonic()
        process.join(timeout=random.uniform(0, 0.6) * seconds if len(kills) < n_kills else None)
        if len(kills) == n_kills - 1 and not any(kill.epochs for kill in kills):  # the last: of a run with a checkpoint
            while process.is_alive() and not [*Path(folder).glob("*/*/*/checkpoint.pt")]:
                time.sleep(0.01)
        if process.exitcode is not None:
            assert process.exitcode == 0
            return kills
        process.kill()
        process.join()
        saved = [checkpoint.load(path) for path in Path(folder).glob("*/*/*/checkpoint.pt")]
        left = set(Path(folder).glob("*/*/*/.*"))
        epochs = len(saved[0]["history"]) if saved else 0
        kills.append(Kill(time.monotonic() - began, epochs, bool(left - half_written)))
        half_written = left


def identical(a, b):
    """Whether two runs' predictions are the same bit for bit."""
    return all(np.array_equal(a[role], b[role]) for role in ("val", "test"))


def main():
    from helpers.datasets.simulated import standin

    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--times", type=int, default=50, help="kills in all")
    options.add_argument("--row", choices=ROWS, default=SHALLOW)
    options = options.parse_args()
    times, kills, same = options.times, [], True
    with tempfile.TemporaryDirectory() as folder:
        tiny_file = standin.write(Path(folder) / "tiny.h5", n_images=(96, 32, 32), pixels=32, n_trials=6)
        seconds, expected = whole(tiny_file, Path(folder) / "whole", options.row)
        print(f"uninterrupted: {ROWS[options.row]} epochs in {seconds:.1f} s", flush=True)
        began, rounds = time.monotonic(), 0
        while len(kills) < times and same:
            rounds += 1
            here = Path(folder) / str(rounds)
            more = kill_until_done(tiny_file, here, seconds, times - len(kills), options.row)
            same = identical(predictions_in(here), expected)
            for kill in more:
                words = ", while it wrote a file" if kill.writing else ""
                print(f"killed after {kill.seconds:.2f} s, {kill.epochs} epochs saved{words}")
            print(f"run {rounds} ended after {len(more)} kills: {'identical' if same else 'DIFFERS'}", flush=True)
            kills += more
    resumed, writing = sum(kill.epochs > 0 for kill in kills), sum(kill.writing for kill in kills)
    print(
        f"{len(kills)} kills of {rounds} runs in {time.monotonic() - began:.0f} s, {writing} while a file was written; "
        f"{resumed} went on from a checkpoint; predictions {'identical every time' if same else 'DIFFER'}"
    )
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
