"""Rendering of scenes: objects are sphere-traced and set on a background."""

import math
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from helpers import progress
from helpers.datasets.simulated.objects import distance, rotation, solids
from helpers.datasets.simulated.scenes import Scenes, draw_scenes

GRID = torch.linspace(-1.25, 1.25, 40)
STEP = float(GRID[1] - GRID[0])
CHUNK = 32768  # points at once: fits the cache, and torch splits no operation over threads at this size


def inside_points(solid):
    """Centres of the grid's cells that can hold some of the solid: array of shape (3, n_points)."""
    grid = torch.cartesian_prod(GRID, GRID, GRID).T
    near = torch.cat([distance(solid, *part) for part in grid.split(CHUNK, dim=1)]) < 0.87 * STEP
    return grid[:, near].contiguous()


def turned(points, turns):
    """Points of shape (3, n_points) in the viewer's axes: array of shape (n_views, 3, n_points)."""
    # Written out, as BLAS may round otherwise with another number of threads.
    return sum(turns[:, :, k, None] * points[k] for k in range(3))


def passing_rays(seen, scale, shift, size):
    """Pixels whose ray passes near a solid, as row and column, with the depths between which it does.

    The solid's points are projected onto cells as wide as their spacing; a ray has to do with its cell and the eight
    around it. seen has shape (3, n_points): the points in the viewer's axes.
    """
    count = min(size, math.ceil(2 / (STEP * scale)))
    cell = ((seen[:2] * scale + shift[:, None] + 1) * (count / 2)).floor().clamp(-1, count).long() + 1
    flat, side = cell[1] * (count + 2) + cell[0], count + 2  # a border of cells catches what lies outside the frame
    empty = torch.full((side * side,), -9.0)
    depths = torch.stack([empty.scatter_reduce(0, flat, depth, "amax") for depth in (seen[2], -seen[2])])
    depths = torch.max_pool2d(depths.view(2, side, side), 3, stride=1, padding=1)
    where = ((torch.arange(size) + 0.5) * (count / size)).floor().long() + 1
    near, far = depths[:, where][:, :, where]
    row, column = torch.nonzero(near > -9, as_tuple=True)
    return row, column, near[row, column] + 0.87 * STEP, -far[row, column] - 0.87 * STEP


def trace(solid, points, turns, scale, shift, light, size):
    """Shade and coverage of one object in n images, each of shape (n, size, size).

    Orthographic sphere tracing (Hart 1996) of those rays alone that pass near the solid. A ray that passes closer than
    a pixel counts in part, which smooths the outline.
    """
    n, axis = len(turns), (torch.arange(size) + 0.5) * 2 / size - 1
    rays = [passing_rays(*view, size) for view in zip(turned(points, turns), scale.tolist(), shift, strict=True)]
    owner = torch.repeat_interleave(torch.arange(n), torch.tensor([len(row) for row, *_ in rays]))
    row, column, first, last = (torch.cat(some) for some in zip(*rays, strict=True))
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
        at = i[keep], y[keep], x[keep]
        shade[at] = shading(solid, spot, to_object[keep], light[i[keep]], pixel[keep])
        cover[at] = 1 - (closest / pixel)[keep]
    return shade.flip(1), cover.flip(1)


def march(solid, origin, ahead, first, last, *, tolerance=0.005, n_steps=32):
    """Walk rays from depth first down to last; the depth where each came closest, and how close."""
    best, closest = first.clone(), torch.full_like(first, 9.0)
    active, depth = torch.arange(len(first)), first
    for _ in range(n_steps):
        d = distance(solid, *(o + a * depth for o, a in zip(origin, ahead, strict=True)))
        better = d < closest[active]
        best[active] = torch.where(better, depth, best[active])
        closest[active] = torch.where(better, d, closest[active])
        depth = depth - (0.9 * d).clamp(min=tolerance)
        going = torch.nonzero((d > tolerance) & (depth > last))[:, 0]
        if len(going) == 0:
            break
        active, depth, last = active[going], depth[going], last[going]
        origin, ahead = [o[going] for o in origin], [a[going] for a in ahead]
    return best, torch.where(closest < 2 * tolerance, 0.0, closest)


