"""Where source asks which task, layout or kind of recipe it has, instead of asking the object.

``python -m tests.questions [ROOT]`` counts them in all of a checkout but its tests and benchmarks, and lists them.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

TASK_NAMES = {"regions", "faces", "events", "segmentation", "classification"}
ASKED = {"task", "holds", "view"}  # attributes that are looked up in a registry, never compared
KINDS = ("Recipe", "Settings", "Layout", "Analyzer", "Task", "Member", "Export", "View", "Family", "Decision")


def name_of(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_literal(node: ast.AST) -> bool:
    return isinstance(node, ast.Tuple | ast.Set) or (isinstance(node, ast.Constant) and node.value is not None)


def questions(path: Path) -> Iterator[int]:
    """Yield the lines at which a file compares with a task's name, or asks of which kind a recipe or the like is."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            constants = {side.value for side in sides if isinstance(side, ast.Constant)}
            asked = {name_of(side) for side in sides} & ASKED
            literals = asked and any(_is_literal(side) for side in sides)
            if constants & TASK_NAMES or literals:
                yield node.lineno
        elif isinstance(node, ast.Call) and name_of(node.func) == "isinstance" and len(node.args) == 2:
            names = {name_of(part) for part in ast.walk(node.args[1])}
            if any(name.endswith(KINDS) for name in names):
                yield node.lineno
        elif isinstance(node, ast.match_case) and any(
            isinstance(part, ast.Constant) and part.value in TASK_NAMES for part in ast.walk(node.pattern)
        ):
            yield node.pattern.lineno


def main() -> None:
    """Print each question and their number."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    skipped = {"tests", "bench", "build", ".venv"}
    files = sorted(path for path in root.rglob("*.py") if not skipped & set(path.relative_to(root).parts))
    found = [f"{path.relative_to(root)}:{line}" for path in files for line in questions(path)]
    sys.stdout.write("".join(f"{line}\n" for line in found) + f"{len(found)}\n")


if __name__ == "__main__":
    main()
