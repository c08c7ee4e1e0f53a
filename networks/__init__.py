"""The networks of the papers: what it takes to train, convert and reproduce each."""
