"""Figures: each function takes data and an axis (a new one if None) and returns the axis; notebooks save them.

Colours mean the same approach everywhere, and are told apart by readers with any colour vision (Okabe & Ito 2008).
"""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

COLOURS = {
    "pixels": "#999999",
    "random weights": "#56B4E9",
    "shallow CNN": "#E69F00",
    "published recipe": "#D55E00",
    "repaired recipe": "#0072B2",
    "two objectives": "#CC79A7",
    "readout": "#009E73",
    "object mean": "#444444",
    "ceiling": "#000000",
}
EXPLAINED_VARIANCE = "explained variance (share of variance)"
HELD_OUT = f"held-out training images:\n{EXPLAINED_VARIANCE}"


def ceiling_line(ceiling, ax, *, vertical=False):
    """Dashed line at the mean noise ceiling (a number, or one per neuron), dotted line at 0, what a constant scores."""
    line = ax.axvline if vertical else ax.axhline
    line(float(np.nanmean(ceiling)), color=COLOURS["ceiling"], linestyle="--", linewidth=1, label="noise ceiling")
    line(0, color=COLOURS["ceiling"], linestyle=":", linewidth=1)
    return ax


def new_axis(ax, *, size=(6, 4)):
    return ax if ax is not None else plt.subplots(figsize=size, layout="constrained")[1]


def contact_sheet(images, objects, categories, *, n_columns=12, n_rows=8, side=64, ax=None):
    """Images in rows of one category each, the objects of a category in turn.

    images : array of shape (n_images, 1 or 3, height, width), uint8 or float in [0, 1]. objects, categories :
    (n_images,). At most `n_rows` categories, the largest; images are thinned to about `side` pixels.
    """
    names, counts = np.unique(categories, return_counts=True)
    names = sorted(names[np.argsort(-counts, kind="stable")][:n_rows])
    step = max(1, round(max(images.shape[2:]) / side))
    pixels = np.moveaxis(images[:, :, ::step, ::step], 1, -1) / (255 if images.dtype == np.uint8 else 1)
    pixels = np.round(pixels * 31) / 31  # as many grays as print shows; the notebook's file stays small
    height, width = pixels.shape[1:3]
    n_columns = min(n_columns, counts.max())
    sheet = np.ones((len(names) * (height + 2), n_columns * (width + 2), pixels.shape[3]))
    for row, name in enumerate(names):
        members = np.flatnonzero(categories == name)
        turn = [np.sum(objects[members[:i]] == objects[members[i]]) for i in range(len(members))]
        members = members[np.lexsort((objects[members], turn))][:n_columns]
        for column, image in enumerate(members):
            top, left = row * (height + 2), column * (width + 2)
            sheet[top : top + height, left : left + width] = pixels[image]
    inches = 0.75 * n_columns  # of the rows, beside their names
    ax = new_axis(ax, size=(inches + 1.5, 0.5 + inches * len(sheet) / sheet.shape[1]))
    ax.imshow(sheet.repeat(3, axis=2) if sheet.shape[2] == 1 else sheet, interpolation="nearest")
    ax.set_yticks((np.arange(len(names)) + 0.5) * (height + 2), names)
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def distribution(values, *, xlabel, what, colour="#777777", ax=None):
    """Histogram with the median marked. values : array of any shape, NaN left out; what : what is counted."""
    ax = new_axis(ax, size=(4, 3))
    values = np.asarray(values)[np.isfinite(values)]
    ax.hist(values, bins=int(np.clip(values.size**0.5, 8, 40)), color=colour)
    ax.axvline(np.median(values), color="black", linewidth=1.5, label=f"median {np.median(values):.2f}")
    ax.set(xlabel=xlabel, ylabel=f"number of {what}")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1, 1))
    return ax


