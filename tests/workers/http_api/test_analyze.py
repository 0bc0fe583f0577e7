"""Clips over real HTTP, with workers without models: the queue, the limits, and clips that kill their worker."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from bimodal.workers.http_api import analyze
from tests.workers.http_api.making import PATIENCE_S, Served, is_problem, until

Serve = Callable[..., Served]
LINES = {"accept": "application/x-ndjson"}


def post(served: Served, body: bytes | str, query: str = "", **headers: str) -> httpx.Response:
    return httpx.post(f"{served.address}/v1/analyze{query}", content=body, headers=headers, timeout=PATIENCE_S)


def test_a_clip_is_answered_whole_or_as_it_goes(serve: Serve) -> None:
    served = serve()
    whole = post(served, "3", "?name=talk")
    assert whole.headers["content-type"] == "application/json"
    found = whole.json()
    assert (found["name"], [one["seq"] for one in found["events"]], found["note"]) == ("talk", [0, 1, 2], None)
    lines = [json.loads(line) for line in post(served, "3", **LINES).text.splitlines()]
    assert [line["type"] for line in lines] == ["opened", "emotion", "emotion", "emotion", "end"]
    assert lines[-1]["frames"] == 3
    assert lines[0]["models"] == found["models"], "the same process, which has kept its models"
    curl = post(served, "1", **{"content-type": "application/x-www-form-urlencoded"})
    assert curl.status_code == 200, "as curl calls every body"


def test_what_is_wrong_with_a_request_is_said(serve: Serve) -> None:
    served = serve(limits={"max_mbytes": 1})
    assert "clip is no media file" in is_problem(post(served, "what?"), 422, "unreadable")["detail"]
    is_problem(post(served, b""), 400, "empty")
    is_problem(post(served, "1", "?chanel=left"), 400, "bad_parameter")
    is_problem(post(served, "1", "?channel=up"), 400, "bad_parameter")
    is_problem(post(served, "1", "?name=../x"), 400, "bad_parameter")
    is_problem(post(served, "1", accept="text/csv"), 406, "not_acceptable")
    form = httpx.post(f"{served.address}/v1/analyze", files={"file": b"1"}, timeout=PATIENCE_S)
    assert "-F" in is_problem(form, 415, "no_form")["detail"]
    is_problem(post(served, b"x" * 1_000_001), 413, "too_large")

    def pieces() -> object:
        yield from (b"x" * 100_000 for _ in range(20))

    undeclared = httpx.post(f"{served.address}/v1/analyze", content=pieces(), timeout=PATIENCE_S)  # type: ignore[arg-type]
    is_problem(undeclared, 413, "too_large")
    assert served.api.analyses.present == 0
    assert post(served, "1").status_code == 200


@pytest.mark.parametrize(("word", "code"), [("crash", "worker_ended"), ("hang", "takes_too_long")])
def test_a_clip_that_breaks_its_worker_breaks_nothing_else(serve: Serve, word: str, code: str) -> None:
    served = serve(limits={"max_seconds": 2.0})
    assert post(served, "1").status_code == 200
    is_problem(post(served, word), 500 if word == "crash" else 422, code)
    assert post(served, "1").status_code == 200


def test_a_clip_that_breaks_late_ends_its_lines_with_the_problem(serve: Serve) -> None:
    lines = [json.loads(line) for line in post(serve(), "late", **LINES).text.splitlines()]
    assert [line["type"] for line in lines] == ["opened", "problem"]
    assert (lines[1]["status"], lines[1]["code"]) == (500, "worker_ended")


def test_a_clip_that_takes_too_much_memory_ends_its_worker(serve: Serve) -> None:
    served = serve(limits={"max_memory_mb": 400})
    is_problem(post(served, "grow"), 422, "too_much_memory")


def test_models_that_cannot_be_used_are_said(serve: Serve) -> None:
    served = serve()
    served.values = {"bad": True}
    assert "names no model" in is_problem(post(served, "1"), 503, "models_unusable")["detail"]
    served.values = {}
    first = post(served, "1").json()["models"]
    served.values = {"models": {"face-static": "another"}}
    assert post(served, "1").json()["models"] != first, "with another config another process works"


def test_the_queue_is_bounded_and_says_when_to_come_again(serve: Serve) -> None:
    served = serve(limits={"workers": 1, "queue": 1})
    with ThreadPoolExecutor(8) as pool:
        first = [pool.submit(post, served, "40") for _ in range(2)]
        until(lambda: served.api.analyses.present == 2)
        refused = post(served, b"x" * 3_000_000)
        is_problem(refused, 429, "queue_full")
        assert int(refused.headers["retry-after"]) >= 1
        assert [one.result().status_code for one in first] == [200, 200]
    assert (served.api.analyses.done, served.api.analyses.refused) == (2, 1)
    assert post(served, "1").status_code == 200


def test_a_client_that_leaves_gives_its_place_free(serve: Serve) -> None:
    served = serve(limits={"workers": 1, "queue": 1})
    analyses = served.api.analyses
    port = int(served.address.rpartition(":")[2])
    for accept in ("application/json", "application/x-ndjson"):
        with socket.create_connection(("127.0.0.1", port)) as line:
            head = f"POST /v1/analyze HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: {accept}\r\ncontent-length: 4\r\n\r\n"
            line.sendall(f"{head}9000".encode())
            until(lambda: bool(analyses._busy))
        until(lambda: analyses.present == 0 and not analyses._busy)
    with socket.create_connection(("127.0.0.1", port)) as line:  # in the middle of its clip
        line.sendall(b"POST /v1/analyze HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 40\r\n\r\n1")
        until(lambda: analyses.present == 1)
    until(lambda: analyses.present == 0)
    assert post(served, "1").status_code == 200


def test_a_clip_that_does_not_arrive_is_not_waited_for(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyze, "SILENT_S", 0.2)
    served = serve()
    with socket.create_connection(("127.0.0.1", int(served.address.rpartition(":")[2])), PATIENCE_S) as line:
        line.sendall(b"POST /v1/analyze HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 40\r\n\r\n1")
        assert b" 408 " in line.recv(4096)
    until(lambda: served.api.analyses.present == 0)


def test_no_clip_is_taken_where_there_are_no_workers(serve: Serve) -> None:
    is_problem(post(serve(limits={"workers": 0}), "1"), 403, "analyze_is_off")


def test_idle_workers_end_and_nothing_is_left_behind(serve: Serve) -> None:
    served = serve(limits={"idle_s": 1.0, "workers": 2})
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: post(served, "10"), range(2)))
    analyses = served.api.analyses
    processes = [worker.process for worker in analyses._idle]
    until(lambda: not analyses._idle and all(process.poll() is not None for process in processes))
    busy = threading.Thread(target=_post_in_vain, args=(served,))
    busy.start()
    until(lambda: bool(analyses._busy))
    (process,) = (worker.process for worker in analyses._busy)
    served.close()
    busy.join()
    assert process.poll() is not None
    assert not analyses._scratch.path.exists()


def _post_in_vain(served: Served) -> None:
    with contextlib.suppress(httpx.HTTPError):
        post(served, "hang")
