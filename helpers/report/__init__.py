"""Run the notebooks, render them as pages and as one sheet."""