def layer_violins(trained, random, *, ceiling, ax=None):
    """Explained variance by layer: halves of a violin over neurons, trained left and random right; a dot for the mean.

    trained, random : dict layer -> array of shape (n_neurons,), the same layers.
    """
    ax = new_axis(ax, size=(9, 4.5))
    halves = (("trained weights", trained, "readout", "low"), ("random weights", random, "random weights", "high"))
    for label, scores, colour, side in halves:
        values = [scores[layer][np.isfinite(scores[layer])] for layer in trained]
        at = np.arange(len(values)) + (-0.03 if side == "low" else 0.03)
        spread = [i for i, neurons in enumerate(values) if np.ptp(neurons) > 0]  # a violin of equal values has no shape
        if spread:
            shape = [values[i] for i in spread]
            for body in ax.violinplot(shape, at[spread], side=side, widths=0.85, showextrema=False)["bodies"]:
                body.set(facecolor=COLOURS[colour], alpha=0.6)
        means = [neurons.mean() for neurons in values]
        ax.plot(at, means, "o-", color=COLOURS[colour], markeredgecolor="black", label=f"{label}: mean over neurons")
    ceiling_line(ceiling, ax)
    narrow = ax.figure.get_figwidth() < 6
    ax.set_xticks(range(len(trained)), list(trained), **({"rotation": 60, "ha": "right"} if narrow else {}))
    ax.set(xlabel="layer", ylabel=EXPLAINED_VARIANCE)
    ax.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=1 if narrow else 3)
    return ax


def layer_lines(lines, *, ylabel, ceiling=None, ax=None):
    """A value by layer, a line per label. lines : dict label -> (colour, style, dict layer -> value); the first names
    the layers in order, the others may have some of them."""
    ax = new_axis(ax, size=(7, 4))
    layers = list(next(iter(lines.values()))[2])
    for label, (colour, style, values) in lines.items():
        ax.plot([layers.index(layer) for layer in values], list(values.values()), style, color=colour, label=label)
    if ceiling is None:
        ax.axhline(0, color=COLOURS["ceiling"], linestyle=":", linewidth=1)
    else:
        ceiling_line(ceiling, ax)
    ax.set_xticks(range(len(layers)), layers, rotation=60, ha="right", fontsize=8)
    ax.set(xlabel="layer", ylabel=ylabel)
    ax.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return ax


def readout_colour(name):
    """The colour of a readout row, by its name."""
    kinds = {"mean of": "readout", "fine-tuned": "repaired recipe", "pixels": "pixels"}
    kinds |= {"(random weights)": "random weights", "object mean": "object mean"}
    return COLOURS[next((colour for kind, colour in kinds.items() if kind in name), "readout")]


def interval_rows(estimates, *, xlabel=EXPLAINED_VARIANCE, ceiling=None, ax=None):
    """A mean and its interval per row, the first on top. estimates : dict name -> metrics.Interval."""
    ax = new_axis(ax, size=(7, 1 + 0.4 * len(estimates)))
    for y, (name, found) in enumerate(reversed(estimates.items())):
        ax.plot([found.low, found.high], [y, y], color=readout_colour(name), linewidth=2)
        ax.plot(found.estimate, y, "o", color=readout_colour(name), markersize=8)
    ax.set_yticks(range(len(estimates)), [textwrap.fill(name, 34) for name in reversed(estimates)])
    ax.set(xlabel=xlabel, ylim=(-0.6, len(estimates) - 0.4))
    if ceiling is None:
        ax.axvline(0, color=COLOURS["ceiling"], linestyle=":", linewidth=1)
    else:
        distant_ceiling(ceiling, ax, max(found.high for found in estimates.values()))
        if ax.get_legend_handles_labels()[0]:
            ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), fontsize=8, frameon=False)
    return ax


