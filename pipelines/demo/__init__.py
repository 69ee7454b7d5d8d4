"""The demonstration: the whole forgery pipeline on photographs that ship with scikit-image."""
