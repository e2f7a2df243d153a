"""Every trained network with its recipe, the rows of the results table, as data: change or add one here.

Every stage-1 to stage-3 row of data/published_results.csv stands here twice. *Published* is what the authors ran, bugs
included: inputs normalised twice, a dropout layer that is never called, mean squared error and cross-entropy added raw,
one learning rate for every architecture. *Repaired* is the same network trained as it should be. To add a row, add an
entry to `_ROWS`: `python -m helpers run NAME` and the notebooks find it by its name.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import torch

from helpers.models import networks
from helpers.models.networks import Inputs
from helpers.training.recipe import CONSTANT, Cosine, PerEpoch, Recipe, Step

PUBLISHED_TABLE = Path(__file__).parents[2] / "data" / "published_results.csv"


@dataclass(frozen=True)
class Experiment:
    """One row by one recipe. `row` is its name in the published table; a substitute or control has its own.

    A row that is not `in_table` is a single change of another one, for the register of claims and the sweep of rates.
    """

    name: str
    stage: int
    row: str
    recipe: Recipe
    inputs: Inputs
    backbone: str | None = None  # full timm tag; None for the shallow CNN
    pretrained: bool = False
    label_weight: float | None = None  # of the object labels' loss; None for one objective
    channels: tuple[int, ...] = (16, 32)  # of the shallow CNN
    dropout: float = 0.5  # of the shallow CNN
    dropout_applied: bool = True
    stages: int | None = None  # how many of the backbone's the heads read, as grids; None: its pooled output
    repaired: bool = field(default=False, repr=False)  # whether this is a row's repaired recipe; no setting, as below
    in_table: bool = field(default=True, repr=False)  # no setting: a run's key has the fields with a repr

    def build(self, dataset, seed):
        """The untrained network for a data set, and where its weights came from."""
        return networks.build(self, dataset, seed)


def published_rows():
    """Rows of the published table, name -> dict of its columns, None where a row has no value."""
    table = pd.read_csv(PUBLISHED_TABLE, index_col="row", dtype={"stage": str})
    return table.astype(object).where(table.notna(), None).to_dict("index")


# The students' recipe, with which all published rows but PNASNet's were trained.
ADAM = Recipe(
    epochs=15,
    learning_rate=1e-3,
    optimiser=torch.optim.Adam,
    weight_decay=0.0,
    schedule=Step(5, 0.1),
    standardised=False,
)
ADAM_20 = replace(ADAM, epochs=20, schedule=Step(10, 0.6))

# Repaired recipes, one a family, chosen on fold 0 of the training images of the stand-in and of V4 recordings, the
# shallow CNN's batches on fold 1; benchmarks/recipes.py measures on others what each part is worth.
# Backbones are trained through ridge heads that have not seen the image (training/ridge_heads.py). Twice the rate
# diverged on the stand-in, half of it or half the epochs predicted worse on both; inner folds drawn anew every epoch
# changed nothing. ViTs were tried from random weights alone: their layer-wise rates are the field's.
# A shallow row has the epochs of its published recipe, and weight decay where that has it.
SHALLOW = Recipe(epochs=20, learning_rate=3e-3, weight_decay=0.0, batch_size=16, translation=0.03)
CNN = Recipe(epochs=8, learning_rate=1e-3, schedule=Cosine(warmup=0.25), translation=0.06, ridge_heads=5)
VIT = replace(CNN, layer_decay=0.75)
TRANSFORMERS = (
    "vit",
    "deit",
    "beit",
    "eva",
    "swin",
    "cait",
    "xcit",
    "mixer",
    "levit",
)  # names begin so: trained as ViTs
# What the repaired heads read: the last four stages of a convolutional backbone, every third of a ViT's blocks.
STAGES = 4

RESNET50 = "resnet50.tv_in1k"
LITE0 = "tf_efficientnet_lite0.in1k"
VIT_TINY = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"


def _shallow(name, row, recipe, inputs, **network):
    """A stage-1 row by its published recipe and repaired; `network` are fields of Experiment."""
    repaired = replace(SHALLOW, epochs=recipe.epochs, weight_decay=0.05 if recipe.weight_decay else 0.0)
    return [
        Experiment(f"{name}-published", 1, row, recipe, inputs, dropout_applied=False, **network),
        Experiment(f"{name}-repaired", 1, row, repaired, Inputs.TRAINING, repaired=True, **network),
    ]


def _backbone(name, row, backbone, recipe, *, stage=2, pretrained=True, label_weight=None):
    """A stage-2 or stage-3 row by its published recipe and repaired."""
    repaired = VIT if backbone.startswith(TRANSFORMERS) else CNN
    network = {"backbone": backbone, "pretrained": pretrained, "label_weight": label_weight}
    return [
        Experiment(f"{name}-published", stage, row, recipe, Inputs.TWICE, **network),
        Experiment(f"{name}-repaired", stage, row, repaired, Inputs.OWN, stages=STAGES, repaired=True, **network),
    ]


def _bi_objective(name, row, backbone, **network):
    return _backbone(name, row, backbone, replace(ADAM, epochs=20), stage=3, **network)


_ROWS = [
    # Stage 1: the shallow CNN's chain, then what the chain changed at once, one at a time.
    *_shallow("shallow", "Shallow CNN", replace(ADAM, epochs=10), Inputs.TWICE),
    *_shallow("shallow-schedule-statistics", "Shallow CNN + schedule + normalisation", ADAM_20, Inputs.TRAINING),
    *_shallow("shallow-dropout", "Shallow CNN + dropout 0.2", ADAM_20, Inputs.TRAINING, dropout=0.2),
    *_shallow(
        "shallow-dropout-l2",
        "Shallow CNN + dropout 0.2 + L2",
        replace(ADAM_20, weight_decay=1e-5),
        Inputs.TRAINING,
        dropout=0.2,
    ),
    *_shallow(
        "deeper",
        "Deeper CNN (third convolution; 64 channels)",
        replace(ADAM_20, weight_decay=1e-5),
        Inputs.TRAINING,
        dropout=0.2,
        channels=(16, 32, 64),
    ),
    Experiment("shallow-schedule", 1, "Shallow CNN: schedule alone", ADAM_20, Inputs.TWICE, dropout_applied=False),
    Experiment(
        "shallow-statistics",
        1,
        "Shallow CNN: normalisation alone",
        replace(ADAM, epochs=10),
        Inputs.TRAINING,
        dropout_applied=False,
    ),
    Experiment("shallow-applied", 1, "Shallow CNN: dropout 0.5 applied", ADAM_20, Inputs.TRAINING),
    # Stage 2: pretrained backbones; Lite0 stands in where only its weights are at hand.
    *_backbone("resnet50", "ResNet50 fine-tuned", RESNET50, ADAM),
    *_backbone("efficientnet-b5", "EfficientNet-B5 fine-tuned", "efficientnet_b5.sw_in12k_ft_in1k", ADAM),
    *_backbone(
        "vit-base", "ViT-base fine-tuned", "vit_base_patch16_224.augreg2_in21k_ft_in1k", replace(ADAM, epochs=10)
    ),
    *_backbone("vit-tiny", "ViT-tiny fine-tuned", VIT_TINY, ADAM),
    *_backbone("vit-small", "ViT-small fine-tuned", "vit_small_patch16_224.augreg_in21k_ft_in1k", ADAM),
    *_backbone(
        "densenet201",
        "DenseNet201 fine-tuned",
        "densenet201.tv_in1k",
        # two warm-up epochs and a cosine to epoch 15; SWALR towards 1e-4 steps on top of it at the end of every epoch
        # from the sixth on, so that rates differ from the seventh
        replace(
            ADAM,
            epochs=10,
            schedule=PerEpoch((0.1, 0.55, 1.0, 0.985, 0.943, 0.875, 0.768, 0.622, 0.464, 0.318)),
        ),
    ),
    *_backbone(
        "pnasnet5large",
        "PNASNet-5-Large fine-tuned",
        "pnasnet5large.tf_in1k",
        # its notebook stepped the schedule of another network's optimiser; SWALR towards 1e-4 as above
        replace(
            ADAM,
            optimiser=torch.optim.AdamW,
            weight_decay=1e-2,
            schedule=PerEpoch((1.0,) * 6 + (0.978, 0.914, 0.815, 0.689, 0.55, 0.411, 0.285, 0.186, 0.122)),
        ),
    ),
    *_backbone("lite0", "EfficientNet-Lite0 fine-tuned", LITE0, ADAM),
    *_backbone("lite0-random", "EfficientNet-Lite0 from random weights", LITE0, ADAM, pretrained=False)[1:],
    *_backbone("lite1", "EfficientNet-Lite1 fine-tuned", "tf_efficientnet_lite1.in1k", ADAM)[1:],
    *_backbone("lite2", "EfficientNet-Lite2 fine-tuned", "tf_efficientnet_lite2.in1k", ADAM)[1:],
    # Stage 3: neurons and object labels. The repaired recipes are stage 2's; the published ones train for 20 epochs.
    *_bi_objective("bi-objective", "Two objectives 1:1", RESNET50, label_weight=1.0),
    *_bi_objective("bi-objective-0.3", "Two objectives; label weight 0.3", RESNET50, label_weight=0.3),
    *_bi_objective(
        "bi-objective-random", "Two objectives 1:1; no pretraining", RESNET50, label_weight=1.0, pretrained=False
    ),
    *_bi_objective("lite0-bi-objective", "Lite0: bi-objective 1:1", LITE0, label_weight=1.0),
    *_bi_objective("lite0-bi-objective-0.3", "Lite0: bi-objective; label weight 0.3", LITE0, label_weight=0.3),
    *_bi_objective(
        "lite0-bi-objective-random",
        "Lite0: bi-objective 1:1; no pretraining",
        LITE0,
        label_weight=1.0,
        pretrained=False,
    ),
]
EXPERIMENTS = {experiment.name: experiment for experiment in _ROWS}


def _change(of, name, row, **fields):
    """A single change of another row, outside the results table."""
    EXPERIMENTS[name] = replace(EXPERIMENTS[of], name=name, row=row, in_table=False, **fields)


# Those of the register of claims:
_VIT = EXPERIMENTS["vit-tiny-published"]
_change(
    "shallow-schedule", "shallow-no-schedule", "Shallow CNN: constant rate", recipe=replace(ADAM_20, schedule=CONSTANT)
)
_change("shallow-published", "shallow-once", "Shallow CNN: ImageNet statistics once", inputs=Inputs.ONCE)
_change(
    "shallow-dropout-published", "shallow-dropout-0.2-applied", "Shallow CNN: dropout 0.2 applied", dropout_applied=True
)
_change(
    "shallow-dropout-l2-published",
    "shallow-dropout-0.2-l2-applied",
    "Shallow CNN: dropout 0.2 applied + L2",
    dropout_applied=True,
)
_change(
    "vit-tiny-published",
    "vit-tiny-cosine",
    f"{_VIT.row}, warm-up and cosine",
    recipe=replace(_VIT.recipe, schedule=Cosine()),
)
_change(
    "lite0-repaired",
    "lite0-start",
    "EfficientNet-Lite0: ridge heads on the frozen network, where the repaired recipe starts",
    recipe=replace(CNN, epochs=0, schedule=CONSTANT),
    repaired=False,
)
_change("vit-tiny-published", "vit-tiny-once", f"{_VIT.row}, ImageNet statistics once", inputs=Inputs.ONCE)
_change("vit-tiny-published", "vit-tiny-own", f"{_VIT.row}, its own statistics", inputs=Inputs.OWN)
# Learning-rate sweep of notebook 2: the published recipe at other rates, nothing else changed.
for _rate in (1e-4, 1e-5):
    for _swept in (_VIT, EXPERIMENTS["lite0-published"]):
        _name = f"{_swept.name.removesuffix('-published')}-rate-{_rate:.0e}"
        _recipe = replace(_swept.recipe, learning_rate=_rate)
        _change(_swept.name, _name, f"{_swept.row}, rate {_rate:.0e}", recipe=_recipe)
