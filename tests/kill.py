"""Kill a training process at random moments, start it again, and compare with one that was never killed.

python tests/kill.py [--times 50]
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

DRIVER = """
import sys
from dataclasses import replace
from helpers import datasets, experiments, runs, training
training.CHECKPOINT_SECONDS = 0.0
dataset = datasets.load(sys.argv[1])
limits = {"shallow": experiments.Limit(epochs=40, presentations=10**9, seeds=1)}
profile = replace(experiments.PROFILES["tiny"], limits=limits, n_train=None)
experiment = experiments.EXPERIMENTS["shallow-dropout-l2-repaired"]
experiment = replace(experiment, recipe=replace(experiment.recipe, epochs=40))
print("ready", flush=True)
runs.run(experiment, dataset, profile, seed=0)
"""


def drive(tiny_file, folder, kill_after=None):
    """Run DRIVER on a data file, runs in a folder; kill it so many seconds after it is ready.

    Returns the seconds it took, or None if it was killed.
    """
    environment = os.environ | {"IT_RUNS": str(folder), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", DRIVER, tiny_file], env=environment, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    began = time.monotonic()
    try:
        process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return None
    assert process.returncode == 0
    return time.monotonic() - began


def predictions_in(folder):
    (path,) = folder.glob("*/*/*/predictions.npz")
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def kill_and_compare(tiny_file, folder, n_kills):
    """Kill a run so many times (it may finish before), let it end, and compare it with an uninterrupted one.

    Returns the number of kills, of kills that left a checkpoint, and whether all predictions are bit-identical.
    """
    seconds = drive(tiny_file, folder / "whole")
    kills, resumed = 0, 0
    while (
        kills < n_kills and drive(tiny_file, folder / "killed", kill_after=random.uniform(0.2, 0.7) * seconds) is None
    ):
        kills += 1
        resumed += len(list((folder / "killed").glob("*/*/*/checkpoint.pt")))
    drive(tiny_file, folder / "killed")
    whole, killed = predictions_in(folder / "whole"), predictions_in(folder / "killed")
    return kills, resumed, all(np.array_equal(whole[role], killed[role]) for role in ("val", "test"))


def main():
    from helpers import standin

    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--times", type=int, default=50, help="kills in all")
    times, kills, identical = options.parse_args().times, 0, True
    with tempfile.TemporaryDirectory() as folder:
        tiny_file = standin.write(Path(folder) / "tiny.h5", n_images=(96, 32, 32), pixels=32, n_trials=6)
        rounds = 0
        while kills < times and identical:
            rounds += 1
            more, _, identical = kill_and_compare(tiny_file, Path(folder) / str(rounds), times - kills)
            kills += more
            print(f"round {rounds}: {kills} kills, predictions {'identical' if identical else 'DIFFER'}", flush=True)
    return 0 if identical else 1


if __name__ == "__main__":
    sys.exit(main())
