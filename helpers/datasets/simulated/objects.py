"""The stand-in's 64 solids, from signed distance functions (after Inigo Quilez, "3D SDFs", iquilezles.org).

A solid is a list of parts. Axes: +x is where its front looks, +y is up, z is across; all fits into +-1.2. A part is a
shape (a function of x, y, z that gives a distance), moved, turned, mirrored, and joined to the parts before it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch


class Part(NamedTuple):
    shape: Callable
    at: tuple = (0.0, 0.0, 0.0)
    tone: float = 0.6  # how much light it reflects
    turn: tuple = (0.0, 0.0, 0.0)  # degrees of yaw, pitch, roll
    mirror: str = ""  # "z": a pair, left and right; "xz": four of them
    blend: float = 0.0  # width of a smooth joint
    cut: bool = False  # taken away from the parts before it
    pattern: Callable | None = None  # the tone is multiplied by it
    relief: Callable | None = None  # the surface is raised by it


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


def box(a, b, c, *, rounding=0.02, taper=0.0, lean=0.0):
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


def cone(start, end, r0, r1):
    """Round stick from start to end, with radius r0 there and r1 here."""
    ax, ay, az = (e - s for s, e in zip(start, end, strict=True))
    squared = ax * ax + ay * ay + az * az

    def shape(x, y, z):
        x, y, z = x - start[0], y - start[1], z - start[2]
        h = ((x * ax + y * ay + z * az) / squared).clamp(0, 1)
        return norm(x - h * ax, y - h * ay, z - h * az) - (r0 + h * (r1 - r0))

    return shape


def slab(flat, height, half):
    inside = torch.maximum(flat, height.abs() - half)
    return inside.clamp(max=0) + norm(flat.clamp(min=0), (height.abs() - half).clamp(min=0)) - 0.01


def disc(radius, half, *, upright=False):
    """Cylinder about y, or about z if upright (a wheel)."""
    if upright:
        return lambda x, y, z: slab(norm(x, y) - radius, z, half)
    return lambda x, y, z: slab(norm(x, z) - radius, y, half)


def blade(start, end, r0, r1, half, *, upright=False):
    """Flat tapered strip in the plane of x and z (a wing), or of x and y if upright (a fin)."""
    stick = cone((*start, 0), (*end, 0), r0, r1)
    if upright:
        return lambda x, y, z: slab(stick(x, y, torch.zeros_like(z)), z, half)
    return lambda x, y, z: slab(stick(x, z, torch.zeros_like(y)), y, half)


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
        if any(part.turn):
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


def airplane(length, radius, span, root, tip, sweep, *, wing_y=-0.04, tone=0.8, fin=0.3, tail=0.34, tail_y=0.05):
    half = 0.02
    wing = blade((0.08, 0), (0.08 - sweep, span), root, tip, half)
    stabiliser = blade((-length + 0.12, 0), (-length + 0.12 - sweep * 0.3, tail), 0.11, 0.06, half)
    rudder = blade((-length + 0.14, 0), (-length + 0.14 - 0.16, fin), 0.12, 0.07, half, upright=True)
    return [
        Part(ball(length, radius, radius), tone=tone),
        Part(cone((-length * 0.5, 0, 0), (length * 0.6, 0, 0), radius * 0.9, radius * 0.9), tone=tone, blend=0.08),
        Part(wing, (0, wing_y, 0), tone * 0.85, mirror="z"),
        Part(stabiliser, (0, tail_y, 0), tone * 0.85, mirror="z"),
        Part(rudder, (0, 0.02, 0), tone * 0.6),
        Part(ball(0.12, radius * 0.5, radius * 0.75), (length * 0.66, radius * 0.62, 0), 0.12),
    ]


def engine(x, y, z, radius=0.065):
    return Part(cone((x - 0.12, y, z), (x + 0.1, y, z), radius * 0.8, radius), tone=0.4, mirror="z")


def propeller(x, y=0.0, z=0.0):
    blades = Part(ball(0.02, 0.26, 0.035), (x, y, z), 0.2, (0, 30, 0), mirror="z" if z else "")
    return [blades, Part(ball(0.09, 0.06, 0.06), (x - 0.02, y, z), 0.25, mirror="z" if z else "")]


def airplanes():
    return [
        [*airplane(0.95, 0.12, 0.85, 0.2, 0.08, 0.4), engine(0.16, -0.13, 0.34)],
        [
            *airplane(1.0, 0.16, 0.95, 0.24, 0.08, 0.5, tone=0.9),
            Part(ball(0.4, 0.14, 0.12), (0.45, 0.12, 0), 0.9, blend=0.1),
            engine(0.18, -0.16, 0.32),
            engine(-0.02, -0.14, 0.62),
        ],
        [
            *airplane(0.72, 0.14, 0.9, 0.16, 0.14, 0.0, wing_y=0.16, tone=0.7),
            *propeller(0.76),
            Part(cone((0.1, -0.12, 0.1), (0.08, 0.15, 0.5), 0.02, 0.02), tone=0.4, mirror="z"),
            Part(disc(0.08, 0.03, upright=True), (0.3, -0.28, 0.2), 0.1, mirror="z"),
            Part(cone((0.3, -0.05, 0.05), (0.3, -0.28, 0.2), 0.025, 0.02), tone=0.4, mirror="z"),
        ],
        [
            *airplane(0.95, 0.11, 0.55, 0.42, 0.05, 0.55, tone=0.45, fin=0.36, tail=0.25, wing_y=0.0),
            Part(box(0.3, 0.08, 0.14, rounding=0.05), (-0.1, -0.05, 0), 0.4),
        ],
        [
            *airplane(0.7, 0.13, 0.75, 0.17, 0.15, 0.0, wing_y=-0.12, tone=0.55),
            Part(blade((0.14, 0), (0.14, 0.75), 0.17, 0.15, 0.02), (0, 0.34, 0), 0.5, mirror="z"),
            Part(cone((0.1, -0.1, 0.55), (0.14, 0.34, 0.55), 0.025, 0.025), tone=0.9, mirror="z"),
            Part(cone((0.1, 0.1, 0.1), (0.14, 0.34, 0.2), 0.025, 0.025), tone=0.9, mirror="z"),
            *propeller(0.74),
        ],
        airplane(0.75, 0.09, 1.15, 0.1, 0.05, 0.06, wing_y=0.05, tone=0.95, tail_y=0.28, fin=0.26, tail=0.26),
        [
            *airplane(0.85, 0.13, 0.65, 0.2, 0.09, 0.28, tone=0.65, tail_y=0.36, fin=0.32, tail=0.3),
            engine(-0.48, 0.08, 0.22, 0.09),
        ],
        [
            *airplane(0.75, 0.13, 0.85, 0.22, 0.1, 0.08, tone=0.35, fin=0.25, tail=0.3),
            Part(cone((-0.05, -0.03, 0.36), (0.38, -0.03, 0.36), 0.06, 0.1), tone=0.3, mirror="z"),
            *propeller(0.5, -0.03, 0.36),
        ],
    ]


def car(length, height, cabin, cabin_x, *, tone, lean=-0.06, taper=0.14, wheel=0.15, width=0.32, nose=0.0, bumper=0.25):
    """Length and cabin are half lengths; lean moves the roof backwards, nose lowers the bonnet's front."""
    body = box(length, height, width, rounding=0.07)
    glass = box(cabin, 0.15, width - 0.03, rounding=0.05, taper=taper, lean=lean)
    roof = box(cabin - taper - 0.01, 0.03, width - 0.05, rounding=0.03)
    top = height - 0.05 + 0.13
    return [
        Part(body, (0, 0, 0), tone),
        Part(box(0.6, 0.3, 0.6), (length + 0.2, height + 0.27, 0), tone, (0, 0, -nose), cut=True),
        Part(glass, (cabin_x, top, 0), 0.1),
        Part(roof, (cabin_x + lean, top + 0.13, 0), tone),
        Part(box(0.035, 0.15, width - 0.02, lean=lean * 0.3), (cabin_x + lean * 0.5, top, 0), tone),
        Part(disc(wheel, 0.06, upright=True), (length * 0.62, -height, width - 0.04), 0.06, mirror="xz"),
        Part(disc(wheel * 0.5, 0.07, upright=True), (length * 0.62, -height, width - 0.04), 0.75, mirror="xz"),
        Part(ball(0.05, 0.05, 0.07), (length - 0.03, height * 0.25, width * 0.65), 1.0, mirror="z"),
        Part(box(0.04, 0.035, width - 0.02), (length, -height * 0.6, 0), bumper),
    ]


