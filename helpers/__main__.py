"""Commands: `python -m helpers data|run|readout|search|claims|table|predict|report`: thin layers over functions."""

import argparse
import sys


def data_fetch(options):
    from helpers.datasets import DATA, describe, sources

    out = options.out or DATA / describe.catalogue().get(options.name, {}).get("out", options.name)
    given = {"origin": options.origin, "session": options.session, "as_course": options.as_course}
    print(sources.fetch(options.name, out, unverified=options.unverified, **given))


def data_check(options):
    from helpers.datasets import describe

    print(describe.check(options.file))


def data_declare(options):
    from helpers.datasets.formats import whole

    print(whole.declare(options.file, options.images))


def data_pack(options):
    from helpers.datasets import DataError, pack

    if wrong := [condition for condition in options.where if "=" not in condition]:
        raise DataError(f"{wrong[0]}: no condition; expected NAME=VALUE, as region=IT.")
    where = dict(condition.split("=", 1) for condition in options.where)
    *inputs, out = options.files
    print(pack.pack(inputs, out, neurons=options.neurons, where=where, seed=options.seed, pixels=options.pixels))


def data_standin(options):
    from helpers import datasets
    from helpers.datasets.simulated import standin

    name = "standin" + "_full" * options.full + "_as_course" * options.as_course
    built_in = {"label_share": options.label_share, "local_share": options.local_share, "n_trials": options.trials}
    made = {"full": options.full, "as_course": options.as_course, "seed": options.seed}
    print(standin.write(options.out or datasets.DATA / f"{name}.h5", **made, **built_in))


def prepared(options):
    """The profile, the data file in memory, and the data set that the profile makes of it."""
    from helpers import datasets
    from helpers.experiments.profiles import current_profile

    profile, file = current_profile(options.profile), datasets.load(options.data)
    return profile, file, profile.prepare(file)


def run(options):
    from helpers import datasets, metrics
    from helpers.analyses import tables
    from helpers.datasets.hdf5 import plural
    from helpers.experiments import runs
    from helpers.experiments.networks_and_recipes import EXPERIMENTS

    if options.name not in EXPERIMENTS:
        raise SystemExit(f"error: no experiment {options.name!r}; expected one of: {', '.join(EXPERIMENTS)}")
    profile, _, dataset = prepared(options)
    experiment = EXPERIMENTS[options.name]
    data, epochs = profile.training_data(experiment, dataset), plural(experiment.recipe.epochs, "epoch")
    size = "x".join(map(str, data.images.shape[2:]))
    print(f"{epochs} of {plural(len(data.train.images), 'image')} of {size} pixels", flush=True)
    finished = runs.run(experiment, dataset, profile, seed=options.seed, held_out_fold=options.held_out_fold)
    where, predicted = "val", finished.val
    responses, objects = dataset.val.responses, dataset.val.objects
    if options.held_out_fold is not None:
        _, held_out = datasets.fold_of(dataset, options.held_out_fold)
        where, predicted = f"fold {options.held_out_fold} of the training images", finished.held_out
        responses, objects = dataset.train.responses[held_out], dataset.train.objects[held_out]
    found = metrics.interval(responses, predicted, objects)
    how = f"{tables.state(experiment, [finished])}, weights: {finished.info['weights']}"
    score = tables.with_interval(found.estimate, found.low, found.high, "z.2f")
    print(f"explained variance on {where}: {score} ({how})")
    if dataset.is_standin:
        print(tables.SIMULATED)
    print(f"{finished.folder}: {finished.info['seconds']:.0f} s of training on {finished.info['hardware']}")


def readout(options):
    from helpers.report import long_tables

    profile, file, dataset = prepared(options)
    frame, *paths = long_tables.readout(options.tags, dataset, profile, file)
    print(frame.round({"depth": 2, "explained_variance": 3}).to_string(index=False, na_rep=""))
    print("explained variance by folds of the training images, mean over neurons", *paths, sep="\n")


def search(options):
    from helpers.experiments import search

    profile, _, dataset = prepared(options)
    search.search(dataset, profile, n_trials=options.trials, storage=options.storage)


def claims(options):
    from helpers import notebook
    from helpers.analyses import claims

    profile, file, dataset = prepared(options)
    folder = notebook.output_folder(file.path)
    frame = claims.register(dataset, profile, seeds=options.seeds, stretch=options.stretched)
    for line in frame.to_dict("records"):
        print(f"{line['claim']}: {line['test']}\n    {line['verdict']}  {claims.effect(line)}  {line['note']}")
    print(notebook.write_table(frame, folder, "claims"))


def table(options):
    from helpers.report import long_tables

    profile, file, dataset = prepared(options)
    frame, path = long_tables.table(options.name, dataset, profile, file)
    print(frame.to_string(index=False), path, sep="\n")


def predict(options):
    from helpers.experiments import saved_model

    *images, out = options.files
    saved_model.write_table(options.model, images, out)


def report(options):
    from helpers.report import notebooks

    try:
        print(notebooks.build(options.data, profile=options.profile, in_place=options.in_place))
    except notebooks.NotebookError as error:
        raise SystemExit(f"error: {error}") from error


