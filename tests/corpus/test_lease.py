"""The lease of results at an address: one driver at a time, whatever dies, without clocks that agree."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import msgspec
import pytest

from bimodal.corpus.lease import LEASE, Lease, LeaseHeldError, me
from bimodal.corpus.store import Store

pytest.importorskip("fsspec")
TERM_S, SETTLE_S = 0.8, 0.05


@pytest.fixture
def store() -> Iterator[Store]:
    found = Store("memory://leases/out")
    yield found
    found.system.rm("/", recursive=True)


def lease(store: Store) -> Lease:
    return Lease(store, term_s=TERM_S, settle_s=SETTLE_S)


def test_one_driver_holds_it_and_gives_it_back(store: Store) -> None:
    one, two = lease(store), lease(store)
    one.take()
    waits: list[str] = []
    with pytest.raises(LeaseHeldError, match=r"^process \d+ on .* is writing to memory://leases/out"):
        two.take(waits.append)
    assert "was last written by process" in waits[0]
    assert one.lost is None
    one.close()
    assert store.read(LEASE) is None
    two.take()
    two.close()


def test_a_lease_that_nobody_renews_is_free_after_its_term(store: Store) -> None:
    store.put(LEASE, msgspec.json.encode(msgspec.structs.replace(me(), machine="another")))
    begun = time.monotonic()
    mine = lease(store)
    mine.take()
    assert time.monotonic() - begun >= TERM_S
    mine.close()


def test_a_dead_process_of_this_machine_is_not_waited_for(store: Store) -> None:
    store.put(LEASE, msgspec.json.encode(msgspec.structs.replace(me(), born=1.0)))
    mine = lease(store)
    mine.take(lambda sentence: pytest.fail(sentence))
    mine.close()


def test_what_is_no_lease_counts_as_one_that_nobody_renews(store: Store) -> None:
    store.put(LEASE, b"nonsense")
    mine = lease(store)
    mine.take()
    mine.close()


def test_who_lost_it_is_told_and_leaves_the_others_lease_alone(store: Store) -> None:
    mine = lease(store)
    mine.take()
    other = msgspec.json.encode(msgspec.structs.replace(me(), machine="another"))
    store.put(LEASE, other)
    end = time.monotonic() + 30
    while mine.lost is None and time.monotonic() < end:
        time.sleep(0.02)
    assert mine.lost == "another run has taken over memory://leases/out"
    mine.close()
    assert store.read(LEASE) == other


def test_of_many_at_once_one_gets_it(store: Store) -> None:
    leases = [lease(store) for _ in range(5)]
    got, refused = [], []

    def take(one: Lease) -> None:
        try:
            one.take()
            got.append(one)
        except LeaseHeldError:
            refused.append(one)

    threads = [threading.Thread(target=take, args=(one,)) for one in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 4)
    got[0].close()
