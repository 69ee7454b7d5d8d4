"""Which files are taken for clips, by their names."""

VIDEO_EXTENSIONS = frozenset(
    "3gp avi flv m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogv ts webm wmv".split()  # noqa: SIM905 (one line, not sixteen)
)


def is_video_name(key: str) -> bool:
    """Tell whether the extension of a key or file name is that of a clip."""
    stem, _, last = key.rpartition("/")[2].rpartition(".")
    return bool(stem) and last.lower() in VIDEO_EXTENSIONS
