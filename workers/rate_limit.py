"""Rate limits: a bucket of tokens, and one for each client of a server. Pure: `now_s` is a monotonic clock."""

from __future__ import annotations

from collections import OrderedDict


class TokenBucket:
    """Rate limit: `rate` a second, and `burst_s` seconds' worth at once after a pause. Pure.

    A congested network delivers late and then all at once, so the burst is generous.
    """

    def __init__(self, rate: float, burst_s: float, now_s: float) -> None:
        self._rate, self._most = rate, rate * burst_s
        self._left, self._at_s = self._most, now_s

    def take(self, amount: float, now_s: float) -> bool:
        """Take `amount` and return True, or take nothing where that would exceed the limit."""
        self._left = min(self._most, self._left + self._rate * max(0.0, now_s - self._at_s))
        self._at_s = max(self._at_s, now_s)
        if amount > self._left:
            return False
        self._left -= amount
        return True

    def wait_s(self, amount: float, now_s: float) -> float:
        """Seconds until `amount` can be taken; 0 where it can be now."""
        left = min(self._most, self._left + self._rate * max(0.0, now_s - self._at_s))
        return max(0.0, (min(amount, self._most) - left) / self._rate)


class ClientLimits:
    """A bucket for each of the newest clients; of those that were forgotten, each begins with a full one."""

    def __init__(self, rate: float, burst_s: float, most_clients: int = 1024) -> None:
        # One at least may come at once.
        self._rate, self._burst_s, self._most = rate, max(burst_s, 1 / rate), most_clients
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def _bucket(self, client: str, now_s: float) -> TokenBucket:
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = self._buckets[client] = TokenBucket(self._rate, self._burst_s, now_s)
        self._buckets.move_to_end(client)
        while len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return bucket

    def take(self, client: str, now_s: float) -> float:
        """Take one request of a client. Returns 0, or the seconds after which the next one is taken."""
        bucket = self._bucket(client, now_s)
        return 0.0 if bucket.take(1.0, now_s) else bucket.wait_s(1.0, now_s)
