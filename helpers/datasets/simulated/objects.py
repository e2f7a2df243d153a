"""The stand-in's 64 solids, from signed distance functions (after Inigo Quilez, "3D SDFs", iquilezles.org).

A solid is a list of parts: the lines of `solids.csv` with its object's name, in order. Axes: +x is where its front
looks, +y is up, z is across; all fits into +-1.2. A line is a shape and its sizes (the arguments of the function of
that name below), moved, turned, mirrored, and joined to the parts before it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

TABLE = Path(__file__).with_name("solids.csv")


class Part(NamedTuple):
    shape: Callable  # of x, y, z; gives a distance
    at: list
    tone: float  # how much light it reflects
    turn: list  # degrees of yaw, pitch, roll; empty where it is not turned
    mirror: str  # "z": a pair, left and right; "xz": four of them
    blend: float  # width of a smooth joint
    cut: bool  # taken away from the parts before it
    pattern: Callable | None  # the tone is multiplied by it
    relief: Callable | None  # the surface is raised by it


def rotation(yaw, pitch, roll):
    """Rotation matrix of shape (3, 3): about y, then about x (the top towards the viewer), then about z; degrees."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(np.radians([yaw, pitch, roll])), np.sin(np.radians([yaw, pitch, roll]))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    return np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]]) @ about_x @ about_y


def norm(*terms):
    return sum(term * term for term in terms).sqrt()


def ball(a, b=None, c=None):
    """Ellipsoid with half axes a, b, c, or a sphere."""
    if b is None:
        return lambda x, y, z: norm(x, y, z) - a

    def shape(x, y, z):
        x, y, z = x / a, y / b, z / c
        k = norm(x, y, z)
        return k * (k - 1) / (norm(x / a, y / b, z / c) + 1e-6)

    return shape


def box(a, b, c, rounding, taper=0.0, lean=0.0):
    """Box with half sizes a, b, c; from its middle to its top it narrows along x by taper and shifts by lean."""
    slant = 1 / (1 + ((taper + abs(lean)) / b) ** 2) ** 0.5

    def shape(x, y, z):
        qx = (
            ((x - lean * y / b).abs() + taper * y / b - (a - rounding)) * slant
            if taper or lean
            else x.abs() - (a - rounding)
        )
        qy, qz = y.abs() - (b - rounding), z.abs() - (c - rounding)
        outside = norm(qx.clamp(min=0), qy.clamp(min=0), qz.clamp(min=0))
        return outside + torch.maximum(torch.maximum(qx, qy), qz).clamp(max=0) - rounding

    return shape


def stick(x0, y0, z0, x1, y1, z1, r0, r1):
    """Round stick from one point to another, with radius r0 at the first and r1 at the second."""
    ax, ay, az = x1 - x0, y1 - y0, z1 - z0
    squared = ax * ax + ay * ay + az * az

    def shape(x, y, z):
        x, y, z = x - x0, y - y0, z - z0
        h = ((x * ax + y * ay + z * az) / squared).clamp(0, 1)
        return norm(x - h * ax, y - h * ay, z - h * az) - (r0 + h * (r1 - r0))

    return shape


def slab(flat, height, half):
    inside = torch.maximum(flat, height.abs() - half)
    return inside.clamp(max=0) + norm(flat.clamp(min=0), (height.abs() - half).clamp(min=0)) - 0.01


def disc(radius, half):
    """Cylinder about y."""
    return lambda x, y, z: slab(norm(x, z) - radius, y, half)


def wheel(radius, half):
    """Cylinder about z."""
    return lambda x, y, z: slab(norm(x, y) - radius, z, half)


def wing(x0, z0, x1, z1, r0, r1, half):
    """Flat tapered strip in the plane of x and z."""
    flat = stick(x0, z0, 0, x1, z1, 0, r0, r1)
    return lambda x, y, z: slab(flat(x, z, torch.zeros_like(y)), y, half)


def fin(x0, y0, x1, y1, r0, r1, half):
    """Flat tapered strip in the plane of x and y."""
    flat = stick(x0, y0, 0, x1, y1, 0, r0, r1)
    return lambda x, y, z: slab(flat(x, y, torch.zeros_like(z)), z, half)


def stripes(count, depth):
    return lambda x, y, z: 1 + depth * torch.tanh(4 * torch.sin(count * torch.atan2(z, x) + 0.6 * torch.sin(9 * y)))


def waves(frequency, height):
    def relief(x, y, z):
        return height * torch.sin(frequency * x) * torch.sin(frequency * y) * torch.sin(frequency * z + 0.7)

    return relief


def wrinkles(count, height):
    """Winding furrows from pole to pole, as on a walnut."""

    def relief(x, y, z):
        angle = torch.atan2(z, x)
        return height * torch.sin(count * angle + 1.6 * torch.sin(11 * y) + 1.6 * torch.sin(3 * angle - 8 * y))

    return relief


def blotches(frequency, depth):
    wave = waves(frequency, 24.0)
    return lambda x, y, z: 1 - depth * torch.sigmoid(wave(x + 0.13, y + 0.35, z + 0.1))


def dots(frequency, depth):
    wave = waves(frequency, 1.0)
    return lambda x, y, z: 1 + depth * torch.sigmoid(25 * (wave(x, y, z).abs() - 0.45))


def distance(solid, x, y, z, *, toned=False):
    """Signed distance to a solid at points; with toned also the tone of the nearest part."""
    nearest, tone = None, None
    for part in solid:
        px, py, pz = x.abs() if "x" in part.mirror else x, y, z.abs() if "z" in part.mirror else z
        px, py, pz = px - part.at[0], py - part.at[1], pz - part.at[2]
        if part.turn:
            r = rotation(*part.turn).tolist()
            px, py, pz = (r[0][i] * px + r[1][i] * py + r[2][i] * pz for i in range(3))
        d = part.shape(px, py, pz)
        if part.relief is not None:
            d = d - part.relief(px, py, pz)
        if part.cut:
            d = -d
        if toned:
            own = torch.full_like(d, part.tone) if part.pattern is None else part.tone * part.pattern(px, py, pz)
            if nearest is None:
                tone = own
            else:
                tone = torch.where(d > nearest if part.cut else d < nearest, own, tone)
        if nearest is None:
            nearest = d
        elif part.cut:
            nearest = torch.maximum(nearest, d)
        elif part.blend:
            overlap = (part.blend - (nearest - d).abs()).clamp(min=0)
            nearest = torch.minimum(nearest, d) - overlap * overlap * (0.25 / part.blend)
        else:
            nearest = torch.minimum(nearest, d)
    return (nearest, tone) if toned else nearest


SHAPES = {made.__name__: made for made in (ball, box, stick, disc, wheel, wing, fin)}
SURFACES = {made.__name__: made for made in (stripes, waves, wrinkles, blotches, dots)}


def numbers(text):
    return [float(number) for number in text.split()]


def surface(text):
    """Pattern or relief from its name and numbers, or None."""
    name, _, rest = text.partition(" ")
    return SURFACES[name](*numbers(rest)) if name else None


def solids():
    """All objects: name -> solid (a list of parts)."""
    made = {}
    for line in pd.read_csv(TABLE, dtype=str, keep_default_na=False).itertuples():
        part = Part(
            shape=SHAPES[line.shape](*numbers(line.sizes)),
            at=numbers(line.at),
            tone=float(line.tone),
            turn=numbers(line.turn),
            mirror=line.mirror,
            blend=float(line.blend or 0),
            cut=line.cut == "yes",
            pattern=surface(line.pattern),
            relief=surface(line.relief),
        )
        made.setdefault(line.object, []).append(part)
    return made
