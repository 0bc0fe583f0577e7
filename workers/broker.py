"""The broker's process: title, log, signals, heartbeat. Run by `python -m bimodal.workers broker:main`."""

from __future__ import annotations

import contextlib
import gc
import logging
from pathlib import Path

from bimodal.broker.errors import BrokerError
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Heartbeat, Hello
from bimodal.broker.process import BrokerProcess
from bimodal.broker.readers import raise_descriptor_limit
from bimodal.workers.actor import BROKEN, DONE, REFUSED, Pulse, own, read_settings, set_up
from bimodal.workers.settings import BrokerSettings
from bimodal.workers.wakeup import signal_descriptor

log = logging.getLogger(__name__)


def main() -> int:
    """Run the broker until SIGTERM; returns the exit code."""
    settings = read_settings()
    stop = set_up(settings)
    raise_descriptor_limit()
    pulse = Pulse(settings)
    directory = Path(settings.directory)
    try:
        mine = own(settings, BrokerSettings)
        broker = BrokerProcess(
            directory,
            settings.name,
            settings.incarnation,
            mine.events,
            workers=mine.network.workers,
            pixels=mine.network.pixels,
            quality=mine.network.quality,
            expected=mine.expected,
            slots=Path(settings.slots),
        )
    except BrokerError as error:
        log.info("refused: %s", error)
        line = Mailbox(directory, settings.name, settings.incarnation, Hello(role="supervisor"))
        line.beat(pulse.now("failed", because=str(error)))
        line.close()
        return REFUSED

    descriptor = signal_descriptor()
    if descriptor is not None:
        broker.wake_on(descriptor)

    def beat() -> Heartbeat | None:
        return pulse.now("ready") if pulse.due else None

    gc.collect()
    gc.freeze()
    try:
        broker.run(lambda: not stop.asked, beat)
    except Exception:
        log.exception("an error of our own")
        return BROKEN
    finally:
        with contextlib.suppress(Exception):
            broker.close()
    return DONE
