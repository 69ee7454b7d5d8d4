"""The layouts there are, a module each; see ``data.layout``."""
