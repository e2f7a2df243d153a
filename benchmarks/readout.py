"""Readouts of a frozen network: this project's Gram matrices against the course's pipeline.

    python benchmarks/readout.py [--network resnet50.tv_in1k --px 224 --n-images 1000 --components 400]
    python benchmarks/readout.py --ours --n-images 2880    ours alone, where the pipeline does not fit in memory
    python benchmarks/readout.py --ours --network tf_efficientnet_lite0 --n-images 3200    and what a located one adds
    python benchmarks/readout.py --scaling                 seconds against neurons and images, ours alone
    python benchmarks/readout.py --estimator --px 64       what EncodingModel takes, up to 22,000 images: estimator.csv
    python benchmarks/readout.py --parts --n-images 3200   a located readout at the course's size, by some of each part

The course's pipeline: a forward hook, features flattened to float32, scikit-learn's `PCA(svd_solver="full")` and
`LinearRegression`. It is given one layer's features at a time, in one array; the course's code holds more than that.
Each side runs in a process of its own, in turn, on the same random weights, images and simulated responses; 80 % of the
images fit, the others score. Memory is the process's peak above what it held once network and images were there. The
pipeline passes once for each layer; only its pass to the deepest layer counts in its total.
"""

import argparse
import contextlib
import multiprocessing
import os
import resource
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import timm
import torch
from scipy.optimize import nnls
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from helpers import datasets, encoding, metrics
from helpers.analyses import layer_profile
from helpers.datasets.images import IMAGENET, to_batch
from helpers.device import hardware
from helpers.models import architecture
from helpers.readout import features, gram, gram_by_place, receptive_fields, regression
from helpers.readout.features import View

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # both sides on the processor
FEW = 16  # images, and masks, on which parts are timed
LARGER = 10_000, 22_000  # numbers of images to which the estimator's times are extrapolated
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
            return int(status.read_text(encoding="utf-8").split()[1]) * resource.getpagesize()
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

    @property
    def above_base(self):
        """Bytes."""
        return self.peak - self.base


def ours(options):
    """One pass, Gram matrices, principal-component regression on them."""
    network, images, responses = network_and_data(options)
    n_train = int(0.8 * options.n_images)
    begin, costs, scores = time.perf_counter(), Counter(), {}
    with Peak() as peak:
        grams = features.gram_of_layers(
            View(network, options.layers, IMAGENET, grid=None), images, n_train=n_train, costs=costs
        )
        for layer, K in grams.items():
            predictions = regression.principal_component_regression(
                K, responses[:n_train], n_components=options.components
            )
            scores[layer] = metrics.explained_variance(responses[n_train:], predictions).mean()
    total = time.perf_counter() - begin
    return {
        "total": total,
        "after": total - costs["forward"],
        "memory": peak.above_base,
        "disk": costs["bytes"],
        "scores": scores,
        "parts": {part: round(costs[part]) for part in ("forward", "spill", "product")},
    }


def by_place(options):
    """What the located readout takes beside `ours`: a pass, Gram matrices by place, masks and fits."""
    network, images, responses = network_and_data(options)
    n_images, n_train = len(images), int(0.8 * len(images))
    begin, costs = time.perf_counter(), Counter()
    with Peak() as peak, tempfile.NamedTemporaryFile() as file:
        stack = np.memmap(file, np.float32, "w+", shape=(features.GRID**2, n_images, n_images))
        view = View(network, architecture.rectified_layers(network), IMAGENET, blur=receptive_fields.BLURS[0])
        gram_by_place.grams_by_place(view, images, n_train=n_train, out=stack, costs=costs)
        fits = time.perf_counter()
        predictions = receptive_fields.ridge(stack, responses[:n_train]).predictions
        costs["fits"] = time.perf_counter() - fits
    total = time.perf_counter() - begin
    return {
        "total": total,
        "after": total - costs["forward"],
        "memory": peak.above_base,
        "disk": costs["bytes"] + stack.nbytes,
        "scores": {"located": metrics.explained_variance(responses[n_train:], predictions).mean()},
        "parts": {part: round(costs[part]) for part in ("forward", "spill", "product", "fits")},
    }


def estimator(options):
    """EncodingModel by itself: a fit to all images, and the prediction of one."""
    _, images, responses = network_and_data(options)
    with Peak() as peak:
        wall, clock = time.perf_counter(), [time.process_time()]
        model = encoding.EncodingModel().fit(images, responses)
        wall = time.perf_counter() - wall
        clock.append(time.process_time())
        model.predict(images[:1])
        clock.append(time.process_time())
    fit, one = np.diff(clock)
    return {"fit_seconds": wall, "fit_cpu_seconds": fit, "image_cpu_seconds": one, "peak_gb": peak.above_base / 1e9}


