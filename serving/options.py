"""What requests may ask of an analysis: the options of all tasks, as one model of query parameters."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, create_model

from bundle.analyzers import Served


def query_model(served: Sequence[Served]) -> Any:
    """Return a model of the query: an instance of it is an instance of every task's own options.

    A task leaves alone what it has not got, so that a client need not know of which task a bundle is.

    Raises:
        ValueError: when tasks mean different things by one name.
    """
    bases = tuple(dict.fromkeys(task.options for task in served))
    fields: dict[str, str] = {}
    for base in bases:
        for name, field in base.model_fields.items():
            if fields.setdefault(name, repr(field)) != repr(field):
                raise ValueError(f"{base.__name__}.{name}: another task has an option of this name that differs")
    return create_model("AnalysisOptions", __base__=bases or BaseModel)
