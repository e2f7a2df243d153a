"""The networks whose frozen features are read out, as data/frozen_networks.csv lists them: add one by a line there.

Columns: tag (full timm name), label, pixels (side that the network sees images at; empty for their own), profiles
(which read it out, by spaces), note.
"""

import csv
import functools
from dataclasses import dataclass
from pathlib import Path

from helpers.models.backbones import check_tag
from helpers.models.weights import RANDOM, find_weights

TABLE = Path(__file__).parents[2] / "data" / "frozen_networks.csv"


@dataclass(frozen=True)
class Network:
    """A line of the table. pixels : None for the images' own size"""

    label: str
    pixels: int | None
    profiles: tuple[str, ...]


@functools.cache
def networks(path=TABLE):
    """The table, dict tag -> Network. Raises ValueError that names the line of an unknown tag or bad number."""
    found = {}
    with Path(path).open(newline="", encoding="utf-8") as file:
        for number, line in enumerate(csv.DictReader(file), 2):
            try:
                check_tag(line["tag"])
                pixels = int(line["pixels"]) if line["pixels"] else None
                found[line["tag"]] = Network(line["label"], pixels, tuple(line["profiles"].split()))
            except (KeyError, AttributeError, TypeError):  # a column that is not there, or a line that is too short
                expected = "expected columns tag, label, pixels and profiles"
                raise ValueError(f"{path}, line {number}: {expected}.") from None
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
    return found


def at_hand(profile_name):
    """Tags of the profile's networks whose weights are there; the others are named, once, and left out."""
    tags = [tag for tag, network in networks().items() if profile_name in network.profiles]
    return [tag for tag in tags if find_weights(tag)[1] != RANDOM or _left_out(tag)]


@functools.cache  # says it once
def _left_out(tag):
    print(f"{label_of(tag)} ({tag}) is left out: its weights are not at hand.", flush=True)


def label_of(tag):
    """A network's name in tables: its label, or its tag without the weights' part."""
    return networks()[tag].label if tag in networks() else tag.partition(".")[0]


def seen_at(tag, pixels):
    """The (height, width) that a network of the table sees images of (height, width) `pixels` at."""
    side = networks()[tag].pixels if tag in networks() else None
    return tuple(pixels) if side is None else tuple(round(n * side / min(pixels)) for n in pixels)