def estimator_table(options):
    """What EncodingModel takes at several numbers of images, written to estimator.csv; larger ones by extrapolation.

    Seconds of the processor, which other processes do not lengthen, are sums of powers of the number of images: passes
    grow as it, products as its square, eigendecompositions as its cube, the search for masks not at all from 500 on.
    """
    free, lines = encoding.free_memory(), []
    for n_images in options.sizes:
        options.n_images = n_images
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            lines.append({"images": n_images, "how": "measured"} | pool.apply(estimator, (options,)))
        print(lines[-1], flush=True)
    measured = pd.DataFrame(lines)
    for n_images in LARGER:
        lines.append({"images": n_images, "how": "extrapolated"})
        for column, degree in (("fit_cpu_seconds", 3), ("image_cpu_seconds", 1)):
            known = measured["images"].to_numpy(float)[:, None] ** np.arange(degree + 1)
            relative = known / measured[column].to_numpy()[:, None]
            parts, _ = nnls(relative, np.ones(len(relative)))  # none is below 0
            lines[-1][column] = parts @ float(n_images) ** np.arange(degree + 1)
    table = pd.DataFrame(lines)
    table["expected_gb"] = [encoding.bytes_of(n_images) / 1e9 for n_images in table["images"]]
    table["refused"] = [free is not None and encoding.bytes_of(n_images) > free for n_images in table["images"]]
    table = table.assign(pixels=options.px, neurons=options.neurons, hardware=hardware())
    print(table.round(2).to_string(index=False))
    if free is not None:
        print(f"{free / 1e9:.1f} GB are free: more than {encoding.most_images(free)} images are refused")
    table.round(2).to_csv(Path(__file__).with_name("estimator.csv"), index=False)


def parts(options):
    """Processor seconds of a located readout of the packaged networks, from some of each part, at the size asked for.

    Passes, and their features written and read, are those of FEW images at both sizes; products those of as many
    random features as a slab holds; fits those of one of the masks, at the true number of images; the search, that for
    the blur among it, that of FEW of the masks it goes through.
    """
    n, neurons, generator = options.n_images, options.neurons, np.random.default_rng(0)
    images = generator.integers(0, 256, (FEW, 1, options.px, options.px), dtype=np.uint8)
    spent = Counter()

    @contextlib.contextmanager
    def timed(part, share):
        """Add the seconds of the processor, of which this is a share."""
        begin = time.process_time()
        yield
        spent[part] += (time.process_time() - begin) / share

    n_features, first = 0, 0.0
    for view in layer_profile.located_views(encoding.PACKAGED, images.shape[2:]):
        costs = Counter()
        out = np.zeros((features.GRID**2, FEW, FEW), np.float32)
        with timed(f"passes, {view.pixels[0]} pixels", FEW / n):
            gram_by_place.grams_by_place(view, images, n_train=FEW, out=out, costs=costs)
        n_features += costs["bytes"] // (4 * FEW)
        first = first or spent.total() * FEW / n  # lite0's at the first size
    searched, n_blurs = min(n, receptive_fields.N_SEARCHED), len(receptive_fields.BLURS)
    spent["passes to choose the blur"] = n_blurs * searched / FEW * first
    width = features.SLAB_BYTES // (4 * n)
    columns = generator.standard_normal((n, width), dtype=np.float32)
    with timed("products", width / n_features):
        K = features.product(columns, n, torch.device("cpu"))
    y = torch.from_numpy(generator.standard_normal((n, neurons), dtype=np.float32))
    few = torch.from_numpy(np.stack([K[:searched, :searched]] * features.GRID**2))
    masks = receptive_fields.candidates()
    n_search = (1 + n_blurs) * len(masks) + receptive_fields.N_MASKS * len(receptive_fields.BANDWIDTHS)
    with timed("search", FEW / n_search):
        list(receptive_fields.best_scores(few, y[:searched], masks[:FEW], 1.5))
    with timed("fits", 1 / receptive_fields.N_MASKS):
        K = receptive_fields.kernel([K] * features.GRID**2, masks[1], n_train=n, bandwidth=1.5)
        *_, values, vectors = receptive_fields.leave_one_out(K, y)
        vectors @ ((vectors.T @ y) / (values[:, None] + 1))
    print(f"{n} images of {options.px} pixels, {neurons} neurons, {n_features} features; {hardware()}")
    for part, seconds in spent.items():
        print(f"{part:26s} {seconds:7.0f} s")
    print(f"{'in all':26s} {spent.total():7.0f} s of one core, {spent.total() / 60:.0f} minutes", flush=True)


