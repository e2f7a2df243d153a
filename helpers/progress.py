"""One line that rewrites itself: how much is done, and the time left."""

import time

SILENT_SECONDS = 5  # what ends sooner needs no line


def show(label, began, done, total):
    """Print how far a piece of work has got.

    Parameters
    ----------
    label : what is done to what
    began : time.monotonic() when the work began
    done, total : ints, of the same things
    """
    seconds = time.monotonic() - began
    if seconds < SILENT_SECONDS:
        return
    if done == total:
        print(f"\r{label}: {total} in {seconds:.0f} s{' ' * 20}", flush=True)
    else:
        print(f"\r{label}: {done} of {total}, {seconds / done * (total - done):.0f} s left   ", end="", flush=True)
