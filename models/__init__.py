"""Model families: a folder each with its network, its loss and its settings; see ``models.family``."""
