import pytest

from serving.service import share_threads
from serving.settings import ServerSettings


@pytest.mark.parametrize(
    ("options", "passes", "threads"),
    [
        ({"threads": 4}, 2, 2),
        ({"threads": 1}, 1, 1),
        ({"threads": 3, "passes": 3}, 3, 1),
        ({"threads": 2, "passes": 4}, 4, 1),
        ({"threads": 8, "device": "cuda"}, 1, 8),
    ],
)
def test_forward_passes_share_the_threads(options: dict[str, object], passes: int, threads: int) -> None:
    settings = ServerSettings.model_validate({"bundle": "b"} | options)
    assert share_threads(settings) == (passes, threads)
