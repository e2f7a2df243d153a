"""The register of claims: the published study claim by claim, each with the rows that test it and a verdict.

To add a test, add a line to data/claims.csv; its rows are entries of experiments/networks_and_recipes.py. Claims are
typed, results are not: effects, intervals and verdicts are computed from the profile's runs, which are made if they are
not there. Rows that a profile trains at unlike sizes are compared at one, where they have been run so.
"""

from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pandas as pd

from helpers import cache, metrics, models
from helpers.analyses import labels, layer_profile, tables
from helpers.experiments import runs
from helpers.experiments.networks_and_recipes import EXPERIMENTS, LITE0
from helpers.plots import STRETCHED
from helpers.training.recipe import Step

SMALLEST = 0.01  # of explained variance or correlation: an effect below it is nothing that a claim could rest on
OPEN = "undecidable with these data"
MOVED = "depends on epochs"
UNTESTED = "untested: one network twice"  # as where dropout is never called
COLUMNS = ["claim", "test", "quantity", "effect", "low", "high", "seeds", "verdict", "note"]
DEPTHS = ("first block", "middle block", "last block")  # of frozen Lite0
ONE_SIZE = "one size"  # the profile by which rows are run that another trains at unlike sizes
UNLIKE = "not run at one size"
MOST_SEEDS = 3  # of a row with a backbone; seeds of shallow rows lie further apart, and cost little
WEIGHTS = "put weights in $IT_WEIGHTS: "
# What a claim is about: which part of predictions is compared, and by what. Labels can teach what images of an object
# share, and raw losses leave the head at a scale of its own, which correlation does not count.
QUANTITIES = {"score": (None, metrics.explained_variance), "object part": (labels.object_part, metrics.correlation)}


@dataclass(frozen=True)
class Claim:
    """One test of a claim: that `row` scores higher (sign 1) or lower (sign -1) than `against`.

    `row` and `against` are experiments or blocks of frozen Lite0 (`DEPTHS`); `test` says in words what is compared,
    `quantity` by which of `QUANTITIES`.
    """

    claim: str
    test: str
    row: str
    against: str
    sign: int
    quantity: str


CLAIMS = [Claim(**line) for line in pd.read_csv(cache.ROOT / "data" / "claims.csv").to_dict("records")]


def register(dataset, profile, *, seeds=None, stretch=False):
    """Test every claim that this profile and these weights can test, and say of the others what they lack.

    Parameters
    ----------
    dataset : Dataset, as `profile.prepare` returned it
    profile : Profile
    seeds : how many seeds a shallow row gets, and one with a backbone up to `MOST_SEEDS`, at one size where a profile
        has two; None for the profile's own numbers, and those that are there
    stretch : whether the shallow rows that are tested are trained for twice the epochs too, with so many seeds; what is
        there is used without (see `at_twice_the_epochs`)

    Returns
    -------
    pandas.DataFrame
        A line per test: claim, test, quantity, effect (difference of the quantity on val), low, high (95 % interval
        over images within objects and seeds, as `tables.differences` has it), seeds of both rows, verdict, note.

    Raises
    ------
    ValueError
        If `seeds` is less than one.
    """
    if seeds is not None and seeds < 1:
        raise ValueError(f"seeds must be 1 or more, found {seeds}")
    blocks = layer_profile.block_readouts(LITE0, dataset, profile)
    pretrained = {experiment.backbone for experiment in EXPERIMENTS.values() if experiment.pretrained}
    sources = {tag: models.find_weights(tag)[1] for tag in pretrained} | {LITE0: blocks.source}
    unlike = [claim for claim in CLAIMS if len({_side(row, dataset, profile) for row in _rows(claim)}) > 1]
    alike = [claim for claim in CLAIMS if claim not in unlike]
    how = {"blocks": blocks, "sources": sources, "seeds": seeds, "stretch": stretch}
    lines = _lines(alike, dataset, profile, **how) | _lines(unlike, dataset, at_one_size(dataset, profile), **how)
    return pd.DataFrame([lines[claim] for claim in CLAIMS], columns=COLUMNS)