def cars():
    beetle = [
        Part(ball(0.8, 0.34, 0.34), (0, -0.06, 0), 0.55),
        Part(ball(0.48, 0.42, 0.31), (-0.1, 0.14, 0), 0.55, blend=0.1),
        Part(ball(0.41, 0.16, 0.32), (-0.09, 0.3, 0), 0.1),
        Part(ball(0.41, 0.15, 0.31), (-0.12, 0.43, 0), 0.55),
        Part(box(0.03, 0.14, 0.32), (-0.1, 0.3, 0), 0.55),
        Part(ball(0.27, 0.2, 0.12), (0.5, -0.12, 0.27), 0.5, mirror="xz", blend=0.06),
        Part(ball(0.08), (0.72, 0.02, 0.25), 1.0, mirror="z"),
        Part(box(0.9, 0.3, 0.5), (0, -0.58, 0), 0.3, cut=True),
        Part(disc(0.17, 0.06, upright=True), (0.52, -0.22, 0.31), 0.06, mirror="xz"),
        Part(disc(0.08, 0.07, upright=True), (0.52, -0.22, 0.31), 0.8, mirror="xz"),
    ]
    z3 = [
        *car(0.8, 0.14, 0.1, 0.12, tone=0.75, nose=6, wheel=0.17)[:2],
        Part(box(0.26, 0.12, 0.24), (-0.22, 0.16, 0), 0.12, cut=True),
        Part(box(0.02, 0.12, 0.27), (0.1, 0.22, 0), 0.1, (0, 0, 35)),
        Part(box(0.06, 0.13, 0.09, rounding=0.05), (-0.36, 0.14, 0.13), 0.3, mirror="z"),
        *car(0.8, 0.14, 0.1, 0.12, tone=0.75, nose=6, wheel=0.17)[5:],
    ]
    celica = [
        *car(0.85, 0.12, 0.42, -0.12, tone=0.4, lean=-0.05, taper=0.22, nose=8),
        Part(box(0.08, 0.02, 0.3), (-0.8, 0.27, 0), 0.35),
        Part(box(0.04, 0.08, 0.02), (-0.8, 0.2, 0.24), 0.35, mirror="z"),
    ]
    return {
        "car_alfa": car(0.74, 0.15, 0.42, -0.15, tone=0.3, lean=-0.1, taper=0.16, nose=7, bumper=0.7),
        "car_astra": car(0.74, 0.17, 0.52, -0.18, tone=0.85, lean=-0.08, taper=0.12, nose=2),
        "car_beetle": beetle,
        "car_bmw": [
            *car(0.95, 0.16, 0.42, -0.1, tone=0.2, taper=0.14, bumper=0.6),
            Part(box(0.02, 0.06, 0.12), (0.95, 0.05, 0), 0.8),
        ],
        "car_bora": car(0.9, 0.18, 0.44, -0.05, tone=0.6, lean=-0.02, taper=0.15, nose=3),
        "car_celica": celica,
        "car_clio": car(0.58, 0.19, 0.46, -0.1, tone=0.7, lean=-0.06, taper=0.1, nose=4, wheel=0.14, width=0.3),
        "car_z3": z3,
    }


