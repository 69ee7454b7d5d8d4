"""The options of all tasks as one query, which no task has to know of."""

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field

from bundle.analyzers import NoOptions, Served
from bundle.faces.documents import FaceOptions
from bundle.regions.documents import PictureOptions
from bundle.task import BUNDLE_TASKS
from serving.options import query_model


class LouderOptions(BaseModel):
    heatmaps: int = Field(default=3, ge=0, le=9)


def served(*options: type[BaseModel]) -> list[Served]:
    return [Served(NoOptions, ("inference", "queue"), ("judged",), one) for one in options]


def test_a_query_is_an_instance_of_the_options_of_every_task() -> None:
    query = query_model([BUNDLE_TASKS.get(name).served for name in BUNDLE_TASKS.names()])(mask=False)
    assert isinstance(query, PictureOptions)
    assert isinstance(query, FaceOptions)
    assert (query.mask, query.heatmaps) == (False, 3)


def test_a_task_without_options_adds_none() -> None:
    assert set(query_model(served(NoOptions, PictureOptions, NoOptions)).model_fields) == {"mask"}


def test_tasks_that_mean_different_things_by_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"LouderOptions\.heatmaps"):
        query_model(served(FaceOptions, LouderOptions))


def test_each_option_is_described_in_the_document(client: TestClient) -> None:
    parameters = client.get("/openapi.json").json()["paths"]["/v1/analyze"]["post"]["parameters"]
    described = {one["name"]: (one["in"], one["schema"]["default"], one["description"]) for one in parameters}
    assert described == {
        "mask": ("query", True, PictureOptions.model_fields["mask"].description),
        "heatmaps": ("query", 3, FaceOptions.model_fields["heatmaps"].description),
    }