def seen_and_unseen(seen, unseen, *, xlabel, ax=None):
    """A score for objects that training had (filled) and had not (hollow), a row per readout.

    seen, unseen : dict name -> number, the same names.
    """
    ax = new_axis(ax, size=(6, 1.2 + 0.4 * len(seen)))
    for y, name in enumerate(reversed(seen)):
        colour = readout_colour(name)
        ax.plot([unseen[name], seen[name]], [y, y], color=colour, linewidth=1)
        ax.plot(seen[name], y, "o", color=colour, markersize=8)
        ax.plot(unseen[name], y, "o", color=colour, markerfacecolor="white", markersize=8)
    ax.plot([], [], "o", color="#444444", label="objects seen in training")
    ax.plot([], [], "o", color="#444444", markerfacecolor="white", label="held-out objects")
    ax.axvline(0, color=COLOURS["ceiling"], linestyle=":", linewidth=1)
    ax.set_yticks(range(len(seen)), [textwrap.fill(name, 34) for name in reversed(seen)])
    ax.set(xlabel=xlabel, ylim=(-0.6, len(seen) - 0.4))
    ax.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return ax


def caption(figure, text):
    """A line of small print under a figure: n, what dots and bars are and, on the stand-in, that it is simulated."""
    lines = textwrap.fill(text, int(figure.get_figwidth() * 13))
    figure.text(0.5, -0.01, lines, ha="center", va="top", fontsize=8.5, color="#444444")
    return figure


def recipe_colour(recipe):
    return COLOURS[f"{recipe} recipe"]