def shading(solid, spot, to_object, light, pixel):
    """Gray shade of surface points: sky and lamp light, less in creases, and a little gloss."""
    width = (0.4 * pixel).clamp(0.006, 0.02)
    here, tone = distance(solid, *spot, toned=True)
    slopes = []
    for k in range(3):
        there = list(spot)
        there[k] = spot[k] + width
        slopes.append(distance(solid, *there) - here)
    length = (slopes[0] ** 2 + slopes[1] ** 2 + slopes[2] ** 2).sqrt() + 1e-6
    normal = [slope / length for slope in slopes]
    right, up, front = (sum(to_object[:, j, k] * normal[k] for k in range(3)) for j in range(3))
    open_sky = (distance(solid, *(s + 0.12 * m for s, m in zip(spot, normal, strict=True))) / 0.12).clamp(0, 1)
    facing = (right * light[:, 0] + up * light[:, 1] + front * light[:, 2]).clamp(min=0)
    halfway = light + torch.tensor([0.0, 0.0, 1.0])
    halfway = halfway / (halfway**2).sum(-1, keepdim=True).sqrt()
    gloss = (right * halfway[:, 0] + up * halfway[:, 1] + front * halfway[:, 2]).clamp(min=0) ** 24
    return tone * ((0.3 + 0.15 * up) * (0.4 + 0.6 * open_sky) + 0.72 * facing) + 0.1 * gloss * tone.sqrt()


def background(size, level, rng):
    """Smooth noise with an amplitude spectrum of 1 / f**1.8 about a gray level: array of shape (size, size)."""
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    f[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) / f**1.8, s=(size, size))
    return level + 0.075 * noise / noise.std()


def looks(shade, cover):
    """Eight features of an object in one view: tone and contrast of its surface, and moments of its outline.

    Of the outline, in units of its own size: compactness, elongation, slant, skewness to the right and upwards, and how
    hollow it is. shade and cover have shape (size, size).
    """
    mass = cover.astype(float) / max(cover.sum(dtype=float), 1e-6)
    tone = (mass * shade).sum()
    contrast = np.sqrt((mass * (shade - tone) ** 2).sum())
    axis = np.arange(len(mass), dtype=float)
    right = (axis - (mass.sum(0) * axis).sum())[None]
    up = -(axis - (mass.sum(1) * axis).sum())[:, None]
    xx, yy, xy = ((mass * product).sum() + 1e-2 for product in (right**2, up**2, right * up))
    squared = (right**2 + up**2) / (xx + yy)
    return (
        tone,
        contrast,
        np.log(cover.sum(dtype=float) / (xx + yy)),
        np.log(xx / yy),
        xy / np.sqrt(xx * yy),
        (mass * right**3).sum() / xx**1.5,
        (mass * up**3).sum() / yy**1.5,
        np.log((mass * squared**2).sum()),
    )


def render(n_images, *, size=64, n_objects=64, seed=0):
    """Render images of the course's objects before noise; the same arguments give the same bits, whatever the threads.

    Parameters
    ----------
    n_images, size, seed : ints
        size is pixels a side.
    n_objects : int
        As many of the 64 objects, taken from all categories.

    Returns
    -------
    Scenes
    """
    drawn = draw_scenes(n_images, n_objects=n_objects, seed=seed)
    pixels, made = np.empty((n_images, size, size), np.uint8), solids()
    appearance = np.empty((n_images, 8))
    began, names = time.monotonic(), sorted(set(drawn["objects"].tolist()))

    def render_object(name):
        rows, solid = np.flatnonzero(drawn["objects"] == name), made[name]
        points = inside_points(solid)
        for some in np.array_split(rows, -(-len(rows) * size * size // 2**19)):
            views = zip(*(drawn[key][some] for key in ("yaw", "pitch", "roll")), strict=True)
            turns = torch.tensor(np.array([rotation(*view) for view in views]), dtype=torch.float32)
            seen = turned(points, turns)[:, :2]
            low, high = seen.amin(-1), seen.amax(-1)
            scale = 2 * torch.tensor(drawn["span"][some], dtype=torch.float32) / (high - low).amax(-1)
            shift = torch.tensor(drawn["position"][some], dtype=torch.float32) - scale[:, None] * (low + high) / 2
            light = torch.tensor(drawn["light"][some], dtype=torch.float32)
            shade, cover = trace(solid, points, turns, scale, shift, light, size)
            for i, image, weight in zip(some.tolist(), shade.numpy(), cover.numpy(), strict=True):
                appearance[i] = looks(image, weight)
                rng = np.random.default_rng([seed, 1, i])
                mean = (image * weight).sum() / max(weight.sum(), 1e-6)
                levels = np.linspace(0.22, 0.8, 59)
                level = rng.choice(levels[np.abs(levels - mean) > 0.22])  # apart from the object's own gray
                blended = weight * image + (1 - weight) * background(size, level, rng)
                pixels[i] = np.rint(255 * blended.clip(0, 1))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(render_object, names), 1):
            progress.show("rendering objects", began, done, len(names))
    return Scenes(pixels=pixels, appearance=appearance, **drawn)
