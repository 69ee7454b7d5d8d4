"""One folder a model family: its network, its loss and the schema of its settings."""
