"""Images per second of training: the published loop, ours, and the bare step.

    python benchmarks/training.py [--pixels 64 224] [--networks resnet50 lite0 vit_tiny shallow] [--batch-size 32]
    python benchmarks/training.py --profile ...     where the bare step's time goes, operator by operator

(a) the students' loop: DataLoader over a float32 array, normalisation image by image, float32, torch's Adam
(b) `loop.fit` on the same images
(c) the bare step: forward, loss, backward, clipping and b's optimiser on one batch already in place, in b's number type
    and memory format

The three take turns; the ratios are medians over the rounds. b/c near 1: the loop costs nothing beyond the step.
"""

import argparse
import operator
import statistics
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from helpers import models, notebook
from helpers.datasets.images import IMAGENET, IMAGENET_MEAN, IMAGENET_SD
from helpers.device import accelerator, precision
from helpers.experiments.networks_and_recipes import ADAM
from helpers.training import loop
from helpers.training.step import make_batch, make_optimiser

NETWORKS = {
    "resnet50": "resnet50.tv_in1k",
    "lite0": "tf_efficientnet_lite0.in1k",
    "vit_tiny": "vit_tiny_patch16_224.augreg_in21k_ft_in1k",
    "shallow": None,
}
N_NEURONS = 168


class StudentsDataset(Dataset):
    """The published notebooks' data set: float32 images in an array, normalised one by one as they are drawn."""

    def __init__(self, images, responses):
        self.images, self.responses = images, responses
        self.mean, self.sd = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_SD))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return (torch.from_numpy(self.images[i]) - self.mean) / self.sd, torch.from_numpy(self.responses[i])


def build(name, pixels):
    torch.manual_seed(0)
    if NETWORKS[name] is None:
        return models.ShallowCNN((pixels, pixels), N_NEURONS, dropout_applied=False)
    backbone, _ = models.load_backbone(NETWORKS[name], (pixels, pixels), pretrained=False)
    return models.Encoder(backbone, (pixels, pixels), N_NEURONS)


def synchronise():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def published_loop(model, optimiser, loader, device):
    began = time.perf_counter()
    model.train()
    for images, responses in loader:
        images, responses = images.to(device), responses.to(device)
        optimiser.zero_grad()
        loss = torch.nn.functional.mse_loss(model(images)[0], responses)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        loss.item()  # as the students' loop did for its running mean
    synchronise()
    return len(loader.dataset) / (time.perf_counter() - began)


def our_loop(model, dataset, n_epochs, batch_size):
    recipe = replace(ADAM, epochs=n_epochs, batch_size=batch_size)
    history = loop.fit(model, dataset, recipe, seed=0, normalisation=IMAGENET)
    return len(dataset.train.images) / statistics.median(epoch["seconds"] for epoch in history[1:])


def bare_steps(model, optimiser, batch, responses, n_steps):
    dtype, _ = precision(model, batch.device)
    scaler = torch.amp.GradScaler(batch.device.type, enabled=dtype == torch.float16)
    model.train()
    synchronise()
    began = time.perf_counter()
    for _ in range(n_steps):
        with torch.autocast(batch.device.type, dtype=dtype, enabled=dtype != torch.float32):
            predicted, _ = model(batch)
        scaler.scale((predicted.float() - responses).square().mean()).backward()
        scaler.unscale_(optimiser)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimiser)
        scaler.update()
        optimiser.zero_grad(set_to_none=True)
    synchronise()
    return n_steps * len(batch) / (time.perf_counter() - began)


def bare(name, pixels, batch_size):
    """What (c) runs on: a model, b's optimiser, and one batch in place with its targets."""
    device = accelerator().device
    rng = np.random.default_rng(0)
    model = build(name, pixels)
    _, memory_format = precision(model, device)
    model.to(device=device, memory_format=memory_format)
    gray = torch.from_numpy(rng.integers(0, 256, (batch_size, 1, pixels, pixels), np.uint8)).to(device)
    batch = make_batch(gray, IMAGENET, torch.arange(batch_size, device=device), memory_format=memory_format)
    targets = torch.from_numpy(rng.standard_normal((batch_size, N_NEURONS)).astype(np.float32)).to(device)
    return model, make_optimiser(model, ADAM, False), batch, targets


