import os
import signal
import threading

import pytest

from components.train.termination import Termination


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_termination_exits_at_once_with_the_status_of_a_terminated_process():
    with pytest.raises(SystemExit) as caught, Termination():
        _terminate()
        raise AssertionError("it went on")
    assert caught.value.code == 143


def test_a_deferred_termination_waits_for_the_end_of_the_block():
    after = []
    with Termination() as termination:
        with pytest.raises(SystemExit) as caught, termination.deferred():
            _terminate()
            assert termination.requested
            after.append("the step's rest")
        assert caught.value.code == 143
    assert after == ["the step's rest"]


def test_an_error_in_a_deferred_block_is_not_replaced_by_the_exit():
    with Termination() as termination, pytest.raises(ValueError, match="mine"), termination.deferred():
        _terminate()
        raise ValueError("mine")


def test_afterwards_the_process_handles_the_signal_as_before():
    before = signal.getsignal(signal.SIGTERM)
    with Termination():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_in_another_thread_it_leaves_the_signal_alone():
    seen = []

    def body() -> None:
        with Termination() as termination:
            seen.append((signal.getsignal(signal.SIGTERM), termination.requested))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [(before, False)]
