"""What the report shows, as tidy frames: the ladder of approaches, scores by depth, three neurons, tests of claims."""

import numpy as np
import pandas as pd
from scipy.spatial.distance import squareform

from helpers import metrics, models
from helpers.analyses import claims, frozen_networks, layer_profile, tables
from helpers.cache import ROOT
from helpers.experiments import runs
from helpers.experiments.networks_and_recipes import EXPERIMENTS, LITE0
from helpers.plots import KINDS, readable
from helpers.readout import similarity

# Trained rows on the ladder: experiment -> name, approach (its colour). Of shallow CNNs the published study's best.
TRAINED = {
    "shallow-dropout-l2-repaired": ("shallow CNN, dropout and L2", "shallow CNN"),
    "lite0-published": (readable("lite0-published"), "published recipe"),
    "lite0-repaired": (readable("lite0-repaired"), "repaired recipe"),
    "lite0-bi-objective-repaired": ("Lite0, bi-objective", "repaired recipe"),
}
RECIPES = ROOT / "benchmarks" / "recipes.csv"


def ladder(dataset, profile, readouts, done, best, ceiling):
    """Approaches from the lowest bar to the best model: a frame for `plots.ladder`, in order of their score on val.

    Parameters
    ----------
    readouts : dict name -> frozen_networks.Row. done : dict name -> list of Run
    best : the best model's val predictions (n_images, n_neurons)
    ceiling : noise ceiling per neuron, or one number
    """
    single = next(name for name in readouts if name.endswith("best single block"))
    frozen = list(readouts)[-1]
    random = layer_profile.block_readouts(LITE0, dataset, profile, pretrained=False)
    scored = {
        "pixels": ("pixels", [readouts["pixels"].val]),
        "object mean (control)": ("object mean", [frozen_networks.object_mean(dataset).val]),
        "best single layer, Lite0, random weights": ("random weights", [random.val[layer_profile.best_block(random)]]),
        readable(single): ("readout", [readouts[single].val]),
        readable(frozen): ("readout", [readouts[frozen].val]),
        "best model": ("best model", [best]),
    }
    scored |= {words: (kind, [run.val for run in done[n]]) for n, (words, kind) in TRAINED.items() if n in done}
    lines = []
    for model, (approach, seeds) in scored.items():
        found = metrics.interval(dataset.val.responses, np.array(seeds), dataset.val.objects)
        each = [np.nanmean(metrics.explained_variance(dataset.val.responses, predicted)) for predicted in seeds]
        line = {"model": model, "approach": approach} | vars(found)
        lines.append(line | {"seeds": " ".join(f"{score:.4f}" for score in each) if len(each) > 1 else ""})
    frame = pd.DataFrame(lines).sort_values("estimate", ignore_index=True)
    frame = frame.assign(ceiling=float(np.nanmean(ceiling)), data=dataset.path.name, simulated=dataset.is_standin)
    return frame.assign(n_neurons=dataset.n_neurons, n_images=len(dataset.val.images))


def committed_ladders(own):
    """Ladders that lie in figures/, of other data sets than `own`'s, recordings only; then own: dict title -> frame."""
    others = [pd.read_csv(path) for path in sorted((ROOT / "figures").glob("*/ladder.csv"))]
    others = [frame for frame in others if frame["data"].iloc[0] != own["data"].iloc[0] and not frame["simulated"][0]]
    return {title(frame): frame.fillna({"seeds": ""}) for frame in [*others, own]}


def title(ladder):
    """Which data a ladder is of, of what kind, and how many."""
    of = ladder.iloc[0]
    kind = "simulated" if of["simulated"] else "recordings"
    return f"{of['data']}: {kind}\n{of['n_neurons']} neurons, {of['n_images']} val images"