def parser():
    commands = argparse.ArgumentParser(prog="python -m helpers", description=__doc__.split(".")[0])
    commands.add_argument("--traceback", action="store_true", help="show where an error arose")
    groups = commands.add_subparsers(required=True)

    data = groups.add_parser("data", help="get, check, pack or simulate a data file").add_subparsers(required=True)
    fetch = data.add_parser("fetch", help="download recordings: the course's file, or public ones with their trials")
    fetch.add_argument("name", nargs="?", default="course", help="course, majaj-hong-it, majaj-hong-v4 or cowley-v4")
    fetch.add_argument("out", nargs="?", help="file to write; data/NAME.h5 without it")
    fetch.add_argument("--from", dest="origin", metavar="FOLDER_OR_URL", help="where the source's files lie")
    fetch.add_argument("--unverified", action="store_true", help="take files whose digest differs, and say so")
    fetch.add_argument("--session", help="of cowley-v4: another than 210325, without labels")
    fetch.add_argument("--as-course", action="store_true", help="the course file's keys and float32 images alone")
    fetch.set_defaults(call=data_fetch)
    check = data.add_parser("check", help="print what a file holds, or what is wrong with it")
    check.add_argument("file")
    check.set_defaults(call=data_check)
    declare = data.add_parser("declare", help="say in a file how its images are normalised, where this cannot be told")
    declare.add_argument("file")
    declare.add_argument(
        "images", nargs="+", help="imagenet, clip, half, none or bytes; or mean and sd, one number each or three"
    )
    declare.set_defaults(call=data_declare)
    pack = data.add_parser(
        "pack",
        help="write a data file from own recordings",
        description="Write a data file from: FOLDER TABLE.csv (a row per image or presentation: file, object, a column "
        "per neuron); ARRAYS.npz, or IMAGES.npy RESPONSES.npy [OBJECTS.npy]; ASSEMBLY.nc STIMULI.csv IMAGES.zip.",
    )
    pack.add_argument("files", nargs="+", metavar="FILE", help="what to pack, and last the HDF5 file to write")
    pack.add_argument("--neurons", nargs="+", metavar="PATTERN", help="the table's columns of neurons, as 'unit *'")
    pack.add_argument("--where", nargs="+", default=[], metavar="NAME=VALUE", help="of an assembly, as region=IT")
    pack.add_argument("--seed", type=int, default=0, help="of the split into train, val and test")
    pack.add_argument("--pixels", type=int, help="side to resize the images to")
    pack.set_defaults(call=data_pack)
    standin = data.add_parser("standin", help="write a stand-in with simulated responses")
    standin.add_argument("out", nargs="?", help="file to write; data/standin.h5, data/standin_full.h5, ... without it")
    standin.add_argument("--full", action="store_true", help="the course file's numbers and sizes of images")
    standin.add_argument("--as-course", action="store_true", help="the course file's keys and float32 images alone")
    standin.add_argument("--seed", type=int, default=0)
    standin.add_argument("--label-share", type=float, default=0.35, help="share of the response that labels drive")
    standin.add_argument("--local-share", type=float, default=0.2, help="share of local luminance and contrast energy")
    standin.add_argument("--trials", type=int, default=28, help="simulated trials per image")
    standin.set_defaults(call=data_standin)

    row = groups.add_parser("run", help="train one row of the results table, or find it finished")
    row.add_argument("name", help="of an entry in helpers/experiments/networks_and_recipes.py")
    row.add_argument("--seed", type=int, default=0)
    row.add_argument("--held-out-fold", type=int, help="leave out and predict this fold of the training images, from 0")
    row.set_defaults(call=run)
    frozen = groups.add_parser("readout", help="read out frozen networks layer by layer, and located")
    frozen.add_argument("tags", nargs="+", metavar="TAG", help="full timm name, such as resnet50.tv_in1k")
    frozen.set_defaults(call=readout)
    trials = groups.add_parser("search", help="search the shallow CNN's settings; as many workers as you start")
    trials.add_argument("--storage", help="URL of a server's database that workers share; without it a journal file")
    trials.add_argument("--trials", type=int, default=40, help="finished trials to stop at")
    trials.set_defaults(call=search)
    register = groups.add_parser("claims", help="test the published study claim by claim, several seeds a row")
    register.add_argument("--seeds", type=int, default=8, help="of shallow rows, 8 without it; of others at most 3")
    register.add_argument("--stretched", action="store_true", help="try shallow rows' verdicts at twice the epochs too")
    register.set_defaults(call=claims)
    long = groups.add_parser("table", help="make a table that takes longer than a notebook")
    long.add_argument("name", choices=("learning_curve", "shuffled_labels"))
    long.set_defaults(call=table)
    usage = "python -m helpers predict MODEL IMAGES [IMAGES ...] OUT.csv"
    new = groups.add_parser("predict", help="predict responses to any images by a saved model", usage=usage)
    new.add_argument("model", help="folder of a saved model, such as report/DATA/best_model")
    new.add_argument("files", nargs="+", metavar="IMAGES", help="a folder, files or a .npy; last the CSV file to write")
    new.set_defaults(call=predict)
    pages = groups.add_parser("report", help="execute the notebooks and render the report")
    pages.add_argument("--in-place", action="store_true", help="refresh what is committed instead")
    pages.set_defaults(call=report)
    for command in (row, frozen, trials, register, long, pages):
        command.add_argument("--data", help="data file or source; without it $IT_DATA, data/IT_data.h5, stand-in")
        command.add_argument("--profile", choices=("tiny", "quick", "colab", "full"), help="how much to compute")
    return commands


def main(arguments=None):
    options = parser().parse_args(arguments)
    try:
        options.call(options)
    except KeyboardInterrupt:
        if options.traceback:
            raise
        print("\ninterrupted: finished runs are kept, and the same command goes on from them", file=sys.stderr)
        return 130
    except (ValueError, OSError, MemoryError) as error:  # a DataError is a ValueError
        if options.traceback:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a terminal may lack letters that a file's names have
    sys.exit(main())
