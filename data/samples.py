"""The identity of a sample; apart from the index, so that workers need not load what reads and writes one."""

import hashlib


def sample_id(media_id: str, frame: int = 0, track: int = -1) -> str:
    """Return the 24-hex-digit id of a sample: a function of medium, frame and track alone, safe in any file name."""
    return hashlib.sha256(f"{media_id}\n{frame}\n{track}".encode()).hexdigest()[:24]
