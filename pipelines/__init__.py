"""The pipeline graphs, their recipes, and the command line that compiles, runs and submits them."""