def chair(seat, back, *, tone=0.6, seat_tone=None, height=0.42, leg=0.035, thick=0.04, lean=8.0, solid_back=True):
    parts = [
        Part(box(seat, thick, seat, rounding=0.02), (0, 0, 0), seat_tone or tone),
        Part(
            cone((seat - 0.05, -leg - 0.01, seat - 0.05), (seat - 0.03, -height, seat - 0.03), leg, leg * 0.8),
            tone=tone,
            mirror="xz",
        ),
    ]
    if solid_back:
        parts.append(Part(box(thick, back, seat), (-seat - 0.02, back, 0), tone, (0, 0, lean)))
    return parts


def chairs():
    wood, dark = chair(0.34, 0.4, tone=0.65), 0.2
    slats = [
        *chair(0.33, 0, tone=0.3, seat_tone=0.7, solid_back=False),
        Part(cone((-0.31, 0, 0.29), (-0.4, 0.85, 0.29), 0.035, 0.03), tone=0.3, mirror="z"),
        *[Part(box(0.025, 0.05, 0.29), (-0.33 - 0.03 * i, 0.22 + 0.26 * i, 0), 0.3) for i in range(3)],
    ]
    arms = [Part(box(0.4, 0.24, 0.1, rounding=0.09), (0, 0.02, 0.45), 0.5, mirror="z")]
    armchair = [
        Part(box(0.42, 0.16, 0.42, rounding=0.06), (0, -0.12, 0), 0.6),
        *arms,
        Part(box(0.13, 0.46, 0.46, rounding=0.1), (-0.4, 0.2, 0), 0.5, (0, 0, 8)),
        Part(box(0.05, 0.06, 0.05), (0.3, -0.32, 0.42), 0.2, mirror="xz"),
    ]
    office = [
        Part(box(0.36, 0.06, 0.36, rounding=0.05), (0, 0, 0), dark),
        Part(box(0.05, 0.3, 0.32, rounding=0.04), (-0.4, 0.5, 0), dark, (0, 0, 8)),
        Part(cone((-0.2, -0.05, 0), (-0.4, 0.3, 0), 0.04, 0.04), tone=0.5),
        Part(cone((0, -0.1, 0), (0, -0.5, 0), 0.05, 0.05), tone=0.7),
        *[
            Part(cone((0, -0.48, 0), (0.42 * np.cos(a), -0.56, 0.42 * np.sin(a)), 0.045, 0.04), tone=0.3)
            for a in np.arange(5) * 2 * np.pi / 5
        ],
        Part(cone((-0.12, 0.22, 0.4), (0.2, 0.22, 0.4), 0.04, 0.04), tone=0.3, mirror="z"),
        Part(cone((0, 0, 0.34), (0.02, 0.22, 0.4), 0.03, 0.03), tone=0.3, mirror="z"),
    ]
    bar = [
        *chair(0.26, 0.16, tone=0.55, height=0.85),
        Part(cone((0.24, -0.55, 0.24), (-0.24, -0.55, 0.24), 0.025, 0.025), tone=0.55, mirror="z"),
        Part(cone((0.24, -0.55, -0.24), (0.24, -0.55, 0.24), 0.025, 0.025), tone=0.55, mirror="x"),
    ]
    tub = [
        Part(disc(0.46, 0.3), (0, 0.12, 0), 0.75),
        Part(disc(0.36, 0.4), (0.06, 0.42, 0), 0.5, cut=True),
        Part(box(0.5, 0.25, 0.6), (0.4, 0.52, 0), 0.75, cut=True),
        Part(box(0.3, 0.3, 0.6), (0.5, 0.4, 0), 0.75, cut=True),
        Part(disc(0.37, 0.06), (0.04, 0.06, 0), 0.4),
        Part(cone((0.28, -0.2, 0.28), (0.34, -0.45, 0.34), 0.04, 0.03), tone=0.2, mirror="xz"),
    ]
    rocker = [
        *chair(0.33, 0.55, tone=0.45, lean=16, height=0.4),
        Part(cone((0.1, -0.44, 0.31), (0.6, -0.36, 0.31), 0.035, 0.03), tone=0.45, mirror="xz"),
        Part(cone((-0.3, 0.28, 0.36), (0.34, 0.26, 0.36), 0.035, 0.035), tone=0.45, mirror="z"),
        Part(cone((0.3, 0, 0.34), (0.3, 0.26, 0.36), 0.03, 0.03), tone=0.45, mirror="z"),
    ]
    lounge = [
        Part(box(0.6, 0.06, 0.32, rounding=0.05), (0.1, 0, 0), 0.9, (0, 0, 6)),
        Part(box(0.06, 0.5, 0.32, rounding=0.05), (-0.66, 0.32, 0), 0.9, (0, 0, 32)),
        Part(cone((0.5, 0, 0.27), (0.5, -0.4, 0.27), 0.035, 0.03), tone=0.25, mirror="xz"),
    ]
    return [wood, slats, armchair, office, bar, tub, rocker, lounge]


