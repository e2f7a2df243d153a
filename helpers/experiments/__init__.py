"""What is trained and how, as data; how much a profile runs; finished runs and the search."""
