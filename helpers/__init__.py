"""Encoding models of macaque inferior temporal cortex: data, models, training, readouts, metrics, figures."""


def __getattr__(name):
    """EncodingModel, imported when it is asked for: with it come torch and the networks, which take seconds."""
    if name == "EncodingModel":
        from helpers.encoding import EncodingModel

        return EncodingModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
