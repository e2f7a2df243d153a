"""The stand-in for the course file: rendered objects, simulated neurons, one HDF5 file of the same schema.

What is planted is known, so that an analysis can be tested: does it find an effect that was put in, and none where none
was? Nothing here is matched to how a network scores.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from scipy import ndimage, stats

from helpers.datasets import CATEGORY_OF, IMAGENET_MEAN, IMAGENET_SD
from helpers.standin_objects import distance, rotation, solids

DESCRIPTION = (
    "Simulated responses. Rankings and label effects are built in by construction. "
    "Not comparable with published IT scores."
)
N_NEURONS = 168
QUICK, FULL = ((1296, 144, 160), 64), ((2592, 288, 320), 224)  # images in train, val and test; pixels a side
RESPONSE_SD, RELIABILITY = 0.37, 0.82  # of the recordings: Majaj et al. 2015, as in the course file
FIXED_SHARE = 0.2  # of the images show their object in one fixed pose, size, position and light

# Where a category is seen from: yaw as (middle, half range) in degrees, whether the mirrored view counts too, pitch.
VIEWS = {
    "airplanes": (0, 180, False, (22, 55)),
    "animals": (-20, 50, True, (5, 30)),
    "cars": (-25, 65, True, (10, 35)),
    "chairs": (-50, 110, False, (10, 35)),
    "faces": (-90, 50, False, (-12, 18)),
    "fruits": (0, 180, False, (5, 35)),
    "ships": (-15, 60, True, (8, 32)),
    "tables": (0, 180, False, (14, 38)),
}
CANONICAL_YAW = {"faces": -70.0}  # else -35: the front looks to the right, towards the viewer

GRID = torch.linspace(-1.25, 1.25, 40)
STEP = float(GRID[1] - GRID[0])
CHUNK = 32768  # points at once: fits the cache, and torch splits no operation over threads at this size


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


def draw_scenes(n_images, *, n_objects, seed):
    """Objects in random order, as equally often as can be, and their views; as a dictionary of Scenes' fields."""
    rng = np.random.default_rng([seed, 0])
    names = list(CATEGORY_OF)
    names = [names[i * len(names) // n_objects] for i in range(n_objects)]
    index = np.arange(n_images) % n_objects
    fixed = (np.arange(n_images) // n_objects + index) % round(1 / FIXED_SHARE) == 0
    order = rng.permutation(n_images)
    objects, fixed = np.array(names)[index[order]], fixed[order]
    categories = np.array([CATEGORY_OF[name] for name in objects.tolist()])

    middle, half, mirrored, pitches = (list(column) for column in zip(*(VIEWS[c] for c in categories.tolist()), strict=True))
    yaw = np.array(middle) + np.array(half) * rng.uniform(-1, 1, n_images)
    yaw = np.where(np.array(mirrored) & (rng.random(n_images) < 0.5), 180 - yaw, yaw)
    yaw = np.where(fixed, [CANONICAL_YAW.get(c, -35.0) for c in categories.tolist()], yaw)
    low, high = np.array(pitches).T
    pitch = np.where(fixed, (low + high) / 2, low + (high - low) * rng.random(n_images))
    roll = np.where(fixed, 0.0, np.where(categories == "fruits", 30, 10) * rng.uniform(-1, 1, n_images))
    span = np.where(fixed, 0.7, rng.uniform(0.5, 0.88, n_images))
    position = np.where(fixed[:, None], 0.0, (1.02 - span[:, None]) * rng.uniform(-1, 1, (n_images, 2)))
    side, height = np.radians(rng.uniform(-60, 60, n_images)), np.radians(rng.uniform(25, 60, n_images))
    side, height = np.where(fixed, -0.6, side), np.where(fixed, 0.75, height)
    light = np.stack([np.sin(side) * np.cos(height), np.sin(height), np.cos(side) * np.cos(height)], -1)
    return dict(
        objects=objects, categories=categories, yaw=yaw, pitch=pitch, roll=roll, span=span, position=position, light=light, fixed=fixed
    )  # fmt: skip


def inside_points(solid):
    """Centres of the grid's cells that can hold some of the solid: array of shape (3, n_points)."""
    grid = torch.cartesian_prod(GRID, GRID, GRID).T
    near = torch.cat([distance(solid, *part) for part in grid.split(CHUNK, dim=1)]) < 0.87 * STEP
    return grid[:, near].contiguous()


def trace(solid, points, turns, scale, shift, light, size):
    """Shade and coverage of one object in n images, each of shape (n, size, size).

    Orthographic sphere tracing (Hart 1996), of those rays alone that pass near the solid: its points are projected onto
    cells as wide as their spacing, and a ray starts and ends where they do. A ray that passes closer than a pixel counts
    in part, which smooths the outline.
    """
    n = len(turns)
    seen = torch.einsum("nij,jp->nip", turns, points)  # (n, 3, n_points) in the viewer's axes
    axis = (torch.arange(size) + 0.5) * 2 / size - 1
    margin, cells = 0.87 * STEP, torch.ceil(2 / (STEP * scale)).clamp(1, size).to(torch.int64)
    owner, column, row, first, last = [], [], [], [], []
    for i in range(n):
        count = int(cells[i])
        cell = ((seen[i, :2] * scale[i] + shift[i][:, None] + 1) * (count / 2)).floor().clamp(-1, count).to(torch.int64) + 1
        flat, side = cell[1] * (count + 2) + cell[0], count + 2
        nearest = torch.full((side * side,), -9.0).scatter_reduce(0, flat, seen[i, 2], "amax").view(1, 1, side, side)
        farthest = torch.full((side * side,), -9.0).scatter_reduce(0, flat, -seen[i, 2], "amax").view(1, 1, side, side)
        nearest, farthest = (torch.max_pool2d(depth, 3, 1, 1)[0, 0] for depth in (nearest, farthest))
        where = ((axis + 1) * (count / 2)).floor().to(torch.int64) + 1
        near, far = (depth[where][:, where] for depth in (nearest, farthest))
        y, x = torch.nonzero(near > -9, as_tuple=True)
        owner.append(torch.full_like(x, i)), column.append(x), row.append(y)
        first.append(near[y, x] + margin), last.append(-far[y, x] - margin)
    owner, column, row, first, last = (torch.cat(part) for part in (owner, column, row, first, last))

    shade, cover = torch.zeros(n, size, size), torch.zeros(n, size, size)
    for part in torch.arange(len(owner)).split(CHUNK):
        i, x, y = owner[part], column[part], row[part]
        to_object, pixel = turns[i], 2 / (size * scale[i])
        at_x, at_y = (axis[x] - shift[i, 0]) / scale[i], (axis[y] - shift[i, 1]) / scale[i]
        origin = [to_object[:, 0, k] * at_x + to_object[:, 1, k] * at_y for k in range(3)]
        ahead = [to_object[:, 2, k].contiguous() for k in range(3)]
        depth, closest = march(solid, origin, ahead, first[part], last[part])
        keep = torch.nonzero(closest < pixel)[:, 0]
        spot = [(o + a * depth)[keep] for o, a in zip(origin, ahead, strict=True)]
        shades = shading(solid, spot, to_object[keep], light[i[keep]], pixel[keep])
        shade[i[keep], y[keep], x[keep]] = shades
        cover[i[keep], y[keep], x[keep]] = (1 - (closest / pixel)[keep]).clamp(0, 1)
    return shade.flip(1), cover.flip(1)


def march(solid, origin, ahead, first, last, *, tolerance=0.004, n_steps=48):
    """Walk rays from depth first down to last; the depth where each was closest to the solid, and how close that was."""
    best, closest = first.clone(), torch.full_like(first, 9.0)
    active, depth, last = torch.arange(len(first)), first, last
    o, a = origin, ahead
    for _ in range(n_steps):
        d = distance(solid, *(p + q * depth for p, q in zip(o, a, strict=True)))
        better = d < closest[active]
        best[active[better]], closest[active[better]] = depth[better], d[better]
        depth = depth - 0.9 * d
        going = torch.nonzero((d > tolerance) & (depth > last))[:, 0]
        if len(going) == 0:
            break
        active, depth, last = active[going], depth[going], last[going]
        o, a = [p[going] for p in o], [q[going] for q in a]
    return best, torch.where(closest < 2 * tolerance, 0.0, closest)


def shading(solid, spot, to_object, light, pixel):
    """Gray shade of surface points: sky and lamp light, less in creases, and a little gloss."""
    width = (0.4 * pixel).clamp(0.006, 0.02)
    slopes = []
    for k in range(3):
        there, back = list(spot), list(spot)
        there[k], back[k] = spot[k] + width, spot[k] - width
        slopes.append(distance(solid, *there) - distance(solid, *back))
    length = (slopes[0] ** 2 + slopes[1] ** 2 + slopes[2] ** 2).sqrt() + 1e-6
    normal = [slope / length for slope in slopes]
    right, up, front = (sum(to_object[:, j, k] * normal[k] for k in range(3)) for j in range(3))
    _, tone = distance(solid, *spot, toned=True)
    open_sky = (distance(solid, *(s + 0.12 * m for s, m in zip(spot, normal, strict=True))) / 0.12).clamp(0, 1)
    facing = (right * light[:, 0] + up * light[:, 1] + front * light[:, 2]).clamp(min=0)
    halfway = light + torch.tensor([0.0, 0.0, 1.0])
    halfway = halfway / (halfway**2).sum(-1, keepdim=True).sqrt()
    gloss = (right * halfway[:, 0] + up * halfway[:, 1] + front * halfway[:, 2]).clamp(min=0) ** 24
    return tone * ((0.3 + 0.15 * up) * (0.4 + 0.6 * open_sky) + 0.72 * facing) + 0.1 * gloss * tone.sqrt()


def background(size, level, rng):
    """Smooth noise with an amplitude spectrum of 1 / f**1.7 about a gray level: array of shape (size, size)."""
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    f[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) / f**1.7, s=(size, size))
    return level + 0.085 * noise / noise.std()


def render(n_images, *, size=64, n_objects=64, seed=0):
    """Render images of the objects before noise.

    Returns
    -------
    Scenes
    """
    drawn = draw_scenes(n_images, n_objects=n_objects, seed=seed)
    pixels, made = np.empty((n_images, size, size), np.uint8), solids()

    def render_object(name):
        rows, solid = np.flatnonzero(drawn["objects"] == name), made[name]
        points = inside_points(solid)
        for some in np.array_split(rows, -(-len(rows) * size * size // 2**19)):
            views = zip(*(drawn[key][some] for key in ("yaw", "pitch", "roll")), strict=True)
            turns = torch.tensor(np.array([rotation(*view) for view in views]), dtype=torch.float32)
            seen = torch.einsum("nij,jp->nip", turns, points)[:, :2]
            low, high = seen.amin(-1), seen.amax(-1)
            scale = 2 * torch.tensor(drawn["span"][some], dtype=torch.float32) / (high - low).amax(-1)
            shift = torch.tensor(drawn["position"][some], dtype=torch.float32) - scale[:, None] * (low + high) / 2
            light = torch.tensor(drawn["light"][some], dtype=torch.float32)
            shade, cover = trace(solid, points, turns, scale, shift, light, size)
            for i, image, weight in zip(some.tolist(), shade.numpy(), cover.numpy(), strict=True):
                rng = np.random.default_rng([seed, 1, i])
                mean = (image * weight).sum() / max(weight.sum(), 1e-6)
                # A gray level that is at least .2 away from the object's own.
                levels = np.linspace(0.16, 0.8, 65)
                level = rng.choice(levels[np.abs(levels - mean) > 0.22])
                blended = weight * image + (1 - weight) * background(size, level, rng)
                pixels[i] = np.rint(255 * blended.clip(0, 1))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(render_object, sorted(set(drawn["objects"].tolist()))))
    return Scenes(pixels=pixels, **drawn)
