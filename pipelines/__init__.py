"""The graph of all pipelines, their recipes, and the command line that compiles, runs and submits them."""
