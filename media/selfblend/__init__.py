"""Self-blended pseudo-fakes: real faces, each blended with a transformed copy of itself (``blend.self_blend``)."""