def table(width, depth, *, height=0.6, leg=0.05, inset=0.06, tone=0.65, leg_tone=0.4, thick=0.045):
    x, z = width - inset, depth - inset
    stick = cone((x, -thick - leg, z), (x, -height, z), leg, leg * 0.85)
    return [Part(box(width, thick, depth), (0, 0, 0), tone), Part(stick, tone=leg_tone, mirror="xz")]


def tables():
    desk = [
        Part(box(0.8, 0.045, 0.42), (0, 0, 0), 0.5),
        Part(box(0.22, 0.28, 0.38), (0.5, -0.3, 0), 0.45),
        *[Part(box(0.19, 0.075, 0.02), (0.5, -0.14 - 0.19 * i, 0.38), 0.8) for i in range(3)],
        Part(box(0.04, 0.28, 0.38), (-0.7, -0.3, 0), 0.45),
    ]
    picnic = [
        *[Part(box(0.85, 0.035, 0.11), (0, 0, 0.25 * i), 0.75) for i in (-1, 0, 1)],
        Part(box(0.85, 0.03, 0.1), (0, -0.28, 0.62), 0.7, mirror="z"),
        Part(cone((0.6, -0.07, 0.17), (0.6, -0.6, 0.5), 0.04, 0.04), tone=0.4, mirror="xz"),
        Part(box(0.04, 0.03, 0.6), (0.6, -0.32, 0), 0.4, mirror="x"),
    ]
    pedestal = [
        Part(disc(0.75, 0.035), tone=0.85),
        Part(cone((0, -0.12, 0), (0, -0.6, 0), 0.07, 0.09), tone=0.3),
        Part(ball(0.42, 0.07, 0.42), (0, -0.64, 0), 0.3),
    ]
    coffee = [*table(0.8, 0.5, height=0.36, tone=0.3, leg_tone=0.25), Part(box(0.72, 0.025, 0.42), (0, -0.22, 0), 0.3)]
    bar = [
        Part(disc(0.42, 0.035), tone=0.9),
        Part(cone((0, -0.07, 0), (0, -1.05, 0), 0.04, 0.04), tone=0.5),
        *[
            Part(cone((0, -0.95, 0), (0.34 * np.cos(a), -1.08, 0.34 * np.sin(a)), 0.04, 0.035), tone=0.5)
            for a in np.arange(4) * np.pi / 2
        ],
    ]
    slabs = [Part(box(0.75, 0.06, 0.42), (0, 0, 0), 0.9), Part(box(0.07, 0.3, 0.38), (0.52, -0.32, 0), 0.6, mirror="x")]
    splayed = [
        Part(disc(0.62, 0.035), tone=0.5),
        Part(cone((0.22, -0.1, 0.22), (0.46, -0.62, 0.46), 0.065, 0.035), tone=0.8, mirror="xz"),
    ]
    return [table(0.8, 0.5), pedestal, coffee, desk, picnic, splayed, bar, slabs]


def face(width, height, *, skin=0.75, hair=0.15, brow=0.0, nose=0.06, mouth=0.14, extra=(), cap=True):
    """A head with a neck; width and height are half axes, hair, skin and brow change its look."""
    eye_y, eye_z = 0.1 * height / 0.56, 0.17 * width / 0.42
    front = 0.42 * (1 - (eye_z / width) ** 2 - (eye_y / height) ** 2) ** 0.5
    hairs = [Part(ball(0.46, 0.5 * height / 0.56, width + 0.035), (-0.08, 0.2 * height / 0.56, 0), hair)] if cap else []
    return [
        Part(ball(0.42, height, width), tone=skin),
        Part(ball(0.25, 0.25, width * 0.7), (0.1, -height * 0.62, 0), skin, blend=0.15),
        Part(cone((-0.08, -height * 0.5, 0), (-0.12, -height - 0.25, 0), 0.22, 0.25), tone=skin * 0.8, blend=0.05),
        Part(ball(0.06, 0.12, 0.05), (-0.02, 0, width), skin, mirror="z"),
        *hairs,
        Part(ball(0.05, 0.055, 0.09), (front - 0.005, eye_y, eye_z), 1.1, mirror="z"),
        Part(ball(0.045), (front + 0.025, eye_y, eye_z), 0.02, mirror="z"),
        Part(
            box(0.05, 0.022 + brow, 0.105, rounding=0.02),
            (front + 0.01, eye_y + 0.13, eye_z),
            hair * 0.8,
            (0, 8, 0),
            mirror="z",
        ),
        Part(cone((front + 0.05, eye_y - 0.02, 0), (0.46, -0.09, 0), nose * 0.6, nose), tone=skin, blend=0.05),
        Part(ball(0.06, 0.04, mouth), (0.385 * min(1, height / 0.54), -height * 0.52, 0), skin * 0.3),
        *extra,
    ]


