"""Readouts of frozen networks: features and their Gram matrices, ridge and its kin, similarity."""