def shades(colour, n):
    """n colours and line styles that stay one approach's: darker and lighter, solid and broken."""
    rgb = np.array(to_rgb(colour))
    tints = [rgb, 0.5 * rgb, 0.5 + 0.5 * rgb]
    return [(tuple(tints[i // 4 % 3]), ("-", "--", "-.", ":")[i % 4]) for i in range(n)]


def row_positions(table):
    """Height of each row of a results table in the figures that list them, the first on top: dict row -> y."""
    rows = table["row"].drop_duplicates().tolist()
    return {row: len(rows) - 1 - i for i, row in enumerate(rows)}


def strip(table, scores, *, ceiling, ax=None):
    """Rows by recipe: a dot per seed, the mean, and its interval; hollow where the weights were random.

    table : results table of `tables.results_table`. scores : frame of `tables.neuron_scores`. ceiling : noise ceiling.
    """
    position = row_positions(table)
    ax = new_axis(ax, size=(8, 1 + 0.55 * len(position)))
    by_seed = scores.groupby(["name", "seed"])["explained_variance"].mean()
    both = table.groupby("row")["recipe"].nunique()
    for line in table.to_dict("records"):
        y, colour = position[line["row"]], recipe_colour(line["recipe"])
        y += {"published": 0.16, "repaired": -0.16}[line["recipe"]] if both[line["row"]] > 1 else 0
        if not np.isfinite(line.get("explained_variance", np.nan)):
            note = f"{line['recipe']} recipe not run in this profile"
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            where = ax.get_yaxis_transform()
            ax.text(0.01, y, note, va="center", fontsize=8, color="#777777", transform=where, bbox=box)
            continue
        seeds = by_seed[line["name"]].to_numpy()
        if len(seeds) > 1:
            ax.plot(seeds, np.full(len(seeds), y - 0.1), ".", color=colour, alpha=0.6, markersize=6)
        ax.plot([line["low"], line["high"]], [y, y], color=colour, linewidth=2)
        face = "white" if line["weights"] == "random" and line["stage"] > 1 else colour
        ax.plot(line["explained_variance"], y, "o", color=colour, markerfacecolor=face, markersize=8)
    ax.set_yticks(list(position.values()), [textwrap.fill(row, 32) for row in position])
    ax.set(xlabel=EXPLAINED_VARIANCE, ylim=(-0.6, len(position) - 0.4))
    for recipe in table["recipe"].drop_duplicates():
        ax.plot([], [], "o-", color=recipe_colour(recipe), linewidth=2, label=f"{recipe} recipe")
    if ((table["stage"] > 1) & (table.get("weights") == "random")).any():
        ax.plot([], [], "o", color="#444444", markerfacecolor="white", label="random weights (stages 2, 3)")
    distant_ceiling(ceiling, ax, table["high"].max())
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, fontsize=8, frameon=False)
    return ax


def distant_ceiling(ceiling, ax, highest):
    """The ceiling as a vertical line or, where that would squeeze the scores into half of the axis, as a note."""
    ceiling = float(np.nanmean(ceiling))
    if ceiling < 2 * highest:
        return ceiling_line(ceiling, ax, vertical=True)
    ax.axvline(0, color=COLOURS["ceiling"], linestyle=":", linewidth=1)
    note = f"noise ceiling {ceiling:.2f}, off to the right \N{RIGHTWARDS ARROW}"
    ax.text(0.99, 0.01, note, transform=ax.transAxes, ha="right", va="bottom", fontsize=8)
    return ax


def published_numbers(table, *, ax=None):
    """The published explained variance of a results table's rows, at the heights of `strip`: a panel of its own."""
    position = row_positions(table)
    ax = new_axis(ax, size=(4, 1 + 0.55 * len(position)))
    rows = table.drop_duplicates("row")
    for column, marker, label in (
        ("published_explained_variance", "D", "first report"),
        ("published_rerun_explained_variance", "s", "rerun"),
    ):
        heights = [position[row] for row in rows["row"]]
        ax.plot(rows[column].astype(float), heights, marker, color="#444444", markerfacecolor="none", label=label)
    ax.axvline(0, color=COLOURS["ceiling"], linestyle=":", linewidth=1)
    ax.set_yticks(list(position.values()), [""] * len(position))
    ax.set(xlabel="published explained variance\n(IT recordings)", ylim=(-0.6, len(position) - 0.4))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, fontsize=8, frameon=False)
    return ax


def curves(histories, quantity, *, colour, ylabel, ax=None):
    """A quantity of `training.fit`'s history per epoch: a line per label, the mean of its seeds; the seeds thin.

    histories : dict label -> list of histories, one a seed.
    """
    ax = new_axis(ax)
    for (label, seeds), (shade, style) in zip(histories.items(), shades(colour, len(histories)), strict=True):
        values = np.array([[epoch[quantity] for epoch in history] for history in seeds])  # (n_seeds, n_epochs)
        epochs = np.arange(1, values.shape[1] + 1)
        marker = "o" if len(epochs) == 1 else None
        if len(values) > 1:
            ax.plot(epochs, values.T, color=shade, linewidth=0.5, alpha=0.5)
        ax.plot(epochs, values.mean(0), color=shade, linestyle=style, marker=marker, linewidth=2, label=label)
    ax.set(xlabel="epoch", ylabel=ylabel)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(fontsize=8, frameon=False, handlelength=3.5)  # long enough to tell styles apart
    return ax


def differences(compared, *, ax=None):
    """Paired differences with their intervals; one that reaches 0 is drawn hollow. compared : `tables.differences`."""
    ax = new_axis(ax, size=(7, 0.9 + 0.4 * len(compared)))
    heights = np.arange(len(compared))[::-1]
    for y, line in zip(heights, compared.itertuples(), strict=True):
        face = "white" if line.low <= 0 <= line.high else "black"
        ax.plot([line.low, line.high], [y, y], color="black", linewidth=1.5)
        ax.plot(line.difference, y, "o", color="black", markerfacecolor=face, markersize=7)
    ax.axvline(0, color=COLOURS["ceiling"], linestyle=":", linewidth=1)
    ax.set_yticks(heights, [textwrap.fill(label, 46) for label in compared["comparison"]])
    ax.set(xlabel="difference in explained variance (share of variance)", ylim=(-0.6, len(compared) - 0.4))
    return ax


def search_history(trials, *, ax=None):
    """Each trial's score on held-out training images, and the best so far. trials : `study.trials_dataframe()`."""
    ax = new_axis(ax)
    complete = trials[trials["state"] == "COMPLETE"]
    pruned = trials[trials["state"] == "PRUNED"]
    colour = COLOURS["shallow CNN"]
    ax.plot(complete["number"] + 1, complete["value"], "o", color=colour, label="trial")
    if len(pruned):
        label = "pruned, at its last epoch"
        ax.plot(pruned["number"] + 1, pruned["value"], "o", color=colour, markerfacecolor="white", label=label)
    ax.step(complete["number"] + 1, complete["value"].cummax(), where="post", color="black", label="best so far")
    ax.set(xlabel="trial", ylabel=HELD_OUT)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(fontsize=8, frameon=False)
    return ax


def importances(shares, *, ax=None):
    """Share of the trials' variance of score that each setting accounts for. shares : dict setting -> share."""
    ax = new_axis(ax)
    names = list(shares)[::-1]
    ax.barh([name.replace("_", " ") for name in names], [shares[name] for name in names], color=COLOURS["shallow CNN"])
    ax.set(xlabel="share of the variance between trials (fANOVA)", xlim=(0, 1))
    return ax


def neuron_scatter(x, y, *, xlabel, ylabel, ceiling, colour, ax=None):
    """Two models neuron by neuron: explained variance of one against the other, with the identity line.

    x, y : arrays of shape (n_neurons,).
    """
    ax = new_axis(ax, size=(5, 5))
    ends = [
        min(np.nanmin(x), np.nanmin(y), 0) - 0.03,
        max(np.nanmax(x), np.nanmax(y), float(np.nanmean(ceiling))) + 0.03,
    ]
    ax.plot(ends, ends, color="#777777", linewidth=1, label="equal")
    ax.plot(x, y, "o", color=colour, alpha=0.6, markersize=5, markeredgewidth=0)
    ceiling_line(ceiling, ax)
    ax.axvline(float(np.nanmean(ceiling)), color=COLOURS["ceiling"], linestyle="--", linewidth=1)
    ax.axvline(0, color=COLOURS["ceiling"], linestyle=":", linewidth=1)
    ax.set(xlabel=f"{xlabel}\n{EXPLAINED_VARIANCE}", ylabel=f"{ylabel}\n{EXPLAINED_VARIANCE}", xlim=ends, ylim=ends)
    ax.set_aspect("equal")
    ax.legend(fontsize=8, frameon=False, loc="lower right")
    return ax


def learning_curve(frame, *, ceiling, ax=None):
    """Explained variance by the number of training images: a line per approach, named at its end, with its intervals.

    frame : `learning_curve.learning_curve`'s. ceiling : noise ceiling, a number or one per neuron.
    """
    ax = new_axis(ax, size=(7.5, 4.5))
    approaches = frame["approach"].drop_duplicates().tolist()
    ends = {}
    for i, approach in enumerate(approaches):
        lines = frame[frame["approach"] == approach].sort_values("n_train")
        kinds = {"shallow": "shallow CNN", "mean of": "readout", "fine-tuned": "repaired recipe", "readout": "readout"}
        colour = COLOURS[next(kinds[kind] for kind in kinds if kind in approach)]
        if "mean of" in approach:
            colour = shades(colour, 5)[4][0]  # darker than the readout's
        x = lines["n_train"] * 1.015 ** (i - (len(approaches) - 1) / 2)  # bars beside each other
        y, style = lines["explained_variance"], "--" if "mean of" in approach else "-"
        reach = [y - lines["low"], lines["high"] - y]
        ax.errorbar(x, y, reach, fmt="o", linestyle=style, color=colour, linewidth=2, elinewidth=1.2, markersize=5)
        ends[approach] = (x.iloc[-1], y.iloc[-1], colour)
    ceiling_line(ceiling, ax)
    ax.text(
        0.01, float(np.nanmean(ceiling)), "noise ceiling", transform=ax.get_yaxis_transform(), va="bottom", fontsize=8
    )
    step, height = 0.055 * np.diff(ax.get_ylim())[0], -np.inf
    for approach in sorted(ends, key=lambda name: ends[name][1]):
        x, y, colour = ends[approach]
        height = max(y, height + step)  # names that would overlap move up, on a line to their point
        name = textwrap.fill(approach, 32)
        where = {"xytext": (1.05, height), "textcoords": ax.get_yaxis_transform(), "va": "center", "fontsize": 8.5}
        line = {"arrowstyle": "-", "color": colour, "linewidth": 0.8, "relpos": (0, 0.5), "shrinkB": 4}
        ax.annotate(name, (x, y), color=colour, arrowprops=line, annotation_clip=False, **where)
        height += step * name.count("\n") / 2
    numbers = sorted(frame["n_train"].unique())
    ax.set(xscale="log", xlabel="training images", ylabel=EXPLAINED_VARIANCE)
    ax.set_xticks(numbers, numbers)
    ax.minorticks_off()
    return ax


def rate_sweep(sweep, *, published_rate, ax=None):
    """Score on held-out training images by learning rate. sweep : columns backbone, rate, explained_variance."""
    ax = new_axis(ax)
    styles = shades(COLOURS["published recipe"], sweep["backbone"].nunique())
    for (backbone, lines), (shade, style) in zip(sweep.groupby("backbone", sort=False), styles, strict=True):
        lines = lines.sort_values("rate")
        ax.plot(lines["rate"], lines["explained_variance"], "o", linestyle=style, color=shade, label=backbone)
    ax.axvline(published_rate, color="#777777", linewidth=1, label="published rate")
    ax.axhline(0, color=COLOURS["ceiling"], linestyle=":", linewidth=1)
    ax.set(xscale="log", xlabel="learning rate", ylabel=HELD_OUT)
    ax.legend(fontsize=8, frameon=False)
    return ax


def front(table, *, chance, ceiling, ax=None):
    """Explained variance with its interval against object accuracy, a point per label weight, one backbone.

    Rows without an object head (weight 0) are horizontal lines; random weights are hollow. table : results table with
    a column label_weight. chance : share named correctly by guessing.
    """
    ax = new_axis(ax, size=(6, 5))
    for line in table.dropna(subset="explained_variance").to_dict("records"):
        colour, random = recipe_colour(line["recipe"]), line["weights"] == "random"
        if line["label_weight"] == 0:
            ax.axhline(line["explained_variance"], color=colour, linewidth=1, linestyle=":" if random else "-")
            continue
        x, y = line["object_accuracy"], line["explained_variance"]
        ax.plot([x, x], [line["low"], line["high"]], color=colour, linewidth=1.5)
        ax.plot(x, y, "o", color=colour, markerfacecolor="white" if random else colour, markersize=9)
        ax.annotate(
            f"{line['label_weight']:g}",
            (x, y),
            xytext=(7, 4 if line["label_weight"] < 1 else -13),
            textcoords="offset points",
            fontsize=9,
        )
    ax.axvline(chance, color="#777777", linestyle="--", linewidth=1, label=f"chance: {chance:.3f}")
    for recipe in table["recipe"].drop_duplicates():
        ax.plot([], [], "o", color=recipe_colour(recipe), label=f"{recipe} recipe; the number is the label weight")
    ax.plot([], [], "o", color="#444444", markerfacecolor="white", label="from random weights")
    ax.plot([], [], color="#444444", linewidth=1, label="label weight 0 (no object head)")
    ax.axhline(float(np.nanmean(ceiling)), color=COLOURS["ceiling"], linestyle="--", linewidth=1, label="noise ceiling")
    ax.axhline(0, color=COLOURS["ceiling"], linestyle=":", linewidth=1)
    ax.set(xlabel="object accuracy (share of val images)", ylabel=EXPLAINED_VARIANCE, xlim=(-0.03, 1.03))
    return ax


def cost_front(table, cost, *, xlabel, ceiling, ax=None):
    """Explained variance with its interval against a cost; the front joins rows that are worth their cost.

    A row joins if its whole interval lies above 0 and above the last that joined; the best of those with costs within
    10 % of each other. table : columns label, approach (a key of `COLOURS`), weights, explained_variance, low, high and
    `cost`. cost : name of a column of positive numbers, drawn on a logarithmic axis.
    """
    ax = new_axis(ax, size=(7, 5))
    for line in table.to_dict("records"):
        colour, x, y = COLOURS[line["approach"]], line[cost], line["explained_variance"]
        ax.plot([x, x], [line["low"], line["high"]], color=colour, linewidth=1.2)
        ax.plot(x, y, "o", color=colour, markerfacecolor="white" if line["weights"] == "random" else colour)
    table = table.assign(equal=np.round(np.log(table[cost]) / np.log(1.1)))
    table = table.sort_values(["equal", "explained_variance"], ascending=[True, False])
    front, highest = [], 0
    for line in table.to_dict("records"):
        if line["low"] > highest:
            front, highest = [*front, line], line["explained_variance"]
    joined = ([line[cost] for line in front], [line["explained_variance"] for line in front])
    ax.plot(*joined, color="#444444", linewidth=1, zorder=0)
    for i, line in enumerate(front, 1):
        at = {"xytext": (-5, 4), "textcoords": "offset points", "ha": "right", "fontsize": 9}
        ax.annotate(str(i), (line[cost], line["explained_variance"]), **at)
    for approach in table["approach"].drop_duplicates():
        ax.plot([], [], "o", color=COLOURS[approach], label=approach)
    ceiling_line(ceiling, ax)
    names = "\n".join(f"{i}: {line['label']}, {line['approach']}" for i, line in enumerate(front, 1))
    ax.set(xscale="log", ylabel=EXPLAINED_VARIANCE)
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(f"{xlabel}\n\nfront\n{names}")
    ax.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4)
    return ax


def object_parts(parts, part, *, ax=None):
    """One part of explained variance, 'between' or 'within' objects, by label weight and recipe.

    parts : frame with columns recipe, label_weight, between, within (means over neurons and seeds).
    """
    ax = new_axis(ax, size=(4, 4))
    weights = sorted(parts["label_weight"].unique())
    for recipe, lines in parts.sort_values("label_weight").groupby("recipe"):
        x = [weights.index(weight) for weight in lines["label_weight"]]
        ax.plot(x, lines[part], "o-", color=recipe_colour(recipe), label=f"{recipe} recipe")
    ax.axhline(0, color=COLOURS["ceiling"], linestyle=":", linewidth=1)
    ax.set_xticks(range(len(weights)), [f"{weight:g}" for weight in weights])
    ax.set(xlabel="label weight", ylabel=f"explained share of the variance {part} objects")
    ax.legend(fontsize=8, frameon=False)
    return ax


def receptive_fields(fields, centres, scores, *, n_shown=5, axes=None):
    """Receptive fields of the neurons that are predicted best, a panel each, and the centres of all in the last panel.

    Parameters
    ----------
    fields : array of shape (n_neurons, grid, grid), rows from the top of the image down
    centres : (n_neurons, 2), down and right in shares of the image
    scores : (n_neurons,), by which neurons are ordered and the centres are coloured
    axes : n_shown + 1 axes, new ones if None; returned
    """
    best = np.argsort(-np.asarray(scores), kind="stable")[:n_shown]
    if axes is None:
        axes = plt.subplots(1, len(best) + 1, figsize=(2.2 * (len(best) + 1), 2.6), layout="constrained")[1]
    for neuron, ax in zip(best, axes, strict=False):
        ax.imshow(fields[neuron], cmap="Greys", vmin=0, extent=(0, 1, 1, 0))
        ax.set_title(f"neuron {neuron}: {scores[neuron]:.2f}", fontsize=9)
    drawn = axes[len(best)].scatter(centres[:, 1], centres[:, 0], c=scores, cmap="viridis", s=14)
    axes[len(best)].figure.colorbar(drawn, ax=axes[len(best)], label="leave-one-out R²")
    axes[len(best)].set_title("centres of all neurons", fontsize=9)
    for ax in axes:
        ax.set(xlim=(0, 1), ylim=(1, 0), xticks=(0, 1), yticks=(0, 1), aspect="equal")
    axes[0].set(xlabel="share of the image's width", ylabel="share of its height")
    return axes
