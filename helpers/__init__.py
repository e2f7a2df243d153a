"""Encoding models of macaque inferior temporal cortex: data, models, training, readouts, metrics, figures."""
