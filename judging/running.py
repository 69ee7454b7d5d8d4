"""Running networks over the rows of an index, whatever they are asked about."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn

from core.errors import BadInputError, VeriframeError, unknown_name
from data.index import SampleIndex

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
ROWS_AT_ONCE = 1024  # rows of the index that are Python objects at a time

T = TypeVar("T")


class MemoryExhaustedError(VeriframeError):
    """The device has too little memory for a batch."""


def require_precision(name: str) -> None:
    """Check that ``name`` is one of ``PRECISIONS``.

    Raises:
        SettingsError: naming the closest one.
    """
    if name not in PRECISIONS:
        raise unknown_name("precision", name, PRECISIONS)


def read_ahead(
    load: Callable[[dict[str, Any]], T], index: SampleIndex, workers: int
) -> Iterator[tuple[dict[str, Any], T | BadInputError]]:
    """Load the rows of an index in its order, some ahead of their use.

    Args:
        load: what to do with a row, in one of several threads.
        index: the rows.
        workers: number of threads.

    Yields:
        Each row with what ``load`` returned, or with the ``BadInputError`` that it raised.
    """

    # Threads, not processes: decoding and reading release the interpreter lock, and nothing need be pickled.
    def outcome(future: Future[T]) -> T | BadInputError:
        try:
            return future.result()
        except BadInputError as error:
            return error

    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="read-ahead")
    ahead: deque[tuple[dict[str, Any], Future[T]]] = deque()
    try:
        for batch in index.table.to_batches(max_chunksize=ROWS_AT_ONCE):
            for row in batch.to_pylist():
                ahead.append((row, pool.submit(load, row)))
                if len(ahead) > workers:
                    first, future = ahead.popleft()
                    yield first, outcome(future)
        while ahead:
            first, future = ahead.popleft()
            yield first, outcome(future)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def inference_mode(device: torch.device, precision: str, batch: str) -> Iterator[None]:
    """Run networks as every evaluation does: no gradients, deterministic kernels, TF32 off, autocast for ``bf16`` only.

    Args:
        device: where the networks are.
        precision: a name of ``PRECISIONS``.
        batch: what it is made of, for the message when memory does not suffice.

    Raises:
        MemoryExhaustedError: when the device's memory does not suffice.
    """
    mixed = PRECISIONS[precision] is not torch.float32
    try:
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
            torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed),
        ):
            yield
    except torch.OutOfMemoryError as error:
        raise MemoryExhaustedError(
            f"out of memory on {device} with a batch of {batch}; lower batch_size, or judge in bf16"
        ) from error


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and every layer back into the mode it was in.

    Layer by layer: a frozen batch norm may be in evaluation mode within a network that trains.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
