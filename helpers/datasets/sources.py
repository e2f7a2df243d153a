"""Download public recordings and write them as data files. What can be resumed is; nothing is overwritten."""

import hashlib
import json
import os
import shutil
import time
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import requests

from helpers import progress
from helpers.datasets.describe import catalogue
from helpers.datasets.formats import public
from helpers.datasets.formats.whole import must_be_new, written_checked
from helpers.datasets.hdf5 import DataError
from helpers.datasets.pack import write

RETRIES, TIMEOUT = 2, 60  # of a download; seconds without a byte
BLOCK = 2**13  # bytes; what has come of the last block is lost where the connection breaks
CONVERTERS = {"majaj_hong": public.majaj_hong, "cowley": public.cowley}
LIBRARIES = ("numpy", "h5py", "pillow", "scikit-learn", "torch")


def fetch(name, out, *, origin=None, unverified=False, session=None, as_course=False):
    """Download a source of the catalogue (data/sources.json), convert it and write it as a data file.

    Prints what agrees with the course's file. Downloads stay beside the file in `.downloads`, where a second try goes
    on, and are found again by their digests.

    Parameters
    ----------
    name : str
        course, majaj-hong-it, majaj-hong-v4 or cowley-v4.
    out : str or Path
        Must not exist.
    origin : str or Path, optional
        A folder that has the files, or the address of another place that does.
    unverified : bool
        Take files whose digest differs; the data file says so.
    session : str, optional
        Of Cowley et al., other than 210325; without labels.
    as_course : bool
        Write the course file's keys alone, and its normalised float32 images.

    Returns
    -------
    out : Path

    Raises
    ------
    DataError
        If the target exists, a download fails, or what came is not what is expected; no data file is left behind.
    """
    if name not in catalogue():
        raise DataError(f"{name}: no such source; expected one of {', '.join(catalogue())}.")
    out = must_be_new(out)
    entry = dict(catalogue()[name])
    if session and "session" not in entry:
        raise DataError(f"{name}: has no sessions; expected --session with cowley-v4 alone.")
    entry["session"] = session or entry.get("session")
    megabytes = sum(file["megabytes"] for file in entry["files"])
    where = f"from {origin}" if origin else f"about {megabytes} MB to download"
    print(f"{name}: {entry['title']}; {where}. Cite {entry['citation']}. Licence: {entry['licence']}.", flush=True)
    if entry["converter"] == "as_it_is":
        return _fetch_course(entry["files"][0], out, origin)
    files = [_of_session(file, entry["session"]) for file in entry["files"]]
    folder = out.parent / ".downloads" / (_short(origin) if origin else name.rsplit("-", 1)[0])
    paths = [_obtain(file, folder, origin, unverified) for file in files]
    digests = {file["name"]: sha1(path) for file, path in zip(files, paths, strict=True)}
    try:
        recordings, lines = CONVERTERS[entry["converter"]](entry, *paths)
    except DataError:
        for file, path in zip(files, paths, strict=True):  # a second try is to get another
            if path.parent == folder and file["sha1"] != digests[file["name"]]:
                path.unlink()
        raise
    differing = [file["name"] for file in files if file["sha1"] not in (None, digests[file["name"]])]
    recordings.attributes = _attributes(name, entry, digests, differing, lines)
    write(recordings, out, pixels=entry["pixels"], as_course=as_course)
    print("\n".join([*lines, *(f"{file}: its digest was not verified" for file in differing)]))
    return out


def _attributes(name, entry, digests, differing, lines):
    """What the file says of where it comes from."""
    return {
        "source": name, "description": f"{entry['title']}.", "citation": entry["citation"], "licence": entry["licence"],
        "date": datetime.now(UTC).date().isoformat(), "sha1": json.dumps(digests), "session": entry["session"] or "",
        "versions": json.dumps({library: version(library) for library in LIBRARIES}), "agreement": "\n".join(lines),
        **({"unverified": ", ".join(differing)} if differing else {}),
    }  # fmt: skip


def _of_session(file, session):
    mirrors = [mirror.format(session=session) for mirror in file["mirrors"]]
    return {**file, "name": file["name"].format(session=session), "mirrors": mirrors}


def _short(text):
    return hashlib.blake2b(str(text).encode(), digest_size=4).hexdigest()


