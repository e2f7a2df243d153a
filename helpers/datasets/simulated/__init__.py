"""Simulated data: rendered objects, simulated neurons, written as a data file, the stand-in."""