def _lines(tested, dataset, profile, *, blocks, sources, seeds, stretch):
    """Lines of some claims whose rows a profile trains at one size: dict claim -> line."""
    found = [obstacle(claim, dataset, profile, sources, n_blocks=len(blocks.score), seeds=seeds) for claim in tested]
    runnable = [claim for claim, lacking in zip(tested, found, strict=True) if lacking is None]
    rows = list(dict.fromkeys(row for claim in runnable for row in _rows(claim)))
    few, done = seeds and min(seeds, MOST_SEEDS), {}
    for with_backbone, n_seeds in ((False, seeds), (True, few)):
        if chosen := [row for row in rows if bool(row.backbone) == with_backbone]:
            done |= runs.run_all(chosen, dataset, profile, seeds=n_seeds)
    best = blocks_compared(blocks)
    predictions = {name: np.array([run.val for run in of_row]) for name, of_row in done.items()}
    predictions |= {depth: blocks.val[layer][None] for depth, layer in best.items()}
    lines = {}
    for claim, lacking in zip(tested, found, strict=True):
        line = {"claim": claim.claim, "test": claim.test, "quantity": claim.quantity}
        lacking = lacking or refused(claim, done, dataset)
        line |= lacking or compare(claim, predictions, dataset)
        if lacking is None and claim.row in DEPTHS:  # nothing is drawn: no seeds
            line |= {"seeds": "", "note": f"{best[claim.row]} and {best[claim.against]}, the latter chosen by folds"}
        elif lacking is None:
            line |= {"note": f"both at {done[claim.row][0].info['pixels']} pixels"} if profile.name == ONE_SIZE else {}
            line |= at_twice_the_epochs(line, claim, done, dataset, profile, train=stretch)
            line |= qualified(line, claim, done)
        lines[claim] = line
    return lines


def _rows(claim):
    """The experiments that a claim compares; none for blocks of frozen Lite0."""
    return [EXPERIMENTS[name] for name in (claim.row, claim.against) if name not in DEPTHS]


def _side(row, dataset, profile):
    """Pixels a side at which a profile trains a row: at most the images' own."""
    own = max(dataset.images.shape[2:])
    return min(profile.side(dataset, backbone=bool(row.backbone)) or own, own)


def at_one_size(dataset, profile):
    """A profile that trains every network at the size at which `profile` trains backbones; it runs no row unasked."""
    side, n_train = profile.side(dataset, backbone=True), len(dataset.train.images)
    sizes = {"n_train": n_train, "backbone_pixels": side, "shallow_pixels": side}
    return replace(profile, name=ONE_SIZE, seeds=MappingProxyType({}), **sizes)


def compare(claim, predictions, dataset):
    """Return effect, interval (that of `tables.differences`) and verdict of a claim: dict of some of `COLUMNS`.

    predictions : dict name -> array of shape (n_seeds, n_images, n_neurons), of the val images
    """
    part, metric = QUANTITIES[claim.quantity]
    found = tables.compared(predictions[claim.row], predictions[claim.against], dataset.val, part=part, metric=metric)
    found["effect"] = found.pop("difference")
    said = UNTESTED if found["verdict"].startswith("identical") else verdict(found["low"], found["high"], claim.sign)
    return found | {"verdict": said}


def stretched(experiment):
    """The experiment for twice the epochs, its rate stepped down after twice as many; a cosine ends with its recipe."""
    recipe, schedule = experiment.recipe, experiment.recipe.schedule
    if isinstance(schedule, Step):
        schedule = replace(schedule, epochs=2 * schedule.epochs)
    recipe = replace(recipe, epochs=2 * recipe.epochs, schedule=schedule)
    return replace(experiment, name=experiment.name + STRETCHED, recipe=recipe)


def at_twice_the_epochs(line, claim, done, dataset, profile, *, train):
    """Return verdict and note of a line of `compare` beside the same rows `stretched`: `MOVED` if these say otherwise.

    train : whether rows that are not there are trained. An empty dict for rows that are no shallow CNNs, and where not
    as many seeds are there.
    """
    rows, longer = _rows(claim), {}
    if any(row.backbone for row in rows):
        return {}
    for row in rows:
        n_seeds, other = len(done[row.name]), stretched(row)
        for seed in range(n_seeds if train else 0):
            runs.run(other, dataset, profile, seed=seed)
        found = runs.find_all(other, dataset, profile)[:n_seeds]
        if len(found) < n_seeds:
            return {}
        longer[row.name] = np.array([run.val for run in found])
    found = compare(claim, longer, dataset)
    note = f"at twice the epochs {effect(found)}, {found['verdict']}"
    return {"verdict": line["verdict"] if found["verdict"] == line["verdict"] else MOVED, "note": note}


