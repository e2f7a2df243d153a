"""Data files: load and check them, make them from other sources, cut them into splits and folds."""

from helpers.datasets.dataset import (
    DATA,
    N_FOLDS,
    Dataset,
    Split,
    choosing_folds,
    find,
    folds,
    load,
    object_folds,
    reduce,
    standin_path,
)
from helpers.datasets.describe import check
from helpers.datasets.hdf5 import CATEGORY_OF, DataError
from helpers.datasets.images import (
    IMAGENET,
    IMAGENET_MEAN,
    IMAGENET_SD,
    Normalisation,
    to_batch,
    training_statistics,
)

SIMULATED = (
    "Simulated responses. Rankings and label effects are built in by construction. "
    "Not comparable with published IT scores."
)

__all__ = [
    "CATEGORY_OF", "DATA", "IMAGENET", "IMAGENET_MEAN", "IMAGENET_SD", "N_FOLDS", "SIMULATED", "DataError", "Dataset",
    "Normalisation", "Split", "check", "choosing_folds", "find", "folds", "load", "object_folds", "reduce",
    "standin_path", "to_batch", "training_statistics",
]  # fmt: skip
