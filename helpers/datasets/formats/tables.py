"""Recordings from a CSV table: a row per image or per presentation, a column per neuron."""

import csv
import fnmatch
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.datasets.formats.recordings import Recordings, from_folder, gather
from helpers.datasets.hdf5 import SPLITS, DataError, plural

_KNOWN = {
    "file": ("file", "file_name", "filename", "image_file_name"),
    "object": ("object", "object_name"),
    "split": ("split",),
    "trial": ("trial", "repetition", "repeat"),
}
_META_NAME = re.compile(
    r"unnamed.*|index|id|.*[_ ]id|label|category.*|class|session|date|time|(pos|t|r)?[_ ]?[xyz]+|size|variation"
    r"|background.*"
)
FAR = 50  # times the other columns' usual size: another scale


def read_table(path, folder, patterns=None):
    """Recordings from a CSV table with a row per image, or per presentation, and a folder of its images.

    Parameters
    ----------
    path, folder : str or Path
    patterns : list of str, optional
        Names of the neurons' columns, or patterns of them (`unit *`).

    Raises
    ------
    DataError
    """
    frame = _read_csv(path)
    plain = {_plain(name): name for name in frame.columns}
    known = {kind: next((plain[n] for n in names if n in plain), None) for kind, names in _KNOWN.items()}
    neurons = _neuron_columns(path, frame, [c for c in frame.columns if c not in known.values()], patterns)
    files = frame[known["file"]].str.strip()
    images, first = pd.factorize(files)
    per_image = frame.iloc[np.unique(images, return_index=True)[1]]
    for kind in ("object", "split"):
        if known[kind] and (frame.groupby(images)[known[kind]].nunique() > 1).any():
            raise DataError(f"{path}: has an image with more than one {kind}; expected the same in all its rows.")
    splits = None
    if known["split"]:
        found = per_image[known["split"]].str.strip()
        if set(found) != set(SPLITS):
            raise DataError(f"{path}: has the splits {sorted(set(found))}; expected train, val and test.")
        splits = {split: np.flatnonzero(found == split) for split in SPLITS}
    test = frame[known["split"]].str.strip() == "test" if known["split"] else np.zeros(len(frame), bool)
    values = _numbers(path, frame, neurons, np.asarray(test))
    others = [c for c in frame.columns if c not in neurons and c not in known.values()]
    metadata = {"file": np.array(first)} | {name: np.array(per_image[name]) for name in others}
    objects = (
        per_image[known["object"]].str.strip().replace("", "unknown") if known["object"] else ["unknown"] * len(first)
    )
    pictures = from_folder(folder, first, path)
    named = {"name": np.array(neurons)}
    return Recordings(Path(path), pictures, np.array(objects), gather(images, values), named, metadata, splits)


def _read_csv(path):
    """The table's cells as text, indexed by line: commas, semicolons, tabs or bars between them, no blank lines."""
    if not Path(path).is_file():
        raise DataError(f"{path}: {'is a folder' if Path(path).exists() else 'no such file'}; expected a CSV table.")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            text = file.read()
    except (OSError, ValueError) as error:  # a UnicodeDecodeError is a ValueError
        raise DataError(f"{path}: cannot be read ({error}); expected a CSV table in UTF-8.") from error
    first = next((line for line in text.splitlines() if line.strip()), "")
    for separator in (",", ";", "\t", "|"):
        header = [name.strip() for name in next(csv.reader([first], delimiter=separator), [])]
        if sum(_plain(name) in _KNOWN["file"] for name in header) == 1:
            break
    else:
        first = next(csv.reader([first]), [""])
        expected = "one called file, with the images' names, between commas, semicolons, tabs or bars"
        raise DataError(f"{path}: has columns {str(first[:5])[:60]}; expected {expected}.")
    if "" in header or len(set(header)) < len(header):
        raise DataError(f"{path}: has a column without a name or two of the same name; expected one name per column.")
    lines = _lines(path, text, separator)
    for line, cells in lines.items():
        if len(cells) != len(header):
            found = f"line {line} has {plural(len(cells), 'cell')}"
            raise DataError(f"{path}: {found}; expected {len(header)} as in the first line.")
    rows = pd.DataFrame(list(lines.values())[1:], list(lines)[1:], header, dtype=str)
    if separator != ",":  # decimal commas
        rows = rows.replace(r"^\s*([-+]?\d*),(\d+(?:[eE][-+]?\d+)?)\s*$", r"\1.\2", regex=True)
    return rows


def _lines(path, text, separator):
    """Cells of each line that is not blank: dict from its number, counted from 1, to a list of text."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        return dict((rows.line_num, row) for row in rows if any(map(str.strip, row)))
    except csv.Error as error:
        raise DataError(f"{path}: cannot be read ({error}); expected a CSV table in UTF-8.") from error


def _plain(name):
    return name.lower().replace(" ", "_")


def _neuron_columns(path, frame, candidates, patterns):
    """Columns that hold neurons: those that match, else all, if none of them looks like something else."""
    if patterns:
        of_pattern = {p: {c for c in candidates if c == p or fnmatch.fnmatchcase(c, p)} for p in patterns}
        if nowhere := [pattern for pattern, columns in of_pattern.items() if not columns]:
            raise DataError(f"{path}: has no column {nowhere[0]!r}; expected --neurons with names or patterns of some.")
        chosen = [c for c in candidates if c in set().union(*of_pattern.values())]
    else:
        chosen = candidates
        numbers = frame[candidates].apply(pd.to_numeric, errors="coerce")
        sizes = numbers.abs().median()
        usual = sizes.median()
        steps = numbers.diff()[1:]
        counts = (steps == steps.iloc[:1].squeeze(0)).all() & (steps != 0).all()  # up or down, in equal steps
        counts |= (numbers.nunique() == len(numbers)) & (numbers.max() - numbers.min() == len(numbers) - 1)
        unread = (numbers.isna() & frame[candidates].ne("")).any()
        whole = (numbers % 1).fillna(0).eq(0).all() & ~unread
        counts |= whole & (whole.mean() < 0.5)  # whole numbers beside others that are not
        far = (sizes > FAR * usual) & (usual > 0) & (len(candidates) > 3)
        text = np.array([not frame[c].str.match(r"\s*[-+.]?\d").any() for c in candidates])
        plain = [re.sub(r"(?<=[a-z])(?=[A-Z])", "_", c).lower() for c in candidates]  # imageId as image_id
        named = np.array([bool(_META_NAME.fullmatch(c)) for c in plain])
        odd = [c for c, is_odd in zip(candidates, counts | far | text | named, strict=True) if is_odd]
        if odd:
            names = ", ".join(map(repr, odd[:5])) + (", ..." if len(odd) > 5 else "")
            raise DataError(
                f"{path}: has {plural(len(odd), 'column')} not like neurons, {names}; expected only neurons, or "
                "--neurons with their names or a pattern such as 'unit *'."
            )
    if len(chosen) < 2:
        raise DataError(f"{path}: has {plural(len(chosen), 'column')} of neurons; expected two or more.")
    return chosen


def _numbers(path, frame, neurons, test):
    """Responses (n_rows, n_neurons) of finite numbers; those to test images are left out, and may be missing."""
    values = frame[neurons].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    values[test] = np.nan
    if (bad := ~np.isfinite(values) & ~test[:, None]).any():
        row, column = np.argwhere(bad)[0]
        cell = frame[neurons].iloc[row, column]
        where = f"line {frame.index[row]}, column {neurons[column]} holds {cell!r}"
        raise DataError(f"{path}: {where}; expected a finite number{' with a point' if ',' in cell else ''}.")
    return values