def by_depth(dataset, profile):
    """Explained variance on val by the relative depth of a layer: a frame for `plots.depth`.

    Lite0 block by block, with random weights and by the published study's least squares stage by stage; the other
    networks of the readouts stage by stage.
    """
    pretrained, random, least_squares = KINDS
    blocks = layer_profile.block_readouts(LITE0, dataset, profile)
    untrained = layer_profile.block_readouts(LITE0, dataset, profile, pretrained=False)
    found = [(LITE0, random, untrained.val)]
    found.append((LITE0, least_squares, layer_profile.least_squares(LITE0, dataset, profile)))
    found.append((LITE0, random if blocks.source == models.RANDOM else pretrained, blocks.val))
    for tag in frozen_networks.at_hand(profile)[1:]:
        ends = layer_profile.block_readouts(tag, dataset, profile, layers=layer_profile.stage_ends)
        found.append((tag, pretrained, ends.val))
    frames = []
    for tag, kind, predictions in found:
        val = {layer: predicted[: len(dataset.val.images)] for layer, predicted in predictions.items()}
        frames.append(layer_profile.scores_by_depth(tag, dataset, val, dataset.val.responses))
        frames[-1].insert(1, "kind", kind)
    return pd.concat(frames, ignore_index=True)


def by_recipe(done, dataset):
    """The repaired recipe against the published one, row by row: `tables.differences`."""
    repaired = {name.replace("-repaired", "-published"): name for name in done if EXPERIMENTS[name].repaired}
    pairs = [(EXPERIMENTS[name].row, name, published) for published, name in repaired.items() if published in done]
    return tables.differences(pairs, done, dataset)


def gain_by_training(done, dataset, profile):
    """Lite0 trained by the repaired recipe against where it starts, ridge heads on it frozen: `tables.differences`."""
    start = runs.run_all([EXPERIMENTS["lite0-start"]] if "lite0-repaired" in done else [], dataset, profile, seeds=1)
    return tables.differences([("training", "lite0-repaired", "lite0-start")], done | start, dataset)


def recipe_parts(dataset):
    """What each part of the repaired recipes is worth on a data set, from benchmarks/recipes.csv; empty without lines.

    A frame for `plots.differences`: the variant against the whole recipe, a name per network and variant.
    """
    parts = pd.read_csv(RECIPES).query("data == @dataset.name").dropna(subset="difference")
    short = {"published": "published recipe", "one head that has seen all images": "one head for all images"}
    return parts.assign(comparison=parts["network"].map(readable) + ": " + parts["variant"].replace(short))


def neuron_panels(predicted, dataset, ceiling, fields):
    """`three_neurons` as panels for `plots.neurons`. fields : receptive fields (n_neurons, grid, grid)"""
    panels, measured = {}, dataset.val.responses
    scores = metrics.explained_variance(measured, predicted)
    for words, i in three_neurons(predicted, dataset, ceiling).items():
        bound = tables.number(float(np.broadcast_to(ceiling, scores.shape)[i]), ".2f")
        title = f"neuron {i}\n{words}\n{tables.number(scores[i], '.2f')} of at most {bound}"
        panels[title] = (measured[:, i], predicted[:, i], dataset.val.categories, fields[i])
    return panels


def driving_images(predicted, dataset, ceiling, n=8):
    """The val images that drive the `three_neurons` most: images, ranks and row names for `plots.contact_sheet`."""
    chosen, names = [], []
    for words, i in three_neurons(predicted, dataset, ceiling).items():
        order = np.argsort(-dataset.val.responses[:, i])[:n]
        chosen, names = [*chosen, *order], [*names, *[f"{len(names) // n + 1}. neuron {i}\n{words}"] * len(order)]
    return dataset.val.images[chosen], np.array([f"{rank:03d}" for rank in range(len(chosen))]), np.array(names)


