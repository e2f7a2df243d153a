"""What a model and a layer are called wherever a person reads of them: one name each."""

import re

STRETCHED = "-stretched"  # the end of the names of rows that test a claim alone, by twice their epochs
NETWORKS = {"lite": "Lite", "vit": "ViT", "resnet": "ResNet", "efficientnet": "EfficientNet", "densenet": "DenseNet"}


def readable(name):
    """The name of a model for a reader, from the one it is computed by; a name without a rule stays as it is.

    "lite0 + lite1: sum of blocks" becomes "all-layers kernel ridge, 2 networks", "lite0-repaired" "Lite0 fine-tuned"
    (by the repaired recipe, where none is named), a mean that of its parts' names.
    """
    if name.startswith("mean of ") and " and " in name:
        parts = name.removeprefix("mean of ").split(" and ", 1)
        return "mean of " + " and ".join(re.sub(r", (.*)", r" (\1)", readable(part)) for part in parts)
    if tuned := re.fullmatch(r"([\w.-]+(?:-repaired \+ [\w.-]+)*)-(repaired|published)(, located)?", name):
        networks = " + ".join(map(network, tuned[1].split("-repaired + ")))
        recipe = ", published recipe" if tuned[2] == "published" else ""
        return f"{networks} fine-tuned{recipe}{', receptive fields' if tuned[3] else ''}"
    if re.fullmatch(r"lite\d", name):
        return network(name)
    if name == "shallow":  # as benchmarks/recipes.csv has it
        return "shallow CNN"
    networks, found, how = name.partition(": ")
    n = networks.count(" + ") + 1
    which = f"{n} networks" if n > 1 else network(networks.removesuffix(" (random weights)"))
    which += ", random weights" if "random weights" in networks else ""
    kinds = {
        "best single block": f"best single layer, {network(networks)}",
        "sum of blocks": f"all-layers kernel ridge, {which}",
        "sum of blocks at two sizes": f"all-layers kernel ridge, {which}, two sizes",
        "located at two sizes": f"receptive-field kernel ridge, {which}",
    }
    return kinds.get(how, name) if found else name


def network(name):
    """Lite0 of lite0, ViT-tiny of vit-tiny."""
    return re.sub(r"^[a-z]+", lambda found: NETWORKS.get(found[0], found[0]), name)


def short(name, length=12):
    """A name that fits: its two ends."""
    half = length // 2
    return name if len(name) <= length else f"{name[:half]}\N{HORIZONTAL ELLIPSIS}{name[1 - half :]}"


def stages(layers):
    """What blocks of a network are called: dict layer -> "stage 4 of 7", with the block where a stage has several.

    layers : names in order, as "blocks.3.2", of which the last part numbers the blocks of a stage
    """
    of_stage = {layer: layer.rpartition(".")[0] for layer in layers}
    order = list(dict.fromkeys(of_stage.values()))
    found = {}
    for layer, stage in of_stage.items():
        blocks = [other for other in layers if of_stage[other] == stage]
        block = f", block {blocks.index(layer) + 1}" if len(blocks) > 1 else ""
        found[layer] = f"stage {order.index(stage) + 1} of {len(order)}{block}"
    return found