def print_profile(name, pixels, batch_size):
    """The ten operators that take most of a bare step, and the share of matrix products and convolutions."""
    parts = bare(name, pixels, batch_size)
    seconds = operator.attrgetter(f"self_{'device' if parts[2].is_cuda else 'cpu'}_time_total")
    bare_steps(*parts, 2)
    with torch.profiler.profile() as profile:
        bare_steps(*parts, 4)
    rows = profile.key_averages()
    total = sum(map(seconds, rows))
    products = ("convolution", "mkldnn", "addmm", "bmm", "::mm", "attention", "linear")
    share = sum(seconds(row) for row in rows if any(word in row.key for word in products)) / total
    print(f"{name}, {pixels} px: {share:.0%} of the bare step in convolutions, matrix products and attention")
    for row in sorted(rows, key=seconds, reverse=True)[:10]:
        print(f"  {seconds(row) / total:5.1%}  {row.count // 4:4d} calls a step  {row.key}")


def compare(name, pixels, *, n_images, batch_size, rounds):
    """Images per second of a, b and c, one of each per round."""
    device = accelerator().device
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 256, (n_images, 1, pixels, pixels), np.uint8)
    responses = rng.standard_normal((n_images, N_NEURONS)).astype(np.float32)
    train = SimpleNamespace(images=gray, responses=responses, objects=np.array(["a", "b"] * (n_images // 2)))
    dataset = SimpleNamespace(train=train, object_names=["a", "b"])
    as_floats = np.repeat(gray.astype(np.float32) / 255, 3, axis=1)
    loader = DataLoader(StudentsDataset(as_floats, responses), batch_size=batch_size, shuffle=True)
    theirs = build(name, pixels).to(device)
    adam = torch.optim.Adam(theirs.parameters(), lr=1e-3)
    ours, parts = build(name, pixels), bare(name, pixels, batch_size)
    bare_steps(*parts, 2)  # warm up
    speeds = []
    for _ in range(rounds):
        a = published_loop(theirs, adam, loader, device)
        b = our_loop(ours, dataset, 3, batch_size)
        c = bare_steps(*parts, n_images // batch_size)
        speeds.append((a, b, c))
    return np.array(speeds)


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    options.add_argument("--pixels", nargs="+", type=int, default=[64, 224])
    options.add_argument("--n-images", type=int, default=128)
    options.add_argument("--batch-size", type=int, default=32)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--profile", action="store_true")
    options = options.parse_args()
    print(notebook.stamp())
    if options.profile:
        for name in options.networks:
            for pixels in options.pixels:
                print_profile(name, pixels, options.batch_size)
        return
    print(f"{'network':10} {'px':>4} {'a img/s':>9} {'b img/s':>9} {'c img/s':>9} {'b/a':>6} {'b/c':>6}  number type")
    for name in options.networks:
        for pixels in options.pixels:
            sizes = {"n_images": options.n_images, "batch_size": options.batch_size}
            speeds = compare(name, pixels, rounds=options.rounds, **sizes)
            a, b, c = np.median(speeds, axis=0)
            to_a, to_c = np.median(speeds[:, 1] / speeds[:, 0]), np.median(speeds[:, 1] / speeds[:, 2])
            dtype, layout = precision(build(name, pixels), accelerator().device)
            layout = "channels-last" if layout is torch.channels_last else "contiguous"
            print(
                f"{name:10} {pixels:4} {a:9.1f} {b:9.1f} {c:9.1f} {to_a:6.2f} {to_c:6.2f}  {str(dtype)[6:]}, {layout}",
                flush=True,
            )


if __name__ == "__main__":
    main()
