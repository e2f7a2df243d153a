"""How much is done and the time left: tqdm's bar, in text on standard output, gone when the work is done."""

import sys
import time

from tqdm import tqdm

SILENT_SECONDS = 5.0  # what ends sooner needs no bar
_open = {}  # (label, began) -> bar of `show`


def bar(label, total):
    """A bar of `total` steps: move it on by `advance` and close it; print a line then, or a notebook keeps a blank."""
    text = {"ascii": True, "file": sys.stdout, "mininterval": 0.5, "leave": False}
    return tqdm(total=total, desc=label, delay=SILENT_SECONDS, **text)


def advance(bar, done, seconds=None):
    """Move a bar on to `done` steps, the last of which took so many seconds, where that is known.

    The time left is measured from the first step here: neither what was taken up nor what came before (networks are
    built and downloaded) counts.
    """
    if bar.n == 0 and done > 0:
        bar.initial = bar.n = bar.last_print_n = done - 1
        if seconds is not None:
            bar.start_t = bar.last_print_t = time.time() - seconds
    bar.update(done - bar.n)


def show(label, began, done, total):
    """Show how far a piece of work has got, and at its end how long it took.

    Parameters
    ----------
    label : what is done to what
    began : time.monotonic() when the work began
    done, total : ints, of the same things
    """
    seconds = time.monotonic() - began
    if (label, began) not in _open:
        _open[label, began] = bar(label, total)
        _open[label, began].start_t -= seconds
    shown = _open[label, began]
    shown.update(done - shown.n)
    if done == total:
        _open.pop((label, began)).close()
        if seconds >= SILENT_SECONDS:
            print(f"{label}: {total} in {seconds:.0f} s", flush=True)