def sha1(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()


def _is_address(origin):
    return str(origin).startswith(("http://", "https://"))


def _obtain(file, folder, origin, unverified):
    """Path of a file of the catalogue, with the digest it should have: in a folder, downloaded earlier, or now."""
    paths = [PurePosixPath(urlsplit(mirror).path) for mirror in file["mirrors"]]
    if origin and not _is_address(origin):
        names = dict.fromkeys([file["name"], *(path.name for path in paths)])
        found = next(chain.from_iterable(Path(origin).rglob(name) for name in names), None)
        if found is None:
            raise DataError(f"{origin}: has no {file['name']}; expected a folder with the source's files.")
        _verify(found, file, unverified)
        return found
    addresses = file["mirrors"]
    if origin:  # a mirror may have the files in one folder, or in folders as their source has them
        tails = dict.fromkeys([file["name"], *("/".join(path.parts[1:][-n:]) for path in paths for n in (1, 2, 3))])
        addresses = [f"{str(origin).rstrip('/')}/{tail}" for tail in tails]
    target, reasons = folder / file["name"], []
    for address in addresses:
        try:
            if not target.exists():
                _download(address, target)
            _verify(target, file, unverified)
            return target
        except (DataError, requests.RequestException) as error:
            target.unlink(missing_ok=True)
            reasons.append(_reason(error))
        except OSError as error:
            raise DataError(
                f"{target}: cannot be written ({error.strerror}); expected space and a folder that can."
            ) from error
    why = "; ".join(dict.fromkeys(reasons))
    raise DataError(
        f"{file['name']}: not downloaded ({why}); try again to go on, or give a folder that has it by --from."
    )


def _reason(error):
    if isinstance(error, requests.HTTPError):
        return f"{error.response.status_code} {error.response.reason} from {urlsplit(error.request.url).netloc}"
    if isinstance(error, requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError):
        broken = isinstance(error, requests.exceptions.ChunkedEncodingError) or "read" in str(error).lower()
        return "the connection broke off" if broken else f"no connection to {urlsplit(error.request.url).netloc}"
    return str(error).rstrip(".")


def _verify(path, file, unverified):
    with open(path, "rb") as start:
        if start.read(100).lstrip().lower().startswith((b"<!doctype", b"<html")):
            raise DataError(f"{path}: is a web page; expected the file itself.")
    if unverified or file["sha1"] is None:
        return
    if (found := sha1(path)) != file["sha1"]:
        expected = f"{file['sha1']}, or --unverified to take it as it is"
        raise DataError(f"{path}: has the sha1 {found}; expected {expected}.")


def _download(address, target):
    """Download to target, going on where an earlier try broke off; a broken connection is tried again at once."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    for attempt in range(RETRIES + 1):
        try:
            _go_on(address, part)
            os.replace(part, target)
            return
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
            if attempt == RETRIES:
                raise


def _go_on(address, part):
    done = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    with requests.get(address, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:  # nothing is left, or what is there is not of this file
            part.unlink()
            raise requests.ConnectionError("the part does not fit", request=response.request)
        response.raise_for_status()
        if "html" in response.headers.get("Content-Type", ""):
            raise DataError(f"{urlsplit(address).netloc} sent a web page")
        if response.status_code != 206:
            done = 0
        total, began, before = done + int(response.headers.get("Content-Length", 0)), time.monotonic(), done
        with part.open("ab") if done else part.open("wb") as file:
            for block in response.iter_content(BLOCK):
                file.write(block)
                done += len(block)
                progress.show(
                    f"downloading {part.stem} (kB)", began, (done - before) // 1000 or 1, (total - before) // 1000
                )


def _fetch_course(file, out, origin):
    """The course's file from Google Drive, another address or a folder: checked, whole or not at all."""
    import gdown

    with written_checked(out) as part:
        if origin and not _is_address(origin):
            if not (Path(origin) / file["name"]).is_file():
                raise DataError(f"{origin}: has no {file['name']}; expected a folder with the source's files.")
            shutil.copyfile(Path(origin) / file["name"], part)
            return out
        source = origin or file["mirrors"][0]
        failures = (gdown.exceptions.DownloadError, gdown.exceptions.FileURLRetrievalError, requests.RequestException)
        try:
            gdown.download(source, str(part), use_cookies=False, retries=RETRIES, timeout=TIMEOUT)
        except (*failures, OSError) as error:
            reason = " ".join(str(error).split()).split(". The received bytes")[0].rstrip(".")
            by_hand = f"download {source} in a browser and move it to {out}"
            raise DataError(f"{out}: not downloaded ({reason}); try again, or {by_hand}.") from error
    return out
