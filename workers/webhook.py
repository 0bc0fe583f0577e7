"""Posts events to an address over HTTP: signed, tried again, from a bounded queue; docs/webhook.md."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import logging
import threading
import time
import uuid
from collections import deque
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec

from bimodal.broker.events import Changes, Emotion, Stretch
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body
from bimodal.workers.actor import ActorSettings, own
from bimodal.workers.backoff import BackOff
from bimodal.workers.errors import WorkerError
from bimodal.workers.observer import Observer
from bimodal.workers.outgoing import in_words, trusted
from bimodal.workers.output_settings import WebhookSettings
from bimodal.workers.redaction import remember_address, remember_secret, shown_address

log = logging.getLogger(__name__)

TOLD_S = 60.0
"""Deliveries that were dropped or refused are told so long."""
CLOSE_WITHIN_S = 1.0


class WebhookActor(Observer):
    """Queue segments and changes; a thread of its own posts them, so that a dead receiver delays nobody."""

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        """Start the thread. Raises WorkerError where `secret` or `ca` can't be used."""
        mine = own(settings, WebhookSettings)
        remember_secret(mine.secret or "")
        remember_address(mine.url)
        self.topics = tuple(
            topic
            for topic, wanted in (("emotion.", ("changes", "both")), ("segment.", ("segments", "both")))
            if mine.send in wanted
        )
        self._changes = Changes()
        self._encoder = msgspec.json.Encoder()
        self._outbox = Outbox(mine.queue, shown_address(mine.url))
        self._posting = Posting(self._outbox, Receiver(mine))
        super().__init__(settings, mailbox)

    def on_event(self, event: Emotion) -> None:
        """Queue an event that says something new."""
        if self._changes.new(event):
            self._add(event)

    def on_message(self, body: Body) -> None:
        """Queue a segment."""
        if isinstance(body, Stretch):
            self.events += 1
            self._add(body)

    def _add(self, body: Emotion | Stretch) -> None:
        self._posting.add(Delivery(f"msg_{uuid.uuid4().hex}", self._encoder.encode(body)))

    def figures(self) -> dict[str, float]:
        """Deliveries done, waiting, dropped and refused."""
        return self._posting.figures()

    def degraded_reason(self) -> str | None:
        """Say that the receiver is away or refuses, and what was dropped."""
        return self._posting.trouble()

    def close(self) -> None:
        """Stop; what waits is lost, and the log says how much that is."""
        super().close()
        self._posting.close()


# Deliveries, and the queue of them. Pure: `now` is the monotonic clock in seconds.


class Delivery(NamedTuple):
    """One message: its id, the same in every try, and its body as JSON."""

    id: str
    body: bytes


class Answer(NamedTuple):
    """What became of one try.

    Attributes:
        verdict: `taken`; `again`: it may be taken later; `away`: nobody answered; `refused`: it never will be.
        said: what happened, in a few words.
        wait_s: how long the receiver asks us to wait.
    """

    verdict: Literal["taken", "again", "away", "refused"]
    said: str = ""
    wait_s: float | None = None


MOST_TRIES = 8
"""Of one delivery that the receiver answers with an error; where nobody answers, it waits for as long as it takes."""
LONGEST_WAIT_S = 300.0


def judged(status: int, reason: str, retry_after: str | None) -> Answer:
    """What a receiver's answer means."""
    said = f"{status} {reason}".strip()
    wait_s = min(float(retry_after), LONGEST_WAIT_S) if retry_after is not None and retry_after.isdigit() else None
    if 200 <= status < 300:
        return Answer("taken")
    if status in (408, 425, 429) or status >= 500:
        return Answer("again", said, wait_s)
    if 300 <= status < 400:
        return Answer("refused", f"{said}; redirects are not followed: put the new address into outputs.webhook")
    return Answer("refused", said)


class Outbox:
    """Deliveries that wait for the receiver, the oldest first, and what is told of them.

    Attributes:
        done, dropped, refused: deliveries taken by the receiver; dropped because the queue was full or after the last
            try; refused by it.
    """

    def __init__(self, most: int, place: str) -> None:
        """`place`: the address, as it may be shown."""
        self.done = self.dropped = self.refused = 0
        self._most, self._place = most, place
        self._waiting: deque[Delivery] = deque()
        self._tries = 0
        self._backoff = BackOff()
        self._due_at = float("-inf")
        self._problem: str | None = None
        self._lost_at = float("-inf")
        self._why_lost = ""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, delivery: Delivery, now: float) -> None:
        """Queue a delivery; the oldest one makes room where there is none."""
        if len(self._waiting) >= self._most:
            self._waiting.popleft()
            self._tries = 0
            self._drop(now, f"the queue of {self._most} was full")
        self._waiting.append(delivery)

    def next(self, now: float) -> Delivery | None:
        """The delivery to try now."""
        return self._waiting[0] if self._waiting and now >= self._due_at else None

    def wait_s(self, now: float) -> float | None:
        """Seconds until the next try is due; None while nothing waits."""
        return max(0.0, self._due_at - now) if self._waiting else None

    def answered(self, delivery: Delivery, answer: Answer, now: float) -> None:
        """Take what became of a try."""
        if not self._waiting or self._waiting[0] is not delivery:
            self._backoff.reset()  # it was dropped meanwhile
            return
        match answer.verdict:
            case "taken":
                self._waiting.popleft()
                self.done += 1
                self._tries, self._problem = 0, None
                self._backoff.reset()
            case "refused":
                self._waiting.popleft()
                self.refused += 1
                self._tries, self._problem = 0, None
                self._lost_at, self._why_lost = now, f"it answered {answer.said}"
                self._backoff.reset()
            case "again" | "away":
                self._tries += answer.verdict == "again"
                wait_s = max(answer.wait_s or 0.0, self._backoff.next())
                self._due_at = now + wait_s
                self._problem = answer.said
                if self._tries >= MOST_TRIES:
                    self._waiting.popleft()
                    self._tries = 0
                    self._drop(now, f"it answered {answer.said} {MOST_TRIES} times")

    def _drop(self, now: float, why: str) -> None:
        self.dropped += 1
        self._lost_at, self._why_lost = now, why

    def trouble(self, now: float) -> str | None:
        """Why deliveries don't arrive, and how many are lost, in one sentence."""
        parts = []
        if self._problem is not None:
            parts.append(f"{self._place} takes no deliveries: {self._problem}; {len(self._waiting)} wait, trying again")
        if now - self._lost_at < TOLD_S:
            lost = self.dropped + self.refused
            parts.append(f"{lost} deliveries to {self._place} are lost: {self._why_lost}")
        return "; ".join(parts) or None


