"""A signal ends a wait that watches the pipe of signals."""

from __future__ import annotations

import select
import signal

import pytest

from bimodal.broker.mailbox import drain
from bimodal.workers.wakeup import signal_descriptor, wake_by_signals


def test_a_signal_makes_the_pipe_readable_until_it_is_drained() -> None:
    before = signal.getsignal(signal.SIGUSR2)
    signal.signal(signal.SIGUSR2, lambda *_: None)
    try:
        descriptor = wake_by_signals()
        assert descriptor == wake_by_signals() == signal_descriptor()
        drain(descriptor)
        assert not select.select([descriptor], [], [], 0)[0]
        signal.raise_signal(signal.SIGUSR2)
        assert select.select([descriptor], [], [], 0)[0] == [descriptor]
        drain(descriptor)
        assert not select.select([descriptor], [], [], 0)[0]
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_it_can_be_asked_for_in_the_main_thread_only(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from bimodal.workers import wakeup

    monkeypatch.setattr(wakeup, "_reader", None)
    errors: list[Exception] = []

    def attempt() -> None:
        try:
            wake_by_signals()
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert len(errors) == 1
