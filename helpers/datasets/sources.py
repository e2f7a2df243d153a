"""Download data files: the course's. What goes wrong leaves nothing behind; nothing is overwritten."""

from pathlib import Path

from helpers.datasets.hdf5 import DataError
from helpers.datasets.pack import written_whole

DRIVE_ID = "1s6caFNRpyR9m7ZM6XEv_e8mcXT3_PnHS"
COURSE_FILE = Path(__file__).parents[2] / "data" / "IT_data.h5"
RETRIES, TIMEOUT = 2, 60  # of a download; seconds without a byte


def fetch(target=COURSE_FILE, *, url=None):
    """Download the course file from Google Drive with gdown, check it and put it in place.

    Parameters
    ----------
    target : str or Path
        Must not exist.
    url : str, optional
        Another place to get it from.

    Returns
    -------
    target : Path

    Raises
    ------
    DataError
        If the target exists, the download breaks off, or what came is not a data file; nothing is left behind.
    """
    import gdown
    import requests

    with written_whole(target) as part:
        source = url or f"https://drive.google.com/uc?id={DRIVE_ID}"
        failures = (gdown.exceptions.DownloadError, gdown.exceptions.FileURLRetrievalError, requests.RequestException)
        try:
            gdown.download(source, str(part), use_cookies=False, retries=RETRIES, timeout=TIMEOUT)
        except (*failures, OSError) as error:
            reason = " ".join(str(error).split()).split(". The received bytes")[0].rstrip(".")
            by_hand = f"download {source} in a browser and move it to {target}"
            raise DataError(f"{target}: not downloaded ({reason}); try again, or {by_hand}.") from error
    return Path(target)
