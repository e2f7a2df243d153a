"""The checkpoint of a run under way, on a local disk beside a slow one where there are two."""

import pickle
import shutil
import time
from pathlib import Path

import torch

from helpers import cache

SAVED_SECONDS = 30.0  # between checkpoints
COPY_SECONDS = 600.0  # between copies of a checkpoint: Colab's Drive keeps every overwritten file in its trash


class Checkpoint:
    """The checkpoint of the run whose result comes to `folder`.

    With $IT_SCRATCH it is written to the local disk, which a machine that is taken away takes along, and copied to the
    folder of the result, every ten minutes at most. Without, it lies in the folder of the result.
    """

    def __init__(self, folder):
        self.kept = folder / "checkpoint.pt"
        self.local = cache.scratch_folder() / self.kept.relative_to(cache.runs_folder())
        self.saved_at = self.kept_at = time.monotonic()

    def take_up(self):
        """The saved state: the local disk's, else the copy that a lost machine left; None where neither is there."""
        return next((state for path in (self.local, self.kept) if (state := load(path)) is not None), None)

    def keep(self, state):
        """Write what `state()` returns, and copy it, each if the last time is long ago. Call it after every epoch."""
        if time.monotonic() - self.saved_at < SAVED_SECONDS:
            return
        cache.write_whole(self.local, lambda path: torch.save(state(), path))
        self.saved_at = time.monotonic()
        if self.local != self.kept and self.saved_at - self.kept_at >= COPY_SECONDS:
            cache.write_whole(self.kept, lambda path: shutil.copyfile(self.local, path))
            self.kept_at = time.monotonic()

    def remove(self):
        """Delete both files, of a run that is finished."""
        for path in (self.local, self.kept):
            if path.exists():  # a disk that is only read has none
                path.unlink(missing_ok=True)


def load(path):
    """The saved state, or None where there is none; a damaged file is set aside with a warning."""
    path = Path(path)
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        cache.set_aside(path, error)
        return None
