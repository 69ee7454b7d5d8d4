"""What was chosen on val, and what it was chosen among."""

from dataclasses import dataclass, field
from typing import Any

from core.settings import Settings


@dataclass(frozen=True)
class Choice:
    """A chosen decision.

    Attributes:
        decision: of the task's class, such as a threshold and a minimum area.
        meets_ceiling: whether the false-positive rate on authentic media is at or below the ceiling.
        note: one sentence that says how the choice came about.
        figures: the figures there on val, by name.
        curves: what else it was chosen among, for reports; the task's own.
    """

    decision: Settings
    meets_ceiling: bool
    note: str
    figures: dict[str, float]
    curves: list[Any] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return what ``operating_point.json`` and ``metrics.json`` hold."""
        return {
            **self.decision.model_dump(mode="json"),
            "meets_ceiling": self.meets_ceiling,
            "note": self.note,
            "val": self.figures,
        }
