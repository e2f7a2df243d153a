"""Files written whole or not at all; damaged ones set aside."""

import contextlib
import os
import time
import warnings
from pathlib import Path

LEFT_SECONDS = 3600.0  # a half-written file that nobody has touched for so long is nobody's


def write_whole(path, write):
    """Call `write(temporary path)` and move the result to `path`, so that a reader sees a whole file or none."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*"):  # by processes that were killed while they wrote
        with contextlib.suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                left.unlink()
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def set_aside(path, error):
    """Rename a damaged file so that it is neither used nor lost."""
    damaged = path.with_name(path.name + ".damaged")
    with contextlib.suppress(FileNotFoundError):  # another process may have been first
        os.replace(path, damaged)
    warnings.warn(f"{path} is damaged ({error}); set aside as {damaged.name} and made again", stacklevel=3)