# Signatures, as of https://www.standardwebhooks.com: receivers in many languages check them with its libraries.


def key_of(secret: str) -> bytes:
    """The key in a secret: base64 after `whsec_`, else the text itself. Raises WorkerError for bad base64."""
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise WorkerError("outputs.webhook.secret begins with whsec_, but what follows is no base64") from error


def signed_headers(delivery: Delivery, timestamp: int, key: bytes | None) -> dict[str, str]:
    """The headers of a delivery at `timestamp`, in seconds since 1970."""
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "bimodal",
        "webhook-id": delivery.id,
        "webhook-timestamp": str(timestamp),
    }
    if key is not None:
        signed = f"{delivery.id}.{timestamp}.".encode() + delivery.body
        mark = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        headers["webhook-signature"] = f"v1,{mark}"
    return headers


# The thread that posts.


class Receiver:
    """The address that deliveries are posted to; its connection is kept open. For one thread."""

    def __init__(self, settings: WebhookSettings) -> None:
        """Raises WorkerError where `secret` or `ca` can't be used."""
        parts = urlsplit(settings.url)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._key = key_of(settings.secret) if settings.secret is not None else None
        host = parts.hostname or ""
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = trusted("outputs.webhook.ca", settings.ca)
            self._connection = http.client.HTTPSConnection(
                host, parts.port, timeout=settings.timeout_s, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(host, parts.port, timeout=settings.timeout_s)

    def post(self, delivery: Delivery) -> Answer:
        """Try to deliver, over a new connection where the kept one was closed meanwhile."""
        kept = self._connection.sock is not None
        try:
            return self._post(delivery)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            self._connection.close()
            if not kept:
                return Answer("away", in_words(error))
        except FAILURES as error:
            self._connection.close()
            return Answer("away", in_words(error))
        try:
            return self._post(delivery)
        except FAILURES as error:
            self._connection.close()
            return Answer("away", in_words(error))

    def _post(self, delivery: Delivery) -> Answer:
        headers = signed_headers(delivery, int(time.time()), self._key)
        self._connection.request("POST", self._target, delivery.body, headers)
        response = self._connection.getresponse()
        response.read1(MOST_ANSWER)
        response.close()
        if response.length != 0:  # there is more of it, or it has no length
            self._connection.close()
        return judged(response.status, response.reason, response.getheader("Retry-After"))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


FAILURES = (OSError, http.client.HTTPException, ValueError)
# Bytes of an answer's body, which nobody needs.
MOST_ANSWER = 64 * 1024


class Posting:
    """Posts what the outbox holds, in a thread of its own."""

    def __init__(self, outbox: Outbox, receiver: Receiver) -> None:
        self._outbox, self._receiver = outbox, receiver
        self._changed = threading.Condition()
        self._stopped = self._told_full = False
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._thread.start()

    def add(self, delivery: Delivery) -> None:
        """Queue a delivery."""
        with self._changed:
            dropped = self._outbox.dropped
            self._outbox.add(delivery, time.monotonic())
            self._changed.notify()
        if self._outbox.dropped > dropped and not self._told_full:
            log.warning("%s", self.trouble())
        self._told_full = self._outbox.dropped > dropped

    def figures(self) -> dict[str, float]:
        """Deliveries done, waiting, dropped and refused."""
        with self._changed:
            outbox = self._outbox
            counts = {"done": outbox.done, "waiting": len(outbox), "dropped": outbox.dropped, "refused": outbox.refused}
        return {name: float(count) for name, count in counts.items()}

    def trouble(self) -> str | None:
        """Why deliveries don't arrive."""
        with self._changed:
            return self._outbox.trouble(time.monotonic())

    def _run(self) -> None:
        told: str | None = None
        while (delivery := self._next()) is not None:
            answer = self._receiver.post(delivery)
            with self._changed:
                self._outbox.answered(delivery, answer, time.monotonic())
            if answer.said and answer.said != told:
                log.warning("a delivery to the webhook failed: %s", answer.said)
            told = answer.said
        self._receiver.close()

    def _next(self) -> Delivery | None:
        """Wait for the next delivery that is due; None once we are stopped."""
        with self._changed:
            while not self._stopped:
                now = time.monotonic()
                found = self._outbox.next(now)
                if found is not None:
                    return found
                self._changed.wait(self._outbox.wait_s(now))
        return None

    def close(self) -> None:
        """Stop, and say in the log how many deliveries are lost."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join(CLOSE_WITHIN_S)
        left = len(self._outbox)
        if left:
            log.warning("%d deliveries to the webhook were not sent before the end", left)
