from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def fixed_commit() -> Iterator[None]:
    """Checkpoints carry the code's commit; files are only comparable while it stays the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERIFRAME_GIT_SHA", "0" * 40)
        yield
