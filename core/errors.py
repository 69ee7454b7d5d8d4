"""Errors that a person is meant to read: each names the thing at fault and what to do about it."""

import difflib
from collections.abc import Iterable


class VeriframeError(Exception):
    """Base of every error the project raises on purpose; command lines print it without a traceback."""


class BadInputError(VeriframeError):
    """One input (a picture, a mask, a clip) cannot be used; ``reason`` is a short stable code for counting.

    Args:
        reason: one of a step's documented codes, such as ``truncated`` or ``mask-size``.
        detail: a sentence for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["BadInputError"], tuple[str, str]]:
        # Exceptions cross process boundaries; the default would call __init__ with the message alone.
        return (type(self), (self.reason, self.detail))


class SettingsError(VeriframeError):
    """A recipe or a setting is wrong; the message names key, value and what was allowed."""


class MismatchError(VeriframeError):
    """Two artifacts that must agree (specification, hash, classes) do not; the message names both sides."""


class StorageError(VeriframeError):
    """An object or file could not be read or written; the message names the URI and what to do."""


def unknown_name(kind: str, given: str, allowed: Iterable[str]) -> SettingsError:
    """Build the error for a name that is in no registry, with a suggestion where one is close.

    Args:
        kind: what the name is of, for example ``layout``.
        given: the name as it was written.
        allowed: the names that exist.
    """
    names = sorted(allowed)
    close = difflib.get_close_matches(given, names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return SettingsError(f"unknown {kind} {given!r}.{hint} Known: {', '.join(names) or 'none'}.")
