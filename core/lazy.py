"""References to what is imported only when it is called, so that a declaration costs no heavy import."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


class Lazy:
    """A callable given as ``package.module:name``; calling it imports the module and calls what it names."""

    def __init__(self, reference: str) -> None:
        self.reference = reference

    def resolve(self) -> Any:
        """Import and return what the reference names."""
        module, _, name = self.reference.partition(":")
        return getattr(import_module(module), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call what the reference names."""
        return self.resolve()(*args, **kwargs)

    def __repr__(self) -> str:
        return f"Lazy({self.reference!r})"


def import_now(*functions: Callable[..., Any]) -> None:
    """Import what each of the functions needs that is a reference; others are there already."""
    for function in functions:
        if isinstance(function, Lazy):
            function.resolve()
