"""The register of claims: the published study claim by claim, each with the experiments that test it and a verdict.

To add a test, add a line to `CLAIMS`; its rows are entries of experiments.py. Claims are typed, results are not:
effects, intervals and verdicts are computed from the profile's runs, which are made if they are not there.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers import cache, metrics, models
from helpers.analyses import layer_profile, tables
from helpers.cache import write_whole
from helpers.experiments import runs
from helpers.experiments.rows import EXPERIMENTS, LITE0, published_rows

SMALLEST = 0.01  # of explained variance: an effect below it is nothing that a claim could rest on
OPEN = "undecidable with these data"
COLUMNS = ["claim", "test", "effect", "low", "high", "seeds", "verdict", "note"]
EARLY, MIDDLE, LATE = DEPTHS = ("first block", "middle block", "last block")  # of frozen Lite0
# The published row whose dropout is declared and never called, and the row above it, which it therefore repeats.
INERT, ABOVE = "shallow-dropout-published", "shallow-schedule-statistics-published"


@dataclass(frozen=True)
class Claim:
    """One test of a claim: that `name` scores higher (sign 1) or lower (sign -1) than `against`.

    `name` and `against` are experiments or blocks of frozen Lite0 (`DEPTHS`); `test` says in words what is compared.
    """

    claim: str
    test: str
    name: str
    against: str
    sign: int


def _tests(claim, sign, *tests):
    return [Claim(claim, *test, sign) for test in tests]


_BEST_SHALLOW = "the shallow CNN with dropout and L2 (best of the study)"
_LITE0 = "Lite0 in ResNet50's place"
_RANDOM = "lite0-bi-objective-random"
CLAIMS = [
    *_tests(
        "A learning-rate schedule helps",
        1,
        ("as published: slower decay and more epochs at once", "shallow-schedule", "shallow-published"),
        ("the schedule alone, against a constant rate", "shallow-schedule", "shallow-no-schedule"),
    ),
    *_tests(
        "The images' own channel statistics help",
        1,
        ("apart from the schedule; against inputs normalised twice", "shallow-statistics", "shallow-published"),
        ("with the schedule; against inputs normalised twice", ABOVE, "shallow-schedule"),
        ("the statistics alone, against ImageNet's applied once", "shallow-statistics", "shallow-once"),
    ),
    *_tests(
        "Dropout 0.2 hurts",
        -1,
        ("as published, declared and never called; against none, the same seeds", INERT, ABOVE),
        ("truly applied, against none; published recipe", "shallow-dropout-0.2-applied", ABOVE),
        (
            "0.2 against 0.5, both applied; repaired recipe",
            "shallow-dropout-repaired",
            "shallow-schedule-statistics-repaired",
        ),
    ),
    *_tests(
        "L2 rescues dropout 0.2",
        1,
        ("as published, dropout never called; with L2, against without", "shallow-dropout-l2-published", INERT),
        (
            "applied; with L2, against without; published recipe",
            "shallow-dropout-0.2-l2-applied",
            "shallow-dropout-0.2-applied",
        ),
    ),
    *_tests(
        "Pretrained networks beat the shallow CNN",
        1,
        (f"ResNet50, against {_BEST_SHALLOW}; published recipes", "resnet50-published", "shallow-dropout-l2-published"),
        (f"{_LITE0}, against {_BEST_SHALLOW}; published recipes", "lite0-published", "shallow-dropout-l2-published"),
        (f"{_LITE0}, against {_BEST_SHALLOW}; repaired recipes", "lite0-repaired", "shallow-dropout-l2-repaired"),
        (f"{_LITE0}, against random weights; repaired recipe", "lite0-repaired", "lite0-random-repaired"),
    ),
    *_tests(
        "Newer and bigger networks beat ResNet50",
        1,
        ("EfficientNet-B5, against ResNet50; published recipes", "efficientnet-b5-published", "resnet50-published"),
        ("EfficientNet-B5, against ResNet50; repaired recipes", "efficientnet-b5-repaired", "resnet50-repaired"),
    ),
    *_tests(
        "Vision transformers do badly",
        -1,
        ("ViT-tiny, against ResNet50; published recipes", "vit-tiny-published", "resnet50-published"),
        ("ViT-tiny, against ResNet50; repaired recipes", "vit-tiny-repaired", "resnet50-repaired"),
    ),
    *_tests(
        "Vision transformers do badly because of the recipe",
        1,
        ("ViT-tiny, rate 1e-4 alone, against 1e-3", "vit-tiny-rate-1e-04", "vit-tiny-published"),
        ("ViT-tiny, warm-up and cosine alone, against steps", "vit-tiny-cosine", "vit-tiny-published"),
        ("ViT-tiny, inputs normalised once, against twice", "vit-tiny-once", "vit-tiny-published"),
        ("ViT-tiny, inputs normalised as in its pretraining, against twice", "vit-tiny-own", "vit-tiny-published"),
    ),
    *_tests(
        "Smaller vision transformers do better",
        1,
        ("ViT-tiny, against ViT-base; published recipes", "vit-tiny-published", "vit-base-published"),
        ("ViT-tiny, against ViT-base; repaired recipes", "vit-tiny-repaired", "vit-base-repaired"),
        ("ViT-tiny, against ViT-small; published recipes", "vit-tiny-published", "vit-small-published"),
    ),
    *_tests(
        "Training on object labels hurts",
        -1,
        ("ResNet50, label weight 1, against 0; raw losses", "bi-objective-published", "resnet50-published"),
        (f"{_LITE0}, label weight 1, against 0; raw losses", "lite0-bi-objective-published", "lite0-published"),
        (f"{_LITE0}, label weight 1, against 0; repaired recipe", "lite0-bi-objective-repaired", "lite0-repaired"),
    ),
    *_tests(
        "The more the labels weigh, the more they hurt",
        -1,
        ("ResNet50, label weight 1, against 0.3; raw losses", "bi-objective-published", "bi-objective-0.3-published"),
        (
            f"{_LITE0}, label weight 1, against 0.3; raw losses",
            "lite0-bi-objective-published",
            "lite0-bi-objective-0.3-published",
        ),
        (
            f"{_LITE0}, label weight 1, against 0.3; repaired recipe",
            "lite0-bi-objective-repaired",
            "lite0-bi-objective-0.3-repaired",
        ),
    ),
    *_tests(
        "Two objectives without pretraining are worst",
        -1,
        (
            "ResNet50, random weights, against pretrained; raw losses",
            "bi-objective-random-published",
            "bi-objective-published",
        ),
        (
            f"{_LITE0}, random weights, against pretrained; raw losses",
            f"{_RANDOM}-published",
            "lite0-bi-objective-published",
        ),
        (
            f"{_LITE0}, random weights, against pretrained; repaired recipe",
            f"{_RANDOM}-repaired",
            "lite0-bi-objective-repaired",
        ),
    ),
    *_tests(
        "Early and late layers predict worse than middle ones",
        -1,
        ("ridge on frozen Lite0: its first block, against the middle third's best", EARLY, MIDDLE),
        ("ridge on frozen Lite0: its last block, against the middle third's best", LATE, MIDDLE),
    ),
]


def register(dataset, profile, *, seeds=None):
    """Test every claim that this profile and these weights can test, and say of the others what they lack.

    Parameters
    ----------
    dataset : Dataset, as `profile.prepare` returned it
    profile : Profile
    seeds : how many seeds every row gets; None for the profile's own numbers. From five on, the published row whose
        dropout is never called gets twice as many, to show how far seeds alone lie apart.

    Returns
    -------
    pandas.DataFrame
        A line per test: claim, test, effect (difference in explained variance on val), low, high (95 % interval over
        images within objects and seeds, corrected for the number of effects), seeds of both rows, verdict, note.
    """
    blocks = layer_profile.block_readouts(LITE0, dataset, profile)
    pretrained = {experiment.backbone for experiment in EXPERIMENTS.values() if experiment.pretrained}
    sources = {tag: models.find_weights(tag)[1] for tag in pretrained} | {LITE0: blocks.source}
    obstacles = [obstacle(claim, dataset, profile, sources, n_blocks=len(blocks.score)) for claim in CLAIMS]
    tested = [claim for claim, found in zip(CLAIMS, obstacles, strict=True) if found is None]

    names = dict.fromkeys(name for claim in tested for name in (claim.name, claim.against) if name not in DEPTHS)
    done = runs.run_all([EXPERIMENTS[name] for name in names], dataset, profile, seeds=seeds)
    predictions = {name: np.array([run.val for run in found]) for name, found in done.items()}
    best = blocks_compared(blocks)
    predictions |= {depth: blocks.val[layer][None] for depth, layer in best.items()}

    effects = iter(compare(tested, predictions, dataset))
    lines = []
    for claim, found in zip(CLAIMS, obstacles, strict=True):
        line = {"claim": claim.claim, "test": claim.test} | (next(effects) if found is None else found)
        if found is None and claim.name in DEPTHS:  # nothing is drawn: no seeds
            line |= {"seeds": "", "note": f"{best[claim.name]} and {best[claim.against]}, the latter chosen by folds"}
        elif found is None:
            line |= qualified(line, claim, done)
        if claim.name == INERT:
            spread = spread_of_seeds(dataset, profile, len(done[INERT]))
            line["note"] = "; ".join(filter(None, [line["note"], spread]))
        lines.append(line)
    return pd.DataFrame(lines, columns=COLUMNS)


def compare(claims, predictions, dataset):
    """Effect, interval and verdict of each claim: a list of dict effect, low, high, seeds, verdict.

    claims : list of Claim. predictions : dict name -> array of shape (n_seeds, n_images, n_neurons), of the val images.
    Intervals are paired and corrected for the number of claims (Bonferroni); see metrics.paired_interval.
    """
    found = tables.paired([(claim.test, claim.name, claim.against) for claim in claims], predictions, dataset)
    lines = found.rename(columns={"difference": "effect"})[["effect", "low", "high", "seeds"]].to_dict("records")
    return [
        line | {"verdict": verdict(line["low"], line["high"], claim.sign)}
        for claim, line in zip(claims, lines, strict=True)
    ]


def verdict(low, high, sign):
    """What the interval of an effect says of a claim of that sign.

    `supported`: it lies on the claimed side of 0. `refuted`: even its favourable end is below `SMALLEST`, so that the
    effect is nothing or the opposite. Else these data cannot tell.
    """
    low, high = sorted((sign * low, sign * high))
    if low > 0:
        return "supported"
    return "refuted" if high < SMALLEST else OPEN


def obstacle(claim, dataset, profile, sources, *, n_blocks):
    """Why a claim cannot be tested here, as a dict verdict, note; None if it can.

    sources : dict timm tag -> where its weights came from. n_blocks : how many blocks of frozen Lite0 were read.
    """
    rows = [EXPERIMENTS[name] for name in (claim.name, claim.against) if name not in DEPTHS]
    tags = {row.backbone for row in rows if row.pretrained} if rows else {LITE0}
    missing = sorted(tag for tag in tags if sources[tag] == models.RANDOM)
    left_out = [row for row in rows if not profile.n_seeds(row)]
    remedies = [f"put weights in $IT_WEIGHTS: {', '.join(missing)}"] if missing else []
    remedies += [f"run by: {runs.command(row, dataset)}" for row in left_out]
    if len(dataset.object_names) < 2 and any(row.label_weight is not None for row in rows):
        why, remedies = "all images have one object label", []
    elif missing:
        why = "random weights for want of pretrained ones"
    elif left_out:
        why = f"not in profile {profile.name!r}"
    elif not rows and n_blocks < len(DEPTHS):
        why = f"{n_blocks} blocks in profile {profile.name!r}"
    else:
        return None
    return {"seeds": "", "verdict": f"undecidable: {why}", "note": "; ".join(remedies)}


def blocks_compared(blocks):
    """The first and the last block of a network and the middle third's best by cross-validated score.

    blocks : layer_profile.Blocks. Returns dict of `DEPTHS` -> block, {} where there are fewer than three.
    """
    names = list(blocks.score)
    if len(names) < len(DEPTHS):
        return {}
    middle = max(np.array_split(names, 3)[1], key=lambda layer: blocks.score[layer].mean())
    return dict(zip(DEPTHS, (names[0], str(middle), names[-1]), strict=True))


def qualified(line, claim, done):
    """Verdict and note of a line of `compare` in the light of how its rows were run, as a dict.

    Between different networks, one that the profile cut no less than the one it loses to has lost nothing yet.
    """
    names = (claim.name, claim.against)
    rows, found = [EXPERIMENTS[name] for name in names], [done[name] for name in names]
    infos = [seeds[0].info for seeds in found]
    single = [name for name, seeds in zip(names, found, strict=True) if len(seeds) == 1]
    which = "of each row" if len(single) == 2 else f"of {single[0]}" if single else ""
    notes = [f"one seed {which}: its spread is unknown"] if single else []
    if any(info["epochs"] < row.recipe.epochs for info, row in zip(infos, rows, strict=True)):
        epochs = (f"{info['epochs']} of {row.recipe.epochs}" for info, row in zip(infos, rows, strict=True))
        notes.append(f"epochs cut: {', '.join(epochs)}")
    notes += [
        f"{name} diverged, scored as a constant"
        for name, seeds in zip(names, found, strict=True)
        if any(run.info["diverged"] for run in seeds)
    ]
    decided = line["verdict"]
    if decided == "supported" and max(abs(line["low"]), abs(line["high"])) < SMALLEST:
        notes.append(f"an effect below {SMALLEST}")
    # images shown in training, as a share of what the recipe would show
    shown = [info["epochs"] * info["n_train"] / row.recipe.epochs for info, row in zip(infos, rows, strict=True)]
    loser = 0 if line["effect"] < 0 else 1
    between_networks = rows[0].family != rows[1].family
    cut = infos[loser]["epochs"] < rows[loser].recipe.epochs
    if decided != OPEN and between_networks and cut and shown[loser] <= shown[1 - loser]:
        decided = f"undecidable: {names[loser]} scores lower, but was cut no less"
    elif decided != OPEN and single:
        decided += " (one seed)"
    return {"verdict": decided, "note": "; ".join(notes)}


def spread_of_seeds(dataset, profile, n_seeds):
    """How far seeds of one network lie apart, in words: the published row whose dropout is never called.

    n_seeds : the register's; from five on, twice as many are compared.
    """
    n_seeds = 2 * n_seeds if n_seeds >= 5 else n_seeds
    if n_seeds == 1:
        return "how far seeds lie apart takes more than one"
    found = runs.run_all([EXPERIMENTS[INERT]], dataset, profile, seeds=n_seeds)[INERT]
    scores = np.array([np.nanmean(metrics.explained_variance(dataset.val.responses, run.val)) for run in found])
    words = (
        f"two of {n_seeds} seeds of this one network differ by {scores.std(ddof=1) * np.sqrt(2):.3f} (sd), "
        f"at most {np.ptp(scores):.3f}"
    )
    if not dataset.is_standin:
        published = published_rows()
        first, second = (published[EXPERIMENTS[name].row]["explained_variance"] for name in (ABOVE, INERT))
        words += f"; the published reports of the two rows differ by {abs(first - second):.3f}"
    return words


def write(dataset, profile, *, seeds):
    """Make the register with so many seeds a row and write it, stamped, where figures go: the frame and its path.

    Raises ValueError if there is not one seed at least.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be 1 or more, found {seeds}")
    frame = register(dataset, profile, seeds=seeds)
    command = f"python -m helpers claims --seeds {seeds} --profile {profile.name}"
    frame["made"] = f"{command}; {dataset.path.name}; {cache.stamp()}"
    path = cache.output_folder(dataset) / f"claims_{'five' if seeds == 5 else seeds}_seeds.csv"
    write_whole(path, lambda beside: frame.to_csv(beside, index=False))
    return frame, path


def effect(line):
    """The effect of a register's line with its interval, in figures; empty where there is none."""
    if np.isnan(line["effect"]):
        return ""
    return f"{line['effect']:+.3f} [{line['low']:+.3f}, {line['high']:+.3f}]"


def shown(frame, dataset):
    """The register for a reader, as a Styler: a block per claim, what is decided in bold, the data in the caption.

    frame : from `register`, or read from a file that `write` wrote
    """
    table = pd.DataFrame(
        {
            "claim": frame["claim"],
            "tested by": frame["test"],
            "effect [95 %]": [effect(line) for line in frame.to_dict("records")],
            "seeds": frame["seeds"].fillna(""),
            "verdict": frame["verdict"],
            "note": frame["note"].fillna(""),
        }
    ).set_index(["claim", "tested by"])
    caption = tables.SIMULATED if dataset.is_standin else f"Recordings: {dataset.path.name}"
    bold = "font-weight: bold"
    return table.style.set_caption(caption).map(lambda text: "" if "undecidable" in text else bold, subset=["verdict"])
