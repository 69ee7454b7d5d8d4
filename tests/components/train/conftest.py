import multiprocessing
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext

import pytest


@pytest.fixture(scope="session", autouse=True)
def fixed_commit() -> Iterator[None]:
    """Checkpoints carry the code's commit; files are only comparable while it stays the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERIFRAME_GIT_SHA", "0" * 40)
        yield


@pytest.fixture(scope="session")
def clean_processes(fixed_commit: None) -> ForkServerContext:
    """Start processes that have all modules already, but in which nothing has run yet.

    They are forked from a server, not from here, where earlier tests have used autograd: its threads do not survive
    a fork.
    """
    context = multiprocessing.get_context("forkserver")
    networks = ["models.forgery.network", "models.spotter.network"]
    tasks = [f"tasks.{task}.{part}" for task in ("faces", "regions") for part in ("training", "validation")]
    context.set_forkserver_preload(["components.train.__main__", "components.train.step", *networks, *tasks])
    return context
