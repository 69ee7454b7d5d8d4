"""Telling by a container's own sizes whether the end of a file is missing; FFmpeg reads what is left without a word."""

import os
from typing import BinaryIO

_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"moof", b"free", b"skip", b"wide", b"sidx", b"mfra", b"meta", b"uuid"})
_SEGMENT = b"\x18\x53\x80\x67"


def missing_bytes(stream: BinaryIO, container: str) -> int:
    """Return how many bytes a file lacks of what its container says there are; 0 where it does not say.

    Args:
        stream: the file, seekable.
        container: FFmpeg's name of its format; transport streams, for one, never say.
    """
    size = stream.seek(0, os.SEEK_END)
    end = {"mov": _mov_end, "matroska": _matroska_end, "avi": _avi_end}.get(container)
    missing = 0 if end is None else max(0, end(stream, size) - size)
    stream.seek(0)
    return missing


def _mov_end(stream: BinaryIO, size: int) -> int:
    """Walk the boxes of ISO/IEC 14496-12, up to the first that is none: some writers leave waste at the end."""
    place = 0
    while place + 8 <= size:
        stream.seek(place)
        head = stream.read(16)
        length = int.from_bytes(head[:4], "big")
        if head[4:8] not in _BOXES or length == 0:  # 0: to the end of the file, wherever that is
            return size
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:
            return size
        place += length
    return place


def _matroska_end(stream: BinaryIO, size: int) -> int:
    """Read where the segment ends (RFC 8794); that of a live stream has no known size."""
    stream.seek(0)
    head = stream.read(4096)
    length, begin = _variable_size(head, 4)
    place = begin + length
    if head[place : place + 4] != _SEGMENT:
        return size
    length, begin = _variable_size(head, place + 4)
    return size if length < 0 else begin + length


def _variable_size(data: bytes, place: int) -> tuple[int, int]:
    """Return a size of EBML, -1 where it is unknown, and where what it measures begins."""
    if place >= len(data) or data[place] == 0:
        return -1, place + 1
    width = 9 - data[place].bit_length()
    value = int.from_bytes(data[place : place + width], "big") & ((1 << 7 * width) - 1)
    return (-1 if value == (1 << 7 * width) - 1 else value), place + width


def _avi_end(stream: BinaryIO, size: int) -> int:
    stream.seek(4)
    length = int.from_bytes(stream.read(4), "little")
    return length + 8 if length else size
