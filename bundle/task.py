"""The half of a task that a server needs; imports no torch.

A task has a sub-package of ``bundle`` whose ``__init__`` exposes ``TASK``, an instance of a sub-class of
``BundleTask``. The other half, which trains and evaluates, is the sub-package of ``tasks`` of the same name.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from bundle.analyzers import Analyzer, Served, Workbench
from bundle.document import Bundle
from bundle.reading import VerifiedBundle
from bundle.runtimes import Networks
from core.registry import Registry
from core.settings import Settings


class BundleTask(ABC):
    """What differs between tasks in a bundle and in what is made of its networks' outputs."""

    name: ClassVar[str]
    """Also of the sub-package."""
    decision: ClassVar[type[Settings]]
    """From when on the task speaks up: what export chooses on val, for the ensemble and for each member."""
    served: ClassVar[Served]
    """What a server must know of the task before it has a bundle."""
    file_options: ClassVar[type[Settings]] = Settings
    """What ``analyze_file`` may be asked besides: options of the command line, each with its description."""

    @abstractmethod
    def check(self, bundle: Bundle) -> None:
        """Check what the schema alone cannot.

        Raises:
            ValueError: saying what is wrong.
        """

    @abstractmethod
    def analyze_file(
        self, bundle: Bundle, networks: Mapping[str, Networks], data: bytes, options: Settings
    ) -> dict[str, Any]:
        """Analyze a file for the command line.

        Args:
            bundle: whose networks these are.
            networks: opened, by member.
            data: content of the file.
            options: an instance of ``file_options``.

        Returns:
            What is printed as JSON.

        Raises:
            BadInputError: when the file is no medium that the task takes.
        """

    @abstractmethod
    def analyzer(self, bundle: VerifiedBundle, workbench: Workbench) -> Analyzer[Any]:
        """Build what analyzes media for a server.

        Args:
            bundle: verified.
            workbench: what the server lends.
        """


BUNDLE_TASKS: Registry[BundleTask] = Registry("bundle", "TASK", "task", folders=True)
