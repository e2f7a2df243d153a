"""Training: recipes as data, and one loop for all stages."""
