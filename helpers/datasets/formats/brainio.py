"""Recordings from a BrainIO assembly (netCDF, read by h5py alone), its table of stimuli and their images."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from helpers.datasets.formats.recordings import Recordings, from_folder, from_zip, gather
from helpers.datasets.hdf5 import DataError, opened, plural

ID = ("stimulus_id", "image_id")
_OBJECT = ("object_name", "object", "label", "category_name")
_FILE = ("filename", "image_file_name", "file_name", "stimulus_path", "file")
_NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable"
_RENAMED = {"region": "area", "arr": "array", "neuroid_id": "name", "category_name": "category"}  # the schema's names


def read_assembly(path, stimuli, images, *, where=None):
    """Recordings from an assembly: trials of each image, in the order of the images' sorted ids.

    Parameters
    ----------
    path : str or Path
        netCDF4 file with a variable over presentations and neuroids, in either order.
    stimuli : str or Path
        CSV table of the images: stimulus_id or image_id, filename, object_name (optional), and what else is known.
    images : str or Path
        Zip archive or folder.
    where : dict from coordinate to a value or a list of values, optional
        What to keep: {"region": "IT"}.

    Raises
    ------
    DataError
    """
    with opened(path) as file:
        data, order, axes, coordinates = _variable(file)
        kept = {axis: np.ones(data.shape[i], bool) for i, axis in zip(order, axes, strict=True)}
        for name, values in (where or {}).items():
            axis = next((axis for axis in axes if name in coordinates[axis]), None)
            if axis is None:
                known = sorted({name for axis in axes for name in coordinates[axis]})
                raise DataError(f"{path}: has no coordinate {name}; expected one of {', '.join(known)}.")
            kept[axis] &= np.isin(coordinates[axis][name].astype(str), np.atleast_1d(values).astype(str))
            if not kept[axis].any():
                found = sorted(set(coordinates[axis][name].astype(str).tolist()))[:10]
                raise DataError(f"{path}: has no {name} {values}; expected of {', '.join(found)}.")
        shown, neuroid, *others = axes
        for axis in others:
            if kept[axis].sum() > 1:
                raise DataError(f"{path}: has {kept[axis].sum()} of {axis}; expected one, by --where {axis}_start=70.")
        values = data[()].transpose(order)[np.ix_(*(kept[axis] for axis in axes))]
        values = values.reshape(kept[shown].sum(), kept[neuroid].sum())
    presented = {name: column[kept[shown]] for name, column in coordinates[shown].items()}
    neurons = {_RENAMED.get(name, name): column[kept[neuroid]] for name, column in coordinates[neuroid].items()}
    ids, index = np.unique(presented[next(name for name in ID if name in presented)].astype(str), return_inverse=True)
    order = np.argsort(presented["repetition"], kind="stable") if "repetition" in presented else np.arange(len(index))
    table, objects = _stimuli(stimuli, ids)
    pictures = _pictures(stimuli, table, images)
    metadata = {_RENAMED.get(name, name): np.array(table[name]) for name in table if name not in _FILE}
    return Recordings(Path(path), pictures, objects, gather(index[order], values[order]), neurons, metadata)


def _variable(file):
    """The variable, its axes in the order image, neuroid, others, their names, and the coordinates of each."""
    path = file.filename
    flat = {name: data for name, data in file.items() if isinstance(data, h5py.Dataset) and data.ndim == 1}
    scales = {name: data for name, data in flat.items() if _text(data.attrs.get("CLASS", "")) == "DIMENSION_SCALE"}
    lengths = {name: len(data) for name, data in scales.items()}
    found = {name: _axes(file, data, lengths) for name, data in file.items() if isinstance(data, h5py.Dataset)}
    coordinates = {axis: {} for axis in lengths}
    for name, data in flat.items():
        if not _text(data.attrs.get("NAME", "")).startswith(_NO_VARIABLE):
            (axis,) = found[name]
            is_text = h5py.check_string_dtype(data.dtype) is not None
            coordinates.setdefault(axis, {})[name] = data.asstr("utf-8")[()].astype(str) if is_text else data[()]
    images = next((axis for name in ID for axis in coordinates if name in coordinates[axis]), None)
    neuroid = next((axis for axis in coordinates if axis == "neuroid" or "neuroid_id" in coordinates[axis]), None)
    if images is None or neuroid is None:
        lacks = "stimulus_id (or image_id)" if images is None else "neuroid_id"
        raise DataError(f"{path}: has no coordinate {lacks}; expected a BrainIO assembly.")
    variables = [name for name, axes in found.items() if {images, neuroid} <= set(axes)]
    if len(variables) != 1:
        raise DataError(f"{path}: has {plural(len(variables), 'variable')} over {images} and {neuroid}; expected one.")
    axes = found[variables[0]]
    if file[variables[0]].dtype.kind not in "fiu":
        raise DataError(f"{path}: {variables[0]} holds {file[variables[0]].dtype}; expected numbers.")
    order = [axes.index(images), axes.index(neuroid)]
    order += [axis for axis in range(len(axes)) if axis not in order]
    named = [axes[axis] for axis in order]
    return file[variables[0]], order, named, {axis: coordinates.get(axis, {}) for axis in named}


def _axes(file, data, lengths):
    """Names of a data set's dimensions: by its references, else by their lengths, else its own name."""
    name = data.name.lstrip("/")
    if "DIMENSION_LIST" in data.attrs:
        return [file[references[0]].name.lstrip("/") for references in data.attrs["DIMENSION_LIST"]]
    if name in lengths or not lengths:
        return [name]
    axes = []
    for length in data.shape:
        fitting = [axis for axis in lengths if lengths[axis] == length and axis not in axes]
        if len(fitting) != 1:
            raise DataError(f"{file.filename}: {name} does not say which axis is which; expected DIMENSION_LIST.")
        axes += fitting
    return axes


def _text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def _stimuli(path, ids):
    """The table's rows of those images, in their order, and their objects."""
    try:
        table = pd.read_csv(path, encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # a ParserError is a ValueError
        raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())}); expected a CSV table.") from error
    column = next((name for name in ID if name in table), None)
    if column is None or not any(name in table for name in _FILE):
        lacks = " or ".join(ID if column is None else _FILE)
        raise DataError(f"{path}: has columns {list(table)[:6]}; expected {lacks}.")
    table = table.drop_duplicates(column).set_index(table[column].drop_duplicates().astype(str))
    if missing := sorted(set(ids.tolist()) - set(table.index)):
        raise DataError(
            f"{path}: lacks {plural(len(missing), 'image')} that were shown, {missing[0]} first; expected all."
        )
    table = table.loc[ids]
    name = next((name for name in _OBJECT if name in table), None)
    return table, np.full(len(ids), "unknown") if name is None else table[name].astype(str).to_numpy(dtype=str)


def _pictures(stimuli, table, images):
    """The images by the first column of file names that are all there, else the error of the first."""
    read, errors = from_folder if Path(images).is_dir() else from_zip, []
    for name in [name for name in _FILE if name in table]:
        try:
            return read(images, table[name].astype(str).tolist(), stimuli)
        except DataError as error:
            errors.append(error)
    raise errors[0]
