"""The estimator that a lab calls: responses of neurons to images, through frozen networks, a receptive field each.

from helpers import EncodingModel
model = EncodingModel().fit(images, responses)
print(model.score(other_images, other_responses))
model.save("my_model")
"""

from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from helpers import datasets, metrics, models, plots
from helpers.analyses import layer_profile
from helpers.datasets.formats import own_images
from helpers.experiments import saved_model
from helpers.models import frozen
from helpers.readout import features, gram_by_place, new_images, receptive_fields, regression

FEWEST = 10  # images that a fit takes
# n_images² matrices beside the stack, and bytes beside those, at the fit's peak (measured)
SQUARES, BESIDES = 12, 0.6e9
PACKAGED = tuple(tag for tag, network in frozen.networks().items() if "quick" in network.profiles)


class EncodingModel(BaseEstimator):
    """Kernel ridge through networks' features at two image sizes, with a receptive field for each neuron.

    The readout that predicts best here of all that train no network; see readout/receptive_fields.py. Penalties,
    receptive fields, bandwidth and the maps' blur are chosen by leave-one-out inside the fitted images. It takes about
    4 grid² n_images² bytes (grid 7): 0.2 GB for 1,000 images, 20 GB for 10,000. To predict others it keeps the fitted
    images, and so does a saved model; each call of `predict` shows them to the networks again.

    Parameters
    ----------
    networks : full timm tags; networks count about the same, whatever their size; the first one chooses the blur
    pixels : images are made smaller to at most so many pixels a side; networks see them so, and 1.5 times as large

    Attributes
    ----------
    receptive_fields_ : array of shape (n_neurons, grid, grid), each of sum 1, rows from the top of the image
    leave_one_out_ : (n_neurons,), R² of fitted images, each left out, through the neuron's best mask
    ceiling_ : (n_neurons,), metrics.noise_ceiling of the repeats; NaN without
    n_neurons_ : int

    Images are uint8 arrays (n_images, height, width) or (n_images, height, width, 3), a list of files, or a folder,
    whose images are taken in the order of their names. Raises ValueError, in a sentence, for what it cannot use, and
    MemoryError where fitted images are too many for this machine.
    """

    def __init__(self, networks=PACKAGED, pixels=112):
        self.networks = networks
        self.pixels = pixels

    def fit(self, images, responses, objects=None, repeats=None):
        """Fit to images and their responses.

        Parameters
        ----------
        responses : array of shape (n_images, n_neurons), means over trials
        objects : (n_images,), what each image shows, by which `cross_validate` deals out folds; None: all alike
        repeats : (n_images, n_repeats, n_neurons), single trials, NaN where one is missing, for `ceiling_`
        """
        if isinstance(self.networks, str):
            raise ValueError(f"networks is {self.networks!r}; expected a list of full timm tags.")
        images, responses = self._checked(own_images.read(images, pixels=self.pixels), responses)
        n_images = len(images)
        if n_images < FEWEST:
            raise ValueError(f"{n_images} images; expected {FEWEST} or more to fit a model to.")
        ceiling = np.full(responses.shape[1], np.nan)
        if repeats is not None:
            if np.shape(repeats)[:1] + np.shape(repeats)[2:] != responses.shape:
                raise ValueError(f"repeats of shape {np.shape(repeats)} for responses of shape {responses.shape}; "
                                 "expected (n_images, n_repeats, n_neurons).")  # fmt: skip
            ceiling = metrics.noise_ceiling(repeats)
        objects = np.zeros(n_images, int) if objects is None else np.asarray(objects)
        if objects.shape != (n_images,):
            raise ValueError(f"objects of shape {objects.shape}; expected ({n_images},), one an image.")
        check_room(n_images)
        for tag in self.networks:
            if models.find_weights(tag)[1] == models.RANDOM:
                raise ValueError(f"{tag}: its weights are not at hand; expected them in $IT_WEIGHTS or on the hub.")
        views = layer_profile.located_views(self.networks, images.shape[2:])
        blur = receptive_fields.best_blur(views[0], images, responses)
        views = [view._replace(blur=blur) for view in views]
        stack = gram_by_place.stack_of(views, images, n_train=n_images)
        fitted = receptive_fields.ridge(stack, responses)
        self._set(new_images.predictor(stack, fitted, images, responses, views), ceiling)
        self._fitted_to = responses, objects
        return self

    def predict(self, images):
        """Predicted responses (n_images, n_neurons), in the units of the fitted ones."""
        check_is_fitted(self)
        return self._model.predict(images)

    def score(self, images, responses):
        """Explained variance, mean over neurons whose responses vary; metrics.explained_variance has one a neuron."""
        return float(metrics.known_mean(metrics.explained_variance(responses, self.predict(images))))

    def cross_validate(self, n_folds=datasets.N_FOLDS):
        """Explained variance (n_neurons,) of the fitted images, each predicted by a fit without its fold.

        The blur alone stays that of the whole fit. Folds spread each object's images evenly. Takes about as long as
        n_folds fits and twice a fit's memory. A loaded model has no responses to do it with: ValueError.
        """
        check_is_fitted(self)
        if self._fitted_to is None:
            raise ValueError("this model was loaded, without the responses it was fitted to; expected a new fit.")
        predictor, (responses, objects) = self._model.parts[0], self._fitted_to
        check_room(len(responses), copies=2)
        folds = datasets.folds(objects, min(n_folds, len(objects)), seed=0)
        images = predictor.images
        stack = gram_by_place.stack_of(predictor.views, images, n_train=len(images))
        held_out = regression.cross_predict(receptive_fields.ridge, stack, responses, folds)
        return metrics.explained_variance(responses, held_out)

    def plot(self, n_shown=5, axes=None):
        """Receptive fields of the neurons predicted best and the centres of all; returns the axes."""
        check_is_fitted(self)
        shown, centres = min(n_shown, self.n_neurons_), self._model.parts[0].fitted.centres
        return plots.receptive_fields(self.receptive_fields_, centres, self.leave_one_out_, n_shown=shown, axes=axes)

    def save(self, folder):
        """Write the model to a folder, as safetensors and model.json, which says its size and that it holds images."""
        check_is_fitted(self)
        self._model.save(folder)

    @classmethod
    def load(cls, folder):
        """The model that `save` wrote. Raises ValueError for another folder, or where networks' weights are missing."""
        model = saved_model.load(folder)
        if "estimator" not in model.description:
            raise ValueError(f"{folder}: holds another kind of model; saved_model.load reads it.")
        loaded = cls(**model.description["estimator"])
        (predictor,) = model.parts
        loaded._set(predictor, predictor.arrays["ceiling"])
        loaded._fitted_to = None
        return loaded

    def _set(self, predictor, ceiling):
        predictor.arrays["ceiling"] = self.ceiling_ = ceiling
        self.receptive_fields_ = predictor.fitted.fields(features.GRID)
        self.leave_one_out_, self.n_neurons_ = predictor.fitted.score, len(ceiling)
        estimator = {"networks": list(self.networks), "pixels": self.pixels}
        description = {"name": "EncodingModel", "estimator": estimator}
        self._model = saved_model.Model(description, [predictor], predictor.images[:0])

    @staticmethod
    def _checked(images, responses):
        responses = np.asarray(responses, np.float32)
        if responses.ndim != 2 or len(responses) != len(images):
            found = f"{len(images)} images and responses of shape {responses.shape}"
            raise ValueError(f"{found}; expected responses (n_images, n_neurons).")
        if not np.isfinite(responses).all():
            raise ValueError(
                "responses hold NaN or infinity; expected finite numbers, means over the trials there are."
            )
        return images, responses


