"""Pixels and sound: decoding, faces, forging, self-blending, transforms, and what networks see of them."""