def course(options):
    """One pass, PCA and least squares for each layer."""
    network, images, responses = network_and_data(options)
    n_train = int(0.8 * options.n_images)
    after, scores, parts = 0, {}, {}
    with Peak() as peak:
        for layer in options.layers:
            begin = time.perf_counter()
            features = hooked_features(network, images, layer)
            forward = time.perf_counter() - begin
            n_components = min(options.components, n_train, features.shape[1])
            pca = PCA(n_components, svd_solver="full").fit(features[:n_train])
            model = LinearRegression().fit(pca.transform(features[:n_train]), responses[:n_train])
            predictions = model.predict(pca.transform(features[n_train:]))
            scores[layer] = metrics.explained_variance(responses[n_train:], predictions).mean()
            parts[layer] = round(time.perf_counter() - begin - forward)
            after += time.perf_counter() - begin - forward
            del features, pca
    return {
        "total": after + forward,
        "after": after,
        "memory": peak.above_base,
        "disk": 0,
        "scores": scores,
        "parts": parts,
    }


class Stop(Exception):
    """The layer's output is there."""


def hooked_features(network, images, layer, batch_size=16):
    """Array of shape (n_images, n_features), float32."""
    kept, features = [], None

    def hook(module, inputs, output):
        kept.append(output.flatten(1).numpy())
        raise Stop

    handle = network.get_submodule(layer).register_forward_hook(hook)
    for start in range(0, len(images), batch_size):
        batch = to_batch(torch.from_numpy(images[start : start + batch_size]), IMAGENET)
        try:
            with torch.inference_mode():
                network(batch)
        except Stop:
            rows = kept.pop()
        if features is None:
            features = np.empty((len(images), rows.shape[1]), np.float32)
        features[start : start + batch_size] = rows
    handle.remove()
    return features


def alone(side, options):
    """Run one side in a fresh process, which has this one's memory in no form."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        result = pool.apply(side, (options,))
    print(
        f"{side.__name__:8s} {result['after']:8.1f} s after the forward passes  {result['total']:8.1f} s in all  "
        f"{result['memory'] / 1e9:6.2f} GB memory  {result['disk'] / 1e9:6.2f} GB disk  parts (s): {result['parts']}",
        flush=True,
    )
    return result


def compare(options):
    """Both sides, in turn; medians over rounds, and their ratios."""
    rounds = [(alone(ours, options), alone(course, options)) for _ in range(options.rounds)]
    for quantity in ("after", "total", "memory"):
        mine, theirs = np.median([[side[quantity] for side in pair] for pair in rounds], axis=0)
        print(f"{quantity:7s} ours / course = {mine / theirs:.3f}  (1 / {theirs / mine:.1f})")
    for layer in options.layers:
        mine, theirs = (side["scores"][layer] for side in rounds[0])
        print(f"{layer:12s} explained variance {mine:.5f} {theirs:.5f}  difference {mine - theirs:+.1e}")
    alone(by_place, options)


def scaling(options):
    """Seconds of ridge against neurons, and of the features against images."""
    generator = np.random.default_rng(0)
    n_train = 1300
    features = generator.standard_normal((n_train + 300, 4000)) * np.logspace(0, -2, 4000)
    kernel = gram.centre(features @ features.T, n_train)
    folds = datasets.folds(np.arange(n_train) % 64, 5, seed=0)
    signal = features[:n_train] @ generator.standard_normal((4000, 2000))
    responses = signal / signal.std(0) + generator.standard_normal(signal.shape)
    print(f"ridge, {n_train} training images\nneurons  seconds")
    for n_neurons in (168, 168, 500, 1000, 2000):  # the first call also pays for start-up
        begin = time.perf_counter()
        regression.ridge(kernel, responses[:, :n_neurons], folds=folds)
        print(f"{n_neurons:7d}  {time.perf_counter() - begin:7.2f}", flush=True)
    print(f"{options.network}, {options.px} pixels, {len(options.layers)} layers\nimages  forward  spill  product (s)")
    for options.n_images in (500, 1000, 2000, 2880):
        network, images, _ = network_and_data(options)
        costs = Counter()
        view = View(network, options.layers, IMAGENET, grid=None)
        features.gram_of_layers(view, images, n_train=len(images), costs=costs)
        print(f"{len(images):6d}  {costs['forward']:7.1f}  {costs['spill']:5.1f}  {costs['product']:7.1f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet50.tv_in1k")
    parser.add_argument("--px", type=int, default=224)
    parser.add_argument("--n-images", type=int, default=1000)
    parser.add_argument("--neurons", type=int, default=168)
    parser.add_argument("--layers", nargs="+", default=LAYERS)
    parser.add_argument("--components", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--ours", action="store_true", help="ours alone")
    parser.add_argument("--scaling", action="store_true", help="seconds against neurons and images, ours alone")
    parser.add_argument("--estimator", action="store_true", help="EncodingModel alone, at several numbers of images")
    parser.add_argument("--parts", action="store_true", help="a located readout's parts, from some of each")
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 1000, 3200], help="numbers of images for it")
    options = parser.parse_args()
    if options.estimator:
        estimator_table(options)
    elif options.parts:
        parts(options)
    elif options.scaling:
        scaling(options)
    elif options.ours:
        print(alone(ours, options)["scores"], alone(by_place, options)["scores"])
    else:
        compare(options)
