"""Publication: a bundle becomes a release, if the gate lets it."""
