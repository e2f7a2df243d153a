"""Where the checkpoint of a run lies: on the local disk, with a copy beside the results where these lie elsewhere."""

import shutil
import time

from helpers import cache

COPY_SECONDS = 600.0  # Colab's Drive keeps every file that was overwritten in its trash


class Checkpoint:
    """The checkpoint of the run whose result comes to `folder`.

    With $IT_SCRATCH it is written to the local disk, which a machine that is taken away takes along; `keep` copies it
    to the folder of the result, every ten minutes at most. Without, it lies in the folder of the result.
    """

    def __init__(self, folder):
        self.kept = folder / "checkpoint.pt"
        self.local = cache.scratch_folder() / self.kept.relative_to(cache.runs_folder())
        self.kept_at = time.monotonic()

    def take_up(self):
        """Path that a run continues from and writes to; a copy that a lost machine left is fetched."""
        if not self.local.exists() and self.kept.exists():
            cache.write_whole(self.local, lambda path: shutil.copyfile(self.kept, path))
        return self.local

    def keep(self):
        """Copy the local file, if there is one and the last copy is old enough. Call it after every epoch."""
        if self.local == self.kept or time.monotonic() - self.kept_at < COPY_SECONDS or not self.local.exists():
            return
        cache.write_whole(self.kept, lambda path: shutil.copyfile(self.local, path))
        self.kept_at = time.monotonic()

    def remove(self):
        """Delete both files, of a run that is finished."""
        for path in (self.local, self.kept):
            if path.exists():  # a disk that is only read has none
                path.unlink(missing_ok=True)