def faces():
    glasses = [
        Part(disc(0.14, 0.02, upright=True), (0.43, 0.1, 0.17), 0.05, (90, 0, 0), mirror="z"),
        Part(disc(0.105, 0.03, upright=True), (0.43, 0.1, 0.17), 0.9, (90, 0, 0), mirror="z"),
        Part(ball(0.04), (0.45, 0.1, 0.17), 0.02, mirror="z"),
        Part(cone((0.42, 0.12, 0.28), (0, 0.12, 0.43), 0.02, 0.02), tone=0.05, mirror="z"),
    ]
    long_hair = [
        Part(ball(0.34, 0.62, 0.52), (-0.2, -0.1, 0), 0.12),
        Part(cone((0.0, 0.35, 0.36), (-0.08, -0.6, 0.42), 0.13, 0.12), tone=0.12, mirror="z"),
    ]
    beard = [
        Part(ball(0.33, 0.3, 0.37), (0.1, -0.38, 0), 0.2, blend=0.03),
        Part(ball(0.05, 0.035, 0.11), (0.41, -0.33, 0), 0.75),
        Part(ball(0.05, 0.035, 0.16), (0.43, -0.2, 0), 0.2),
    ]
    bun = [Part(ball(0.2), (-0.15, 0.72, 0), 0.4)]
    afro = [Part(ball(0.56, 0.55, 0.66), (-0.18, 0.36, 0), 0.08, relief=waves(22, 0.012))]
    hat = [
        Part(disc(0.5, 0.14), (-0.02, 0.42, 0), 0.25),
        Part(ball(0.5, 0.24, 0.48), (-0.02, 0.55, 0), 0.25),
        Part(ball(0.42, 0.03, 0.38), (0.4, 0.33, 0), 0.2),
    ]
    moustache = [Part(ball(0.06, 0.05, 0.13), (0.42, -0.19, 0.08), 0.9, (0, 20, 0), mirror="z")]
    fringe = [
        Part(box(0.1, 0.12, 0.33, rounding=0.08), (0.31, 0.36, 0), 0.85),
        Part(ball(0.26, 0.44, 0.1), (-0.06, 0.0, 0.38), 0.85, mirror="z"),
        Part(ball(0.36, 0.5, 0.46), (-0.15, 0.02, 0), 0.85),
    ]
    return [
        face(0.4, 0.56, brow=0.01),
        face(0.38, 0.56, skin=0.85, hair=0.12, mouth=0.12, nose=0.05, extra=long_hair),
        face(0.43, 0.58, skin=0.8, hair=0.3, cap=False, extra=glasses),
        face(0.43, 0.56, skin=0.7, hair=0.2, brow=0.02, extra=beard),
        face(0.4, 0.5, skin=0.8, hair=0.4, mouth=0.1, nose=0.05, extra=bun),
        face(0.42, 0.56, skin=0.4, hair=0.08, nose=0.085, mouth=0.17, extra=afro, cap=False),
        face(0.43, 0.54, skin=0.65, hair=0.9, nose=0.09, extra=[*hat, *moustache], cap=False),
        face(0.38, 0.48, skin=0.6, hair=0.85, mouth=0.1, nose=0.05, extra=fringe),
    ]


def hull(length, width, depth, *, tone=0.35, deck=0.75, bow=0.12):
    """A pointed boat: an ellipsoid whose upper half is cut away, with a raised bow."""
    return [
        Part(ball(length, depth * 1.5, width), (0, 0.0, 0), tone),
        Part(
            box(length * 0.75, depth * 0.5, width * 0.7, rounding=0.05),
            (-length * 0.2, -depth * 0.5, 0),
            tone,
            blend=0.1,
        ),
        Part(box(2, 1, 2), (0, 1, 0), deck, cut=True),
        Part(box(2, 1, 2), (0, -1 - depth, 0), tone, cut=True),
        Part(ball(length * 0.4, bow, width * 0.55), (length * 0.62, 0, 0), tone, (0, 0, 14), blend=0.05),
    ]


def sail(x, low, high, reach, tone=0.95):
    """A triangular sail behind a mast at x, from low to high."""
    middle = (low + high) / 2
    shape = box(reach / 4 + 0.01, (high - low) / 2, 0.02, rounding=0.01, taper=reach / 4, lean=reach / 4)
    mast = cone((x, 0, 0), (x, high + 0.05, 0), 0.03, 0.025)
    return [Part(shape, (x - reach / 4 - 0.04, middle, 0), tone), Part(mast, tone=0.2)]


def house(x, y, a, b, c, tone=0.85):
    return Part(box(a, b, c), (x, y, 0), tone)


def funnel(x, y, radius=0.07, half=0.16):
    return Part(disc(radius, half), (x, y, 0), 0.2, (0, 0, 8))


def gun(x, side=1):
    barrels = cone((x, 0.1, 0.04), (x + side * 0.26, 0.14, 0.04), 0.025, 0.025)
    return [Part(box(0.11, 0.06, 0.1, rounding=0.03), (x, 0.08, 0), 0.4), Part(barrels, tone=0.25, mirror="z")]


