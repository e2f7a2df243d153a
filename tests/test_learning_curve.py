"""The curve over numbers of training images, against the same readout on the cut data set, computed anew."""

from dataclasses import replace

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from helpers import datasets, metrics
from helpers.analyses import frozen_networks, learning_curve
from helpers.experiments import runs
from helpers.experiments.networks_and_recipes import EXPERIMENTS
from helpers.experiments.profiles import PROFILES
from helpers.readout import gram, receptive_fields

TINY = PROFILES["tiny"]


def test_the_subset_is_the_one_that_reduce_cuts(tiny):
    few, index = learning_curve.subset(tiny, 40)
    assert_array_equal(few.train.images, tiny.train.images[index])
    assert_array_equal(few.train.objects, tiny.train.objects[index])
    assert few.fingerprint == datasets.reduce(tiny, n_train=40, pixels=None).fingerprint
    twins = replace(tiny, train=replace(tiny.train, images=np.zeros_like(tiny.train.images)))
    assert_array_equal(learning_curve.subset(twins, 40)[1], index)  # though no image tells its number
    assert learning_curve.subset(tiny, 96)[0] is tiny


def test_the_readout_from_few_images_is_that_of_the_cut_data_set(tiny, kept_runs):
    few, index = learning_curve.subset(tiny, 40)
    order = np.concatenate([index, len(tiny.train.images) + np.arange(len(tiny.val.images))])
    whole, cut = (frozen_networks.kernel(frozen_networks.located_spec(d, TINY), d) for d in (tiny, few))
    part = np.stack([K[np.ix_(order, order)] for K in whole])
    n_cut = len(order)
    expected = gram.centre(cut[:, :n_cut, :n_cut], 40)  # of a forward pass of the cut data set's images
    assert_allclose(gram.centre(part, 40), expected, atol=1e-5 * expected.max())
    predictions = receptive_fields.ridge(part, few.train.responses).predictions
    assert_allclose(learning_curve.readout_from_few(tiny, TINY, 40), predictions, rtol=1e-5)


def test_a_line_per_approach_and_number_of_images_and_the_last_is_the_main_row(tiny, kept_runs):
    dataset = TINY.prepare(tiny)
    frame = learning_curve.learning_curve(dataset, TINY)
    assert list(frame) == ["approach", "n_train", "explained_variance", "low", "high"]
    assert sorted(set(frame["n_train"])) == [6, 16, 32, 64]
    assert (frame.groupby("n_train").size() == 4).all()
    assert ((frame["low"] <= frame["explained_variance"]) & (frame["explained_variance"] <= frame["high"])).all()
    last = frame[frame["n_train"] == 64].set_index("approach")["explained_variance"]
    for kind, name in (("shallow", learning_curve.SHALLOW), ("Lite0 fine-tuned", learning_curve.FINE_TUNED)):
        predicted = [run.val for run in runs.run_all([EXPERIMENTS[name]], dataset, TINY)[name]]
        expected = metrics.interval(dataset.val.responses, np.array(predicted), dataset.val.objects).estimate
        assert_allclose(last[last.index.str.startswith(kind)].item(), expected)
    rows = frozen_networks.rows(dataset, TINY)
    row = next(rows[name] for name in rows if name.endswith(frozen_networks.LOCATED))
    expected = metrics.interval(dataset.val.responses, row.val, dataset.val.objects).estimate
    assert_allclose(last[last.index.str.startswith("receptive-field kernel ridge")].item(), expected, atol=1e-4)
