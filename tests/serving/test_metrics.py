from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from serving.app import create_app
from serving.metrics import seconds_buckets
from serving.service import Service


@given(st.lists(st.floats(1e-3, 1e5), min_size=1, max_size=4))
def test_bounds_rise_hold_every_limit_and_go_beyond_the_longest(limits: list[float]) -> None:
    bounds = seconds_buckets(limits)
    assert list(bounds) == sorted(set(bounds))
    assert set(limits) <= set(bounds)
    assert max(limits) < bounds[-1] <= max(2.5 * max(limits), 1e-3 * 2.5)
    assert bounds[0] == 1e-3
    assert max(after / before for before, after in pairwise(bounds)) <= 2.5 + 1e-9


@pytest.mark.parametrize("options", [{}, {"timeout": 45, "video_timeout": 700, "body_timeout": 60}])
def test_histograms_of_seconds_reach_beyond_the_configured_limits(
    make_service: Callable[..., Service], options: dict[str, float]
) -> None:
    service = make_service(**options)
    with TestClient(create_app(service)) as client:
        assert client.get("/v2").status_code == 200
        exposed = client.get("/metrics").text
    settings = service.settings
    whole = settings.body_timeout + max(settings.timeout, settings.video_timeout)
    for series in ('veriframe_request_seconds_bucket{le="', 'veriframe_stage_seconds_bucket{le="'):
        bounds = {
            float(line.split('le="')[1].split('"')[0]) for line in exposed.splitlines() if line.startswith(series)
        }
        finite = bounds - {float("inf")}
        assert {settings.timeout, settings.video_timeout, whole} <= finite
        assert max(finite) > whole