def ships():
    sailboat = [
        *hull(0.75, 0.22, 0.2, tone=0.85, deck=0.6),
        *sail(0.1, 0.15, 1.1, 0.75),
        *sail(0.68, 0.12, 0.8, 0.42, 0.8)[:1],
    ]
    container = [
        *hull(1.05, 0.24, 0.2, tone=0.2),
        house(-0.72, 0.22, 0.1, 0.24, 0.2, 0.9),
        *[
            Part(box(0.1, h, 0.2, rounding=0.005), (x, h, 0), t)
            for x, h, t in (
                (-0.46, 0.16, 0.6),
                (-0.24, 0.2, 0.35),
                (-0.02, 0.13, 0.75),
                (0.2, 0.2, 0.5),
                (0.42, 0.13, 0.3),
            )
        ],
        funnel(-0.9, 0.2),
    ]
    liner = [
        *hull(1.1, 0.22, 0.22, tone=0.12, deck=0.9, bow=0.16),
        house(-0.05, 0.08, 0.72, 0.09, 0.18),
        house(-0.08, 0.22, 0.55, 0.06, 0.14),
        house(-0.05, 0.08, 0.66, 0.02, 0.187, 0.2),
        *[funnel(x, 0.42, 0.075, 0.17) for x in (-0.4, -0.08, 0.24)],
    ]
    tug = [
        *hull(0.7, 0.32, 0.26, tone=0.25, bow=0.15),
        house(0.08, 0.15, 0.28, 0.16, 0.2, 0.9),
        house(0.14, 0.38, 0.16, 0.12, 0.16, 0.9),
        house(0.14, 0.4, 0.165, 0.045, 0.165, 0.1),
        funnel(-0.18, 0.45, 0.09, 0.2),
    ]
    warship = [
        *hull(1.1, 0.19, 0.18, tone=0.45, deck=0.55),
        house(0, 0.12, 0.3, 0.12, 0.12, 0.5),
        house(0.12, 0.32, 0.12, 0.12, 0.09, 0.5),
        Part(cone((0.1, 0.4, 0), (0.08, 0.75, 0), 0.035, 0.02), tone=0.3),
        funnel(-0.15, 0.32, 0.07, 0.12),
        *gun(0.46),
        *gun(0.72),
        *gun(-0.5, -1),
    ]
    tanker = [
        *hull(1.15, 0.26, 0.2, tone=0.55, deck=0.3),
        house(-0.8, 0.2, 0.13, 0.22, 0.2, 0.95),
        Part(cone((-0.6, 0.06, 0), (0.75, 0.06, 0), 0.045, 0.045), tone=0.8),
        Part(ball(0.13, 0.15, 0.13), (-0.3, 0.08, 0), 0.85),
        Part(ball(0.13, 0.15, 0.13), (0.06, 0.08, 0), 0.85),
        Part(ball(0.13, 0.15, 0.13), (0.42, 0.08, 0), 0.85),
    ]
    schooner = [
        *hull(0.95, 0.22, 0.2, tone=0.25, deck=0.6, bow=0.13),
        *[
            part
            for x, h in ((-0.45, 0.75), (0.05, 0.95), (0.5, 0.75))
            for part in (
                Part(cone((x, 0, 0), (x, h + 0.1, 0), 0.03, 0.025), tone=0.2),
                Part(box(0.2, h * 0.36, 0.03, taper=0.05, lean=0.03), (x - 0.22, h * 0.52, 0), 0.9),
            )
        ],
        Part(cone((0.85, 0.05, 0), (1.18, 0.22, 0), 0.03, 0.02), tone=0.2),
    ]
    yacht = [
        *hull(0.9, 0.26, 0.2, tone=0.95, deck=0.8, bow=0.15),
        Part(box(0.42, 0.1, 0.19, rounding=0.04, taper=0.1, lean=-0.08), (-0.08, 0.1, 0), 0.15),
        Part(box(0.4, 0.03, 0.18, rounding=0.02), (-0.18, 0.22, 0), 0.95),
        Part(box(0.2, 0.08, 0.14, rounding=0.03, taper=0.05, lean=-0.06), (-0.2, 0.32, 0), 0.9),
        Part(cone((-0.35, 0.3, 0), (-0.45, 0.55, 0), 0.03, 0.02), tone=0.5),
    ]
    return [sailboat, container, liner, tug, warship, tanker, schooner, yacht]


def legs(x, y, z, length, thick, thin, tone):
    return Part(cone((x, y, z), (x * 1.02, y - length, z), thick, thin), tone=tone, mirror="xz", blend=0.05)


def eyes(x, y, z, size=0.035):
    return Part(ball(size), (x, y, z), 0.02, mirror="z")


