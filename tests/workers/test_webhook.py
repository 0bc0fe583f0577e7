"""Deliveries to a webhook: signed, tried again, bounded, and what is told when they don't arrive."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.events import Stretch, Verdict
from bimodal.workers.errors import WorkerError
from bimodal.workers.output_settings import WebhookSettings
from bimodal.workers.webhook import (
    LONGEST_WAIT_S,
    MOST_TRIES,
    TOLD_S,
    Answer,
    Delivery,
    Outbox,
    WebhookActor,
    judged,
    key_of,
    signed_headers,
)
from tests.http_server import serving
from tests.workers.on_a_bus import OnABus
from tests.workers.test_lsl_samples import event, face, sure

SECRET = "a-secret-of-the-hook"
HAPPY = Verdict(label="happy", confidence=0.8, probabilities=sure("happy", 0.8))
SEGMENT = Stretch(
    stream="desk", kind="face", start=1.0, end=2.5, track=3, channel=None, label="happy", confidence=0.5, peak=0.9,
    frames=30,
)  # fmt: skip


def delivery(number: int) -> Delivery:
    return Delivery(f"msg_{number}", b"{}")


# ------------------------------------------------------------------------------------ answers


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(200, "taken"), (204, "taken"), (301, "refused"), (400, "refused"), (401, "refused"), (410, "refused"),
     (408, "again"), (429, "again"), (500, "again"), (503, "again")],
)  # fmt: skip
def test_what_an_answer_means(status: int, verdict: str) -> None:
    assert judged(status, "Reason", None).verdict == verdict


def test_how_long_the_receiver_asks_to_wait_is_kept_to_within_bounds() -> None:
    assert judged(429, "", "7").wait_s == 7
    assert judged(503, "", "99999999").wait_s == LONGEST_WAIT_S
    assert judged(503, "", "Wed, 21 Oct 2026 07:28:00 GMT").wait_s is None
    assert "put the new address into outputs.webhook" in judged(308, "Permanent Redirect", None).said


# ------------------------------------------------------------------------------------ the queue


def test_a_delivery_is_tried_again_with_growing_waits_until_it_is_taken() -> None:
    outbox = Outbox(8, "http://x/")
    outbox.add(delivery(1), 0.0)
    now, waits = 0.0, []
    for _ in range(6):
        found = outbox.next(now)
        assert found == delivery(1)
        outbox.answered(found, Answer("away", "connection refused"), now)
        wait_s = outbox.wait_s(now)
        assert wait_s is not None
        assert outbox.next(now + wait_s * 0.9) is None
        waits.append(wait_s)
        now += wait_s
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
    assert outbox.trouble(now) == "http://x/ takes no deliveries: connection refused; 1 wait, trying again"
    outbox.answered(found, Answer("taken"), now)
    assert (outbox.done, len(outbox), outbox.trouble(now), outbox.wait_s(now)) == (1, 0, None, None)


def test_nobody_there_costs_no_delivery_but_errors_do_after_some_tries() -> None:
    outbox = Outbox(8, "http://x/")
    outbox.add(delivery(1), 0.0)
    for tried in range(MOST_TRIES * 3):
        found = outbox.next(tried * 1000.0)
        assert found is not None
        outbox.answered(found, Answer("away", "connection refused"), tried * 1000.0)
    now = 10**6
    for tried in range(MOST_TRIES):
        found = outbox.next(now + tried * 1000.0)
        assert found == delivery(1)
        outbox.answered(found, Answer("again", "500 Oops"), now + tried * 1000.0)
    assert (outbox.dropped, len(outbox)) == (1, 0)


def test_a_refusal_and_a_full_queue_are_told_for_a_while() -> None:
    outbox = Outbox(2, "http://x/")
    for number in range(5):
        outbox.add(delivery(number), 0.0)
    assert outbox.dropped == 3
    assert outbox.next(0.0) == delivery(3)
    assert outbox.trouble(1.0) == "3 deliveries to http://x/ are lost: the queue of 2 was full"
    outbox.answered(delivery(0), Answer("taken"), 1.0)
    assert (outbox.done, len(outbox)) == (0, 2), "that was dropped while it was being tried"
    found = outbox.next(1.0)
    assert found is not None
    outbox.answered(found, Answer("refused", "401 Unauthorized"), 1.0)
    assert outbox.trouble(2.0) == "4 deliveries to http://x/ are lost: it answered 401 Unauthorized"
    assert outbox.trouble(1.0 + TOLD_S) is None


@given(st.integers(1, 5), st.lists(st.sampled_from(["add", "taken", "again", "away", "refused"]), max_size=60))
def test_every_delivery_is_waiting_done_dropped_or_refused(most: int, steps: list[str]) -> None:
    outbox, added, now = Outbox(most, "x"), 0, 0.0
    for step in steps:
        now += 100.0
        found = outbox.next(now)
        if step == "add":
            outbox.add(delivery(added), now)
            added += 1
        elif found is not None:
            outbox.answered(found, Answer(step, "said"), now)  # type: ignore[arg-type]
        assert len(outbox) <= most
        assert len(outbox) + outbox.done + outbox.dropped + outbox.refused == added


# ------------------------------------------------------------------------------------ signatures


def test_a_signature_is_that_of_standard_webhooks() -> None:
    # The example of https://github.com/standard-webhooks: id.timestamp.body, HMAC-SHA256, base64.
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") == key
    one = Delivery("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}')
    headers = signed_headers(one, 1614265330, key)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"
    assert "webhook-signature" not in signed_headers(one, 1, None)


def test_what_the_docs_show_tells_a_genuine_delivery_from_others() -> None:
    page = Path(__file__).parents[2] / "docs" / "webhook.md"
    (snippet,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    shown: dict[str, Callable[..., bool]] = {}
    exec(snippet, shown)
    one, now = Delivery("msg_1", b'{"a": 1}'), int(time.time())
    headers = signed_headers(one, now, key_of(SECRET))
    assert shown["genuine"](headers, one.body, SECRET)
    assert not shown["genuine"](headers, b'{"a": 2}', SECRET)
    assert not shown["genuine"](headers, one.body, "another secret of it")
    assert not shown["genuine"](signed_headers(one, now - 3600, key_of(SECRET)), one.body, SECRET)


def test_a_secret_that_is_no_base64_is_named() -> None:
    assert key_of("plain text") == b"plain text"
    with pytest.raises(WorkerError, match="what follows is no base64"):
        key_of("whsec_!!!")


# ------------------------------------------------------------------------------------ a real receiver


class Hook:
    """A receiver that answers by a list, the last of it for ever; None closes the connection."""

    def __init__(self, *answers: int | None) -> None:
        self._answers = list(answers)
        self.tried: list[tuple[dict[str, str], bytes]] = []
        self.taken: list[dict[str, object]] = []

    def __call__(self, request: http.server.BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        self.tried.append(({key.lower(): value for key, value in request.headers.items()}, body))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer is None:
            request.connection.shutdown(socket.SHUT_RDWR)
            request.close_connection = True
            return
        if answer < 300:
            self.taken.append(json.loads(body))
        request.send_response(answer)
        request.send_header("Content-Length", "2")
        request.end_headers()
        request.wfile.write(b"ok")


@contextmanager
def hooked(folder: Path, hook: Hook, **how: object) -> Iterator[OnABus]:
    with serving(hook) as server:
        settings = WebhookSettings(url=f"http://127.0.0.1:{server.port}/hook?x=1", secret=SECRET, **how)  # type: ignore[arg-type]
        bus = OnABus(WebhookActor, folder, settings)
        try:
            yield bus
        finally:
            bus.close()


def test_a_receiver_that_fails_at_first_gets_every_delivery_signed_with_one_id(tmp_path: Path) -> None:
    hook = Hook(503, None, 200)
    with hooked(tmp_path, hook) as bus:
        bus.until(lambda: bus.actor.events, SEGMENT)
        bus.until(lambda: bus.actor.figures()["done"] >= 1)
        assert bus.actor.degraded_reason() is None
    first = hook.taken[0]
    assert (first["type"], first["label"], first["end"]) == ("segment", "happy", 2.5)
    ids = [headers["webhook-id"] for headers, _ in hook.tried]
    assert ids[0] == ids[1] == ids[2], "a delivery keeps its id, so that it can be told from another"
    for headers, body in hook.tried:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        mark = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{mark}"
        assert headers["content-type"] == "application/json"


def test_changes_are_sent_once(tmp_path: Path) -> None:
    hook = Hook(200)
    with hooked(tmp_path, hook, send="changes") as bus:
        happy = event(face(1, "happy", 0.8), verdict=HAPPY)
        bus.until(lambda: hook.taken, happy)
        bus.until(lambda: len(hook.taken) == 2, event())
        seen = [one["emotion"]["label"] for one in hook.taken]  # type: ignore[index]
        assert seen == ["happy", None]


def test_a_dead_receiver_is_told_and_delays_nobody(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        bus = OnABus(WebhookActor, tmp_path, WebhookSettings(url=url, queue=4, timeout_s=0.2))
        try:
            bus.until(lambda: bus.actor.figures()["dropped"] >= 3, SEGMENT)
            said: Callable[[], str] = lambda: str(bus.actor.degraded_reason())  # noqa: E731
            bus.until(lambda: "no answer in time" in said())
            assert "the queue of 4 was full" in said()
        finally:
            bus.close()
    assert [thread for thread in threading.enumerate() if thread.name == "webhook"] == [] or _ends()


def _ends() -> bool:
    """The thread may still wait for its last answer; it ends with that."""
    end = time.monotonic() + 20
    while any(thread.name == "webhook" for thread in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return True
