"""The views there are, a module each; see ``media.view``."""