def animals():
    bear = [
        Part(ball(0.58, 0.36, 0.32), (0, 0, 0), 0.28),
        Part(ball(0.3, 0.34, 0.3), (0.32, 0.06, 0), 0.28, blend=0.15),
        legs(0.38, -0.1, 0.17, 0.5, 0.16, 0.13, 0.25),
        Part(ball(0.24, 0.23, 0.23), (0.72, 0.2, 0), 0.28, blend=0.12),
        Part(ball(0.15, 0.1, 0.11), (0.93, 0.12, 0), 0.55, blend=0.04),
        Part(ball(0.05), (1.06, 0.15, 0), 0.02),
        Part(ball(0.05, 0.09, 0.08), (0.66, 0.42, 0.15), 0.2, mirror="z"),
        eyes(0.89, 0.25, 0.1),
    ]
    cow = [
        Part(box(0.58, 0.25, 0.23, rounding=0.2), (0, 0, 0), 0.95, pattern=blotches(6, 0.85)),
        legs(0.42, -0.15, 0.14, 0.5, 0.08, 0.055, 0.85),
        Part(cone((0.5, 0.1, 0), (0.72, 0.26, 0), 0.17, 0.12), tone=0.15, blend=0.08),
        Part(ball(0.23, 0.13, 0.13), (0.84, 0.24, 0), 0.9, (0, 0, -25), blend=0.03),
        Part(ball(0.09, 0.09, 0.11), (1.0, 0.14, 0), 0.45),
        Part(ball(0.05, 0.05, 0.13), (0.68, 0.3, 0.2), 0.15, mirror="z"),
        Part(cone((0.7, 0.36, 0.08), (0.74, 0.52, 0.17), 0.035, 0.015), tone=1.0, mirror="z"),
        Part(ball(0.14, 0.1, 0.12), (-0.28, -0.27, 0), 0.7),
        Part(cone((-0.57, 0.15, 0), (-0.66, -0.3, 0), 0.03, 0.03), tone=0.15),
        eyes(0.84, 0.33, 0.11),
    ]
    dog = [
        Part(ball(0.46, 0.2, 0.17), (0, 0, 0), 0.7),
        Part(ball(0.22, 0.24, 0.19), (0.25, -0.01, 0), 0.7, blend=0.1),
        legs(0.33, -0.1, 0.1, 0.48, 0.075, 0.05, 0.65),
        Part(cone((0.38, 0.1, 0), (0.54, 0.38, 0), 0.13, 0.11), tone=0.7, blend=0.08),
        Part(ball(0.19, 0.17, 0.16), (0.6, 0.44, 0), 0.7, blend=0.05),
        Part(cone((0.68, 0.4, 0), (0.9, 0.36, 0), 0.1, 0.075), tone=0.85, blend=0.04),
        Part(ball(0.05), (0.98, 0.39, 0), 0.02),
        Part(ball(0.09, 0.2, 0.045), (0.53, 0.36, 0.18), 0.15, (0, 12, 0), mirror="z"),
        Part(cone((-0.42, 0.08, 0), (-0.7, 0.45, 0), 0.05, 0.03), tone=0.7, blend=0.04),
        eyes(0.74, 0.5, 0.09),
    ]
    elephant = [
        Part(ball(0.56, 0.42, 0.37), (0, 0.05, 0), 0.5),
        legs(0.34, -0.15, 0.2, 0.52, 0.15, 0.13, 0.45),
        Part(ball(0.27, 0.29, 0.26), (0.62, 0.24, 0), 0.5, blend=0.1),
        Part(cone((0.82, 0.18, 0), (0.98, -0.22, 0), 0.13, 0.085), tone=0.5, blend=0.08),
        Part(cone((0.98, -0.22, 0), (1.1, -0.5, 0), 0.085, 0.06), tone=0.5, blend=0.04),
        Part(ball(0.05, 0.33, 0.25), (0.5, 0.24, 0.38), 0.38, (-32, 0, 0), mirror="z"),
        Part(cone((0.82, 0.05, 0.13), (1.08, -0.12, 0.18), 0.045, 0.02), tone=1.1, mirror="z"),
        Part(cone((-0.54, 0.15, 0), (-0.64, -0.25, 0), 0.03, 0.025), tone=0.4),
        eyes(0.82, 0.32, 0.17),
    ]
    gorilla = [
        Part(ball(0.33, 0.4, 0.34), (-0.2, -0.05, 0), 0.16),
        Part(ball(0.34, 0.34, 0.42), (0.1, 0.28, 0), 0.16, blend=0.2),
        Part(cone((0.15, 0.3, 0.4), (0.3, -0.15, 0.46), 0.16, 0.12), tone=0.14, mirror="z", blend=0.1),
        Part(cone((0.3, -0.15, 0.46), (0.38, -0.58, 0.42), 0.12, 0.1), tone=0.14, mirror="z", blend=0.05),
        Part(cone((-0.25, -0.25, 0.22), (-0.18, -0.58, 0.26), 0.17, 0.11), tone=0.14, mirror="z", blend=0.06),
        Part(ball(0.1, 0.06, 0.09), (-0.1, -0.62, 0.26), 0.3, mirror="z"),
        Part(ball(0.23, 0.25, 0.2), (0.38, 0.6, 0), 0.16, blend=0.06),
        Part(ball(0.13, 0.16, 0.15), (0.52, 0.54, 0), 0.5),
        Part(ball(0.1, 0.09, 0.11), (0.6, 0.46, 0), 0.55, blend=0.03),
        Part(box(0.07, 0.035, 0.15, rounding=0.03), (0.55, 0.68, 0), 0.2),
        eyes(0.63, 0.6, 0.065, 0.03),
    ]
    hedgehog = [
        Part(ball(0.62, 0.46, 0.46), (-0.1, 0, 0), 0.55, pattern=dots(26, -0.6), relief=waves(26, 0.035)),
        Part(box(2, 1, 2), (0, -1.24, 0), 0.6, cut=True),
        Part(cone((0.4, -0.1, 0), (0.78, -0.16, 0), 0.24, 0.06), tone=0.9, blend=0.03),
        Part(ball(0.07), (0.86, -0.15, 0), 0.02),
        eyes(0.58, 0.03, 0.14, 0.045),
        Part(ball(0.05, 0.1, 0.1), (0.4, 0.13, 0.2), 0.7, mirror="z"),
        legs(0.3, -0.2, 0.2, 0.16, 0.09, 0.07, 0.8),
    ]
    lioness = [
        Part(ball(0.62, 0.23, 0.2), (0, 0, 0), 0.75),
        Part(ball(0.25, 0.25, 0.2), (0.38, 0.0, 0), 0.75, blend=0.12),
        legs(0.46, -0.1, 0.11, 0.45, 0.1, 0.07, 0.7),
        Part(ball(0.22, 0.22, 0.21), (0.72, 0.25, 0), 0.75, blend=0.14),
        Part(ball(0.13, 0.09, 0.11), (0.89, 0.17, 0), 0.95, blend=0.04),
        Part(ball(0.035, 0.03, 0.045), (1.01, 0.21, 0), 0.05),
        Part(ball(0.05, 0.09, 0.08), (0.66, 0.46, 0.15), 0.6, mirror="z"),
        Part(cone((-0.58, 0.05, 0), (-0.88, -0.2, 0), 0.045, 0.03), tone=0.7, blend=0.04),
        Part(cone((-0.88, -0.2, 0), (-1.1, 0.05, 0), 0.03, 0.03), tone=0.7),
        Part(ball(0.08), (-1.12, 0.1, 0), 0.1),
        eyes(0.89, 0.29, 0.08, 0.03),
    ]
    turtle = [
        Part(ball(0.62, 0.42, 0.5), (0, 0, 0), 0.3, pattern=dots(8.5, 1.1)),
        Part(box(2, 1, 2), (0, -1.08, 0), 0.7, cut=True),
        Part(ball(0.68, 0.09, 0.56), (0, -0.06, 0), 0.6),
        Part(cone((0.55, -0.08, 0), (0.85, 0.1, 0), 0.12, 0.11), tone=0.75),
        Part(ball(0.19, 0.14, 0.14), (0.95, 0.14, 0), 0.75, blend=0.04),
        eyes(1.02, 0.2, 0.1),
        Part(cone((0.4, -0.12, 0.35), (0.56, -0.3, 0.52), 0.13, 0.1), tone=0.7, mirror="xz"),
        Part(cone((-0.6, -0.1, 0), (-0.85, -0.18, 0), 0.08, 0.02), tone=0.7),
    ]
    names = ("bear", "cow", "dog", "elephant", "gorilla", "hedgehog", "lioness", "turtle")
    return dict(zip(names, (bear, cow, dog, elephant, gorilla, hedgehog, lioness, turtle), strict=True))