def bytes_of(n_images, copies=1):
    """Memory that a fit to so many images takes at its peak, in bytes."""
    return 4.0 * n_images**2 * (copies * features.GRID**2 + SQUARES) + BESIDES


def check_room(n_images, copies=1):
    """Refuse, before any work, a fit for which this machine's memory does not suffice: MemoryError."""
    free = free_memory()
    if free is not None and bytes_of(n_images, copies) > free:
        raise MemoryError(
            f"{n_images} images take {bytes_of(n_images, copies) / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; "
            f"about {most_images(free, copies)} images fit."
        )


def most_images(free, copies=1):
    """How many images a fit takes with so many bytes of memory free."""
    return int((max(free - BESIDES, 0) / (4.0 * (copies * features.GRID**2 + SQUARES))) ** 0.5)


def free_memory():
    """Bytes of memory that are free, or None where the system does not say; Linux does, inside a container too."""
    found, group = [], Path("/sys/fs/cgroup")
    if (machine := Path("/proc/meminfo")).exists():
        lines = machine.read_text(encoding="utf-8").splitlines()
        found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    if (group / "memory.max").exists():
        limit, used = ((group / f"memory.{name}").read_text(encoding="utf-8").strip() for name in ("max", "current"))
        lines = (group / "memory.stat").read_text(encoding="utf-8").splitlines()
        files = next(int(line.split()[1]) for line in lines if line.startswith("inactive_file"))  # given up when wanted
        found += [int(limit) - int(used) + files] if limit != "max" else []
    return min(found, default=None)