def representations(dataset, profile, best):
    """Dissimilarities of the val images, sorted by category, to the neurons and to models of them.

    Returns the images' categories, the panels of `plots.dissimilarities`, the neurons' first, the others titled with
    their correlation with it (RSA), and the noise ceiling of RSA (lower, upper). best : the best model's predictions
    (n_images, n_neurons)
    """
    order = np.lexsort((dataset.val.objects, dataset.val.categories))
    val = len(dataset.train.images) + order
    blocks = layer_profile.block_readouts(LITE0, dataset, profile)
    kernels, _ = layer_profile.kernels(LITE0, dataset, profile)
    pixels = layer_profile.pixel_kernel(dataset)
    found = {
        "pixels": np.asarray(pixels)[np.ix_(val, val)],
        "best single layer, Lite0": np.asarray(kernels[layer_profile.best_block(blocks)])[np.ix_(val, val)],
        "best model": similarity.centred_gram(best[order]),
    }
    repeats = dataset.val.repeats
    repeats = None if repeats is None else repeats[order]
    references, ceiling = similarity.population(dataset.val.responses[order], repeats)
    alike = similarity.compared(found, references)
    panels = {"neurons": similarity.centred_gram(dataset.val.responses[order])}
    for name, K in found.items():
        words = name.replace(", ", ",\n")
        panels[f"{words}\n{tables.number(alike.loc[name, 'similarity'], '.2f')}"] = K
    matrices = {title: squareform(similarity.rdm(K)) for title, K in panels.items()}
    return dataset.val.categories[order], matrices, ceiling


def three_neurons(predicted, dataset, ceiling):
    """Neurons that are predicted well, middling and badly on val: dict words -> index; by rank among reliable ones.

    predicted : array of shape (n_images, n_neurons)
    """
    scores = metrics.explained_variance(dataset.val.responses, predicted)
    reliable = np.broadcast_to(ceiling, scores.shape) >= metrics.MINIMUM_RELIABILITY
    order = [int(i) for i in np.argsort(scores) if np.isfinite(scores[i]) and reliable[i]] or [0]
    ranks = {"well predicted": 0.95, "middling": 0.5, "badly predicted": 0.05}
    return {words: order[round(rank * (len(order) - 1))] for words, rank in ranks.items()}


def claims_table(frame, dataset):
    """The register as a Styler for a reader: tests with a number, a block per claim, what is decided in bold.

    frame : from `claims.register`, or its file. The caption has data, correction, and what would decide the others.
    """
    left_out = undecided(frame, dataset)
    frame = frame[claims.measured(frame)]
    tested = frame.rename(columns={"test": "tested by"}).fillna({"seeds": "", "note": ""})
    tested["effect [95 %]"] = [claims.effect(line) for line in frame.to_dict("records")]
    tested = tested.set_index(["claim", "tested by"])[["quantity", "effect [95 %]", "seeds", "verdict", "note"]]
    data = tables.SIMULATED if dataset.is_standin else f"Recordings: {dataset.path.name}."
    family = f"Intervals, here and wherever paired differences stand, are corrected for {tables.FAMILY} tests."
    style, decided = tested.style.set_caption(f"{data} {family} {left_out}".strip()), ("supported", "refuted")
    return style.map(lambda text: "font-weight: bold" if text.startswith(decided) else "", subset=["verdict"])


def undecided(frame, dataset):
    """Which tests of a register have no number, why, and the command that gives them one: a sentence, or nothing."""
    missing = frame[~claims.measured(frame)]
    if missing.empty:
        return ""
    reasons = missing["verdict"].str.removeprefix("undecidable: ").value_counts()
    words = "; ".join(f"{n} {reason}" for reason, n in reasons.items())
    listed = (note.partition(claims.WEIGHTS)[2].partition("; ")[0] for note in missing["note"].fillna(""))
    tags = {tag for tags in listed for tag in tags.split(", ") if tag}
    weights = f", with weights of {', '.join(sorted(tags))} in $IT_WEIGHTS" if tags else ""
    command = f"`python -m helpers claims{runs.data_option(dataset)}{runs.profile_option()}`"
    return f"{len(missing)} of {len(frame)} tests have no number here ({words}); {command} tests what can be{weights}."
