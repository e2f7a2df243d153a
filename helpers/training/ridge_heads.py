"""Linear heads on a backbone by ridge: fitted anew before every epoch, and at rest within it.

A head that was fitted to an image leaves a small residual there, unlike those of new images, and a backbone that is
trained on such residuals predicts new images worse. Cross-fitted heads, one on all inner folds but one, give each
image the residual of a head that has not seen it.
"""

import torch
from torch import nn

from helpers import datasets
from helpers.readout.regression import ALPHAS
from helpers.training.step import batches, classes, make_batch


class RidgeHeads:
    """Heads by ridge on the features of the backbone as it is, at rest while it is trained.

    Objects are further targets, one a name and 1 for its own images, in units in which the best constant prediction
    has a mean squared error of 1, as it has of standardised responses.

    Attributes
    ----------
    weights : (n_heads + 1, n_targets, n_features), of the heads on all folds but one each, then of the head on all
    bias : (n_heads + 1, n_targets)
    head_of : (n_images,) the head that an image's loss goes through: it has not seen the image, unless it is the only
        one that was asked for
    alpha : (n_targets,) penalties, see `cross_fit`
    """

    def __init__(self, model, targets, objects, fit_index, recipe, label_weight):
        self.model, self.module, self.n_neurons = model, model.features, targets.shape[1]
        self.fit_index = torch.from_numpy(fit_index).to(targets.device)
        if label_weight is not None:
            targets = torch.cat([targets, indicators(objects, self.fit_index)], 1)
        self.targets = targets
        n_heads = min(recipe.ridge_heads if recipe.ridge_heads > 1 else datasets.N_FOLDS, len(fit_index))
        folds = datasets.folds(objects[fit_index], n_heads, seed=0)
        self.folds = [[torch.from_numpy(part).to(targets.device) for part in fold] for fold in folds]
        self.head_of = torch.full((len(objects),), n_heads, device=targets.device)  # the head on all
        if recipe.ridge_heads > 1:
            for head, (_, held_out) in enumerate(self.folds):
                self.head_of[self.fit_index[held_out]] = head

    @torch.no_grad()
    def renew(self, features):
        """Fit all heads to features (n_fit, n_features) of the fitted images; the network gets the head on all."""
        targets = self.targets[self.fit_index]
        if features.isfinite().all():
            self.weights, self.bias, self.alpha = cross_fit(features, self.module.widths, targets, self.folds)
        else:  # the run has diverged, and its predictions shall say so
            self.bias = targets.new_full((len(self.folds) + 1, targets.shape[1]), float("nan"))
            self.weights = self.bias[:, :, None].expand(-1, -1, features.shape[1])
        heads = [self.model.neuron_head] + ([self.model.object_head] if self.model.object_head is not None else [])
        sizes = [head.out_features for head in heads]
        weights, biases = self.weights[-1].split(sizes), self.bias[-1].split(sizes)
        for head, weight, bias in zip(heads, weights, biases, strict=True):
            head.weight.copy_(weight)
            head.bias.copy_(bias)

    def losses(self, features, batch):
        """Neural and label loss of every image of a batch, each (b,), through the heads that have not seen it."""
        by_head = features.float() @ self.weights.flatten(0, 1).T  # by all heads: choosing first would wait for a GPU
        image = torch.arange(len(batch), device=batch.device)
        predicted = (by_head.unflatten(1, self.bias.shape) + self.bias)[image, self.head_of[batch]]
        errors = (predicted - self.targets[batch]).square()
        neural = errors[:, : self.n_neurons].mean(1)
        labels = errors[:, self.n_neurons :]
        return neural, labels.mean(1) if labels.shape[1] else torch.zeros_like(neural)


def cross_fit(features, widths, targets, folds):
    """Ridge on all folds but one, for each, and on all images: closed form, one eigendecomposition a fit.

    Each stage's features are first brought to a mean squared norm of 1, as in `gram.combine`. A target's penalty is the
    one of `ALPHAS` whose cross-fitted predictions have the least squared error, the same for all heads.

    Parameters
    ----------
    features : float32 tensor of shape (n_images, n_features); changed in place
    widths : numbers of features, one a stage
    targets : tensor of shape (n_images, n_targets)
    folds : list of n_heads pairs (fit_index, held_out_index), tensors

    Returns
    -------
    weights : (n_heads + 1, n_targets, n_features), the last on all images
    bias : (n_heads + 1, n_targets)
    alpha : float64 tensor (n_targets,), for features whose Gram matrix has a mean diagonal of 1
    """
    n_images, device = len(features), features.device
    mean = features.mean(0)
    features -= mean
    gain = torch.cat(
        [(n_images / x.square().sum().clamp(min=1e-30)).sqrt().expand(x.shape[1]) for x in features.split(widths, 1)]
    )
    features *= gain
    K = (features @ features.T).double()
    scale = K.diagonal().mean()
    K /= scale
    targets, alphas = targets.double(), torch.from_numpy(ALPHAS).to(device)
    fits, loss = [], 0
    for fit, held_out in [*folds, (torch.arange(n_images, device=device), None)]:
        column = K[:, fit].mean(1, keepdim=True)
        centred = K[:, fit] - column - column[fit].T + column[fit].mean()
        values, vectors = torch.linalg.eigh(centred[fit])
        values, centre = values.clamp(min=0), targets[fit].mean(0)
        rotated = vectors.T @ (targets[fit] - centre)
        fits.append((fit, values, vectors, rotated, centre))
        if held_out is not None:
            across, missing = centred[held_out] @ vectors, targets[held_out] - centre
            loss = loss + torch.stack(
                [(across / (values + alpha) @ rotated - missing).square().sum(0) for alpha in alphas]
            )
    alpha = alphas[loss.argmin(0)]
    dual = targets.new_zeros(len(fits), targets.shape[1], n_images)
    share = targets.new_zeros(len(fits), n_images)
    for head, (fit, values, vectors, rotated, _) in enumerate(fits):
        dual[head][:, fit] = (vectors @ (rotated / (values[:, None] + alpha))).T / scale
        share[head, fit] = 1 / len(fit)
    # The columns of a dual solution sum to 0, so features need no centring on the images of their own head.
    weights = (dual.float().flatten(0, 1) @ features).unflatten(0, dual.shape[:2]) * gain
    centres = mean + share.float() @ features / gain
    bias = torch.stack([fit[-1] for fit in fits]).float() - (weights @ centres[:, :, None]).squeeze(2)
    return weights, bias, alpha


def set_batch_norm(model, images, normalisation):
    """Give the batch norms of a random backbone, which know no images yet, the statistics of resident images."""
    indices = batches(torch.arange(len(images), device=images.device), 64)
    torch.optim.swa_utils.update_bn((make_batch(images, normalisation, index) for index in indices), model)


def indicators(objects, fit_index):
    """Targets (n_images, n_objects), 0 but for an image's own object, over the root of their mean variance."""
    one_hot = nn.functional.one_hot(classes(objects)).float().to(fit_index.device)
    spread = one_hot[fit_index].var(0, correction=0).mean().sqrt()
    return one_hot / torch.where(spread > 0, spread, 1)
