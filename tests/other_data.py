"""The whole report, in the tests' profile, on a data file of every form that can be fetched or packed.

    python tests/other_data.py FOLDER [--only NAME ...]

FOLDER takes the inputs, made here in small with invented responses, the data files, the pages and the runs; a minute
or two each. Prints of every file how its report ended and what notebook 0 says of ceilings, groups and a second area.
"""

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image
from test_sources import CSV, NC, SHARED, ZIP, make_session, make_store, served

RUN = [sys.executable, "-m", "helpers"]
SAYS = (
    r"^(?:Noise ceiling|The file has no|Fewer than|The file tells|No file of|.*is not beside|.*, the same images\.).*"
)


def helpers(*arguments, **variables):
    """A command of the package, which must succeed."""
    subprocess.run([*RUN, *map(str, arguments)], check=True, env=os.environ | variables)


def rebuilt(folder):
    """The public store in small, on loopback; V4 beside IT."""
    make_store(folder / "store", n_images=160)
    with served(folder / "store") as (address, _, _):
        for each in ("majaj-hong-it", "majaj-hong-v4"):
            where = ["--from", address, "--unverified"]
            helpers("data", "fetch", each, folder / f"{each}.h5", *where, NO_PROXY="127.0.0.1")
    return folder / "majaj-hong-it.h5"


def assembly(folder):
    """A BrainIO assembly of two areas."""
    make_store(folder / "store", n_images=120)
    inputs = [folder / "store" / name for name in (NC, CSV, ZIP)]
    helpers("data", "pack", *inputs, folder / "assembly.h5")
    return folder / "assembly.h5"


def sample(folder):
    """A file that BrainIO wrote: six images of one object, each shown once."""
    if not SHARED.exists():
        return None
    with (folder / "sample.csv").open("w", newline="") as table:
        csv.writer(table).writerows([["image_id", "filename"], *([f"n{i}", f"{i}.png"] for i in range(6))])
    save_images(folder, noise(6))
    path = SHARED / "brainio_samples" / "assy_test_package_assembly.nc"
    helpers("data", "pack", path, folder / "sample.csv", folder, folder / "sample.h5")
    return folder / "sample.h5"


def arrays(folder):
    """images x trials x neurons, a quarter of the trials missing, and no objects."""
    trials = responses(120, 4)
    trials[::3, 3] = np.nan
    np.savez(folder / "arrays.npz", images=noise(120), responses=trials)
    helpers("data", "pack", folder / "arrays.npz", folder / "own-arrays.h5")
    return folder / "own-arrays.h5"


def table(folder):
    """A CSV with a row per presentation."""
    rows = [["file", "object", *(f"unit {i}" for i in range(6))]]
    for i, trials in enumerate(responses(100, 3)):
        rows += [[f"{i}.png", f"object {i % 5}", *trial.round(3)] for trial in trials]
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    save_images(folder, noise(100))
    helpers("data", "pack", folder, folder / "table.csv", folder / "own-table.h5")
    return folder / "own-table.h5"


def cowley(folder):
    """A session of Cowley et al. with invented trials, from the images of data/v4_hvm640.csv."""
    if not SHARED.exists():
        return None
    kept = np.load(SHARED / "v4_hvm640" / "v4_hvm640.npz")
    images = np.concatenate([kept[f"images_{split}"] for split in ("train", "val", "test")])
    make_session(folder / "session", images)
    helpers("data", "fetch", "cowley-v4", folder / "cowley-v4.h5", "--from", folder / "session")
    return folder / "cowley-v4.h5"


def noise(n_images):
    return np.random.default_rng(0).integers(0, 256, (n_images, 32, 32), dtype=np.uint8)


def responses(n_images, n_trials):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n_images, 1, 6)) + rng.normal(size=(n_images, n_trials, 6))


def save_images(folder, images):
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i}.png")


def said(notebook):
    """What a notebook prints of ceilings, groups and a second area."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(output.get("text", "")) for cell in cells for output in cell.get("outputs", [])]
    return re.findall(SAYS, "\n".join(texts), flags=re.MULTILINE)


MAKE = {make.__name__: make for make in (rebuilt, assembly, sample, arrays, table, cowley)}


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("folder", type=Path)
    options.add_argument("--only", nargs="+", choices=MAKE, default=list(MAKE))
    options = options.parse_args()
    failed = []
    for name in options.only:
        folder, began = options.folder.resolve() / name, time.monotonic()
        folder.mkdir(parents=True)
        if (path := MAKE[name](folder)) is None:
            print(f"{name}: left out, its originals are not here")
            continue
        places = {"IT_OUT": str(folder / "report"), "IT_RUNS": str(folder / "runs")}
        command = [*RUN, "report", "--profile", "tiny", "--data", str(path)]
        with (folder / "report.log").open("w") as log:
            done = subprocess.run(command, env=os.environ | places, stdout=log, stderr=subprocess.STDOUT)
        print(
            f"{name}: {'fails' if done.returncode else 'whole'}, {time.monotonic() - began:.0f} s; {folder}/report.log"
        )
        print("\n".join(said(folder / "report" / "0_data_and_readouts.ipynb")), flush=True)
        failed += [name] * bool(done.returncode)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
