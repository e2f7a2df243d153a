"""Readouts of a frozen network: this project's Gram matrices against the course's pipeline.

    python benchmarks/readout.py [--network resnet50.tv_in1k --px 224 --n-images 1000 --components 400 --repeats 1]
    python benchmarks/readout.py --scaling      time against neurons and images, ours alone
    python benchmarks/readout.py --ours         ours alone (2,880 images: the course's pipeline needs some 40 GB)

The course's pipeline: forward hooks, features flattened to float32, scikit-learn's `PCA(svd_solver="full")` and
`LinearRegression`, layer by layer, keeping one layer's features at a time (kinder to its memory than the course's code,
which costs it forward passes; these are not counted). Each side runs in a process of its own, in turn, on the same random
weights, images and simulated responses; 80 % of the images fit, the others score. Random weights and images cost what
trained ones cost. Memory is the peak of the process above what it held once the network and images were there.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import threading
import time
from pathlib import Path

import numpy as np
import timm
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from helpers import datasets, metrics, readout

IMAGENET = datasets.Normalisation(mean=datasets.IMAGENET_MEAN, sd=datasets.IMAGENET_SD)
LAYERS = ["conv1", "layer1", "layer2", "layer3", "layer4", "global_pool"]


def network_and_data(options):
    """The same in every process: smooth random images, a network, and responses that depend on the images."""
    torch.manual_seed(0)
    network = timm.create_model(options.network, pretrained=False).eval()
    generator = np.random.default_rng(0)
    n_images, side = options.n_images, options.px
    coarse = torch.from_numpy(generator.integers(0, 256, (n_images, 1, 14, 14)).astype(np.float32))
    images = np.empty((n_images, 1, side, side), np.uint8)
    for start in range(0, n_images, 100):
        fine = torch.nn.functional.interpolate(coarse[start : start + 100], size=(side, side), mode="bilinear")
        images[start : start + 100] = fine.round().numpy()
    pixels = coarse.flatten(1).numpy() / 128 - 1
    weights = generator.standard_normal((pixels.shape[1], options.neurons)) / 14
    responses = np.tanh(pixels @ weights) + 0.5 * generator.standard_normal((n_images, options.neurons))
    return network, images, responses.astype(np.float32)


class Peak:
    """Peak resident memory above that at the start, sampled; the process's own high-water mark may lie before."""

    def __init__(self):
        self.base = self.peak = self.now()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def now(self):
        status = Path("/proc/self/statm")
        if status.exists():
            return int(status.read_text().split()[1]) * resource.getpagesize()
        high = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return high if sys.platform == "darwin" else high * 1024

    def watch(self):
        while not self.stop.wait(0.01):
            self.peak = max(self.peak, self.now())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def ours(options):
    network, images, responses = network_and_data(options)
    n_train = int(0.8 * options.n_images)
    begin, seconds, scores = time.perf_counter(), {}, {}
    with Peak() as peak:
        grams = readout.gram(
            network, images, options.layers, normalisation=IMAGENET, n_train=n_train, seconds=seconds
        )
        for layer, K in grams.items():
            predictions = readout.principal_component_regression(
                K, responses[:n_train], n_components=options.components
            )
            scores[layer] = float(metrics.explained_variance(responses[n_train:], predictions).mean())
    total = time.perf_counter() - begin
    return {"total": total, "forward": seconds["forward"], "memory": peak.peak - peak.base, "scores": scores} | {
        "parts": {name: round(value, 1) for name, value in seconds.items()},
        "disk": seconds["bytes"],
    }