def stem(y, lean=0.06, height=0.2):
    return Part(cone((0, y, 0), (lean, y + height, 0), 0.035, 0.045), tone=0.1)


def leaves(count, y, length, width, tone, droop):
    """A rosette of leaves around the top of a berry."""
    angles = np.arange(count) * 2 * np.pi / count
    leaf = ball(length, 0.032, width)
    return [
        Part(leaf, (0.23 * np.cos(a), y, 0.23 * np.sin(a)), tone, (-np.degrees(a), 0, -droop)) for a in angles.tolist()
    ]


def fruits():
    apple = [
        Part(ball(0.62, 0.56, 0.62), tone=0.5),
        Part(ball(0.45, 0.4, 0.45), (0, -0.28, 0), 0.5, blend=0.15),
        Part(ball(0.26, 0.22, 0.26), (0, 0.6, 0), 0.4, cut=True),
        Part(ball(0.5, 0.2, 0.5), (0, 0.28, 0), 0.5, blend=0.06),
        Part(ball(0.2, 0.2, 0.2), (0, 0.6, 0), 0.35, cut=True),
        stem(0.42, 0.08, 0.3),
        Part(ball(0.24, 0.025, 0.11), (0.28, 0.72, 0), 0.35, (20, 0, 15)),
    ]
    apricot = [
        Part(ball(0.54, 0.58, 0.46), (0, 0, 0.17), 0.85),
        Part(ball(0.54, 0.58, 0.46), (0, 0, -0.17), 0.85, blend=0.03),
        Part(ball(0.07, 0.05, 0.07), (0, 0.56, 0), 0.15),
    ]
    peach = [
        Part(ball(0.6, 0.54, 0.5), (0, 0, 0.14), 0.6),
        Part(ball(0.6, 0.54, 0.5), (0, 0, -0.14), 0.7, blend=0.03),
        stem(0.45, 0.02, 0.1),
        Part(ball(0.34, 0.025, 0.13), (0.3, 0.6, 0.05), 0.3, (15, 0, 22)),
        Part(ball(0.34, 0.025, 0.13), (-0.28, 0.6, 0.08), 0.3, (-15, 0, -22)),
    ]
    pear = [
        Part(ball(0.5, 0.46, 0.5), (0, -0.3, 0), 0.8),
        Part(ball(0.28, 0.36, 0.28), (0, 0.3, 0), 0.8, blend=0.4),
        stem(0.6, 0.1, 0.28),
    ]
    raspberry = [
        Part(ball(0.46, 0.6, 0.46), (0, -0.05, 0), 0.45, relief=waves(15, 0.055)),
        *leaves(5, 0.56, 0.24, 0.09, 0.85, 12),
        stem(0.55, 0.03, 0.25),
    ]
    strawberry = [
        Part(cone((0, -0.55, 0), (0, 0.2, 0), 0.13, 0.45), tone=0.42, pattern=dots(16, 1.3)),
        *leaves(6, 0.58, 0.3, 0.1, 0.8, 14),
        stem(0.6, 0.04, 0.22),
    ]
    walnut = [
        Part(ball(0.56, 0.6, 0.54), tone=0.62, relief=wrinkles(8, 0.028)),
        Part(cone((0, 0.4, 0), (0, 0.66, 0), 0.2, 0.04), tone=0.62, blend=0.15),
        Part(ball(0.62, 0.66, 0.05), tone=0.7, turn=(50, 0, 0), blend=0.06),
    ]
    watermelon = [Part(ball(0.6, 0.85, 0.6), tone=0.6, turn=(0, 0, 90), pattern=stripes(7, 0.55))]
    names = ("apple", "apricot", "peach", "pear", "raspberry", "strawberry", "walnut", "watermelon")
    made = (apple, apricot, peach, pear, raspberry, strawberry, walnut, watermelon)
    return dict(zip(names, made, strict=True))


def solids():
    """All objects: name -> solid (a list of parts)."""
    numbered = {"airplane": airplanes(), "chair": chairs(), "face": faces(), "ship": ships(), "table": tables()}
    numbered = {f"{kind}{i}": solid for kind, made in numbered.items() for i, solid in enumerate(made)}
    return {**numbered, **cars(), **animals(), **fruits()}
