"""Scenes of the course's objects: what each image shows, from where, how large, at what place, in what light."""

from dataclasses import dataclass

import numpy as np

from helpers.datasets.hdf5 import CATEGORY_OF

FIXED_SHARE = 0.2  # of the images show their object in one fixed pose, size, position and light

# Where a category is seen from: yaw as (middle, half range) in degrees, whether the mirrored view counts too, and
# pitch as (lowest, highest).
VIEWS = {
    "airplanes": (0, 180, False, 28, 60),
    "animals": (-20, 50, True, 5, 30),
    "cars": (-25, 65, True, 10, 35),
    "chairs": (-60, 90, False, 10, 35),
    "faces": (-90, 45, False, -12, 18),
    "fruits": (-40, 60, True, 5, 35),
    "ships": (-15, 60, True, 8, 32),
    "tables": (0, 180, False, 14, 38),
}
CANONICAL_YAW = {"faces": -70.0}  # else -35: the front looks to the right, towards the viewer


@dataclass(frozen=True)
class Scenes:
    """The images with what varies in them; every array has n_images rows.

    Attributes
    ----------
    pixels : uint8 array of shape (n_images, height, width)
    objects, categories : str arrays of shape (n_images,)
    yaw, pitch, roll : float arrays of shape (n_images,), degrees
    span : float array of shape (n_images,)
        Share of the frame that the longer side of the object takes.
    position : float array of shape (n_images, 2)
        Centre of the object, right and up, in half frames.
    light : float array of shape (n_images, 3)
        Unit vector towards the light (right, up, towards the viewer).
    fixed : bool array of shape (n_images,)
        Shown in its object's fixed pose, size, position and light.
    appearance : float array of shape (n_images, n_features)
        What the object looks like in this view, wherever and however large: see `looks`.
    """

    pixels: np.ndarray
    objects: np.ndarray
    categories: np.ndarray
    yaw: np.ndarray
    pitch: np.ndarray
    roll: np.ndarray
    span: np.ndarray
    position: np.ndarray
    light: np.ndarray
    fixed: np.ndarray
    appearance: np.ndarray


def draw_scenes(n_images, *, n_objects, seed):
    """Objects in random order, as equally often as can be, and their views; as a dictionary of Scenes' fields."""
    if not 1 <= n_objects <= len(CATEGORY_OF):
        raise ValueError(f"n_objects must be 1 to {len(CATEGORY_OF)}, not {n_objects}")
    rng = np.random.default_rng([seed, 0])
    names = list(CATEGORY_OF)
    names = [names[i * len(names) // n_objects] for i in range(n_objects)]
    index = np.arange(n_images) % n_objects
    fixed = (np.arange(n_images) // n_objects + index) % round(1 / FIXED_SHARE) == 0
    order = rng.permutation(n_images)
    objects, fixed = np.array(names)[index[order]], fixed[order]
    categories = np.array([CATEGORY_OF[name] for name in objects.tolist()])

    middle, half, mirrored, low, high = np.array([VIEWS[c] for c in categories.tolist()]).T
    yaw = middle + half * rng.uniform(-1, 1, n_images)
    yaw = np.where((mirrored == 1) & (rng.random(n_images) < 0.5), 180 - yaw, yaw)
    yaw = np.where(fixed, [CANONICAL_YAW.get(c, -35.0) for c in categories.tolist()], yaw)
    pitch = np.where(fixed, (low + high) / 2, low + (high - low) * rng.random(n_images))
    roll = np.where(fixed, 0.0, np.where(categories == "fruits", 30, 10) * rng.uniform(-1, 1, n_images))
    span = np.where(fixed, 0.7, rng.uniform(0.55, 0.9, n_images))
    position = np.where(fixed[:, None], 0.0, (1 - span[:, None]) * rng.uniform(-1, 1, (n_images, 2)))
    side, height = np.radians(rng.uniform(-60, 60, n_images)), np.radians(rng.uniform(25, 60, n_images))
    side, height = np.where(fixed, -0.6, side), np.where(fixed, 0.75, height)
    light = np.stack([np.sin(side) * np.cos(height), np.sin(height), np.cos(side) * np.cos(height)], -1)
    drawn = dict(objects=objects, categories=categories, fixed=fixed, yaw=yaw, pitch=pitch, roll=roll)
    return dict(**drawn, span=span, position=position, light=light)