def verdict(low, high, sign):
    """Return what the interval of an effect says of a claim of that sign, in words.

    `supported`: it lies on the claimed side of 0. `refuted`: even its favourable end is below `SMALLEST`: nothing, or
    the opposite. Else, and where the interval is not defined, these data cannot tell.
    """
    if np.isnan(low) or np.isnan(high):
        return OPEN
    low, high = sorted((sign * low, sign * high))
    if low > 0:
        return "supported"
    return "refuted" if high < SMALLEST else OPEN


def obstacle(claim, dataset, profile, sources, *, n_blocks, seeds=None):
    """Return why a claim cannot be tested here, as a dict seeds, verdict, note; None if it can.

    sources : dict timm tag -> where its weights came from. n_blocks : how many blocks of frozen Lite0 were read.
    seeds : as in `register`
    """
    rows = _rows(claim)
    tags = {row.backbone for row in rows if row.pretrained} if rows else {LITE0}
    missing = sorted(tag for tag in tags if sources[tag] == models.RANDOM)
    left_out = [row for row in rows if not (seeds or profile.n_seeds(row) or runs.find_all(row, dataset, profile))]
    remedies = [f"{WEIGHTS}{', '.join(missing)}"] if missing else []
    remedies += [f"run by: {runs.command(row, dataset)}" for row in left_out if profile.name != ONE_SIZE]
    if len(dataset.object_names) < 2 and any(row.label_weight is not None for row in rows):
        why, remedies = "all images have one object label", []
    elif missing:
        why = "random weights for want of pretrained ones"
    elif left_out:
        why = UNLIKE if profile.name == ONE_SIZE else f"not in profile {profile.name!r}"
    elif not rows and n_blocks < len(DEPTHS):
        why = f"{n_blocks} blocks in profile {profile.name!r}"
    else:
        return None
    return {"seeds": "", "verdict": f"undecidable: {why}", "note": "; ".join(remedies)}


def refused(claim, done, dataset):
    """Return why the runs of a claim's rows are not compared, as `obstacle` does; None if they are."""
    if claim.row in DEPTHS:
        return None
    reason = tables.refusal(done, (claim.row, claim.against), dataset)
    return {"seeds": "", "verdict": f"undecidable: {reason}", "note": ""} if reason else None


def blocks_compared(blocks):
    """Return the first and the last block of a network and the middle third's best by cross-validated score.

    blocks : layer_profile.Blocks. Returns dict of `DEPTHS` -> block, {} where there are fewer than three.
    """
    names = list(blocks.score)
    if len(names) < len(DEPTHS):
        return {}
    middle = max(np.array_split(names, 3)[1], key=lambda layer: metrics.known_mean(blocks.score[layer]))
    return dict(zip(DEPTHS, (names[0], str(middle), names[-1]), strict=True))


def qualified(line, claim, done):
    """Return verdict and note of a line of `compare` in the light of how its rows were run, as a dict."""
    names = (claim.row, claim.against)
    single = [name for name in names if len(done[name]) == 1]
    which = "of each row" if len(single) == 2 else f"of {single[0]}" if single else ""
    notes = [line["note"]] if "note" in line else []
    notes += [f"one seed {which}: its spread is unknown"] if single else []
    diverged = [name for name in names if any(run.info["diverged"] for run in done[name])]
    notes += [f"{name} diverged, scored as a constant" for name in diverged]
    decided = OPEN if len(diverged) == 2 else line["verdict"]
    if decided == "supported" and max(abs(line["low"]), abs(line["high"])) < SMALLEST:
        notes.append(f"an effect below {SMALLEST}")
    decided += " (one seed)" if single and decided not in (OPEN, UNTESTED) else ""
    return {"verdict": decided, "note": "; ".join(notes)}


def measured(frame):
    """Which tests of a register, or whether one of its lines, gave a number, or were tried on data that give none."""
    return pd.notna(frame["effect"]) | (frame["verdict"] == OPEN)


def effect(line):
    """Return the effect of a register's line with its interval as text; empty where none was measured."""
    return tables.with_interval(line["effect"], line["low"], line["high"], "+.3f") if measured(line) else ""
