"""One module per question that a notebook asks."""
