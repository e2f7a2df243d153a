"""Google Colab: install what it lacks, keep what it has; data and runs go to Drive, where a disconnect leaves them."""

import importlib
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
PREINSTALLED = ("torch", "torchvision", "numpy")  # built for Colab's devices, and imported already


def set_up(drive):
    """Install the project for this kernel; set $IT_RUNS and $IT_DATA, unless they are set.

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
    print(f"project {ROOT}\ndata    {os.environ['IT_DATA']}\nruns    {os.environ['IT_RUNS']}")
