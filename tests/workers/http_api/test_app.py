"""The API over real HTTP: who may do what, and what the running system is asked."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from bimodal.broker.control import ChangeRequest, ScaleRequest
from bimodal.workers.http_api import access
from bimodal.workers.http_api.operations import OPERATIONS
from tests.workers.http_api.making import CAMERA, CONTROL, PATIENCE_S, READ, Served, is_problem
from tests.workers.view.making import event, face

Serve = Callable[..., Served]
MAY_CHANGE = {"authorization": f"Bearer {CONTROL}"}
MAY_READ = {"authorization": f"Bearer {READ}"}


def ask(served: Served, method: str, path: str, **how: object) -> httpx.Response:
    return httpx.request(method, served.address + path, timeout=PATIENCE_S, **how)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------ who may enter


def test_each_address_asks_for_its_scope(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "WRONG_PER_S", 1000.0)
    served = serve(token=READ, control_token=CONTROL)
    for one in OPERATIONS:
        path = one.path.replace("{name}", "x")
        if one.scope == "open":
            assert ask(served, one.method, path).status_code == 200
            continue
        is_problem(ask(served, one.method, path), 401, "no_token")
        wrong = ask(served, one.method, path, headers={"authorization": "Bearer no-such-token-at-all"})
        is_problem(wrong, 401, "wrong_token")
        assert wrong.headers["www-authenticate"].startswith("Bearer")
        if one.scope == "control":
            is_problem(ask(served, one.method, path, headers=MAY_READ), 403, "wrong_scope")


def test_without_a_control_token_nobody_may_change_anything(serve: Serve) -> None:
    served = serve()
    assert ask(served, "GET", "/v1/config").status_code == 200, "every user of this machine may read"
    is_problem(ask(served, "PUT", "/v1/scale", json={"face": 2}), 403, "control_is_off")
    assert served.supervisor is not None
    assert served.supervisor.requests == []


def test_foreign_names_and_origins_are_refused_and_known_ones_may_read(serve: Serve) -> None:
    served = serve(origins=("https://lab.example",))
    is_problem(ask(served, "GET", "/v1/status", headers={"host": "evil.example"}), 403, "foreign_host")
    for method, path in (("GET", "/v1/status"), ("POST", "/v1/analyze")):
        is_problem(ask(served, method, path, headers={"origin": "http://evil.example"}), 403, "foreign_origin")
    known = ask(served, "GET", "/v1/status", headers={"origin": "https://lab.example"})
    assert (known.status_code, known.headers["access-control-allow-origin"]) == (200, "https://lab.example")
    asked = ask(
        served, "OPTIONS", "/v1/scale",
        headers={"origin": "https://lab.example", "access-control-request-method": "PUT"},
    )  # fmt: skip
    assert asked.status_code == 200


def test_too_many_requests_of_one_address_get_429_and_when_to_come_again(serve: Serve) -> None:
    served = serve(requests_per_s=0.01)
    codes = [ask(served, "GET", "/livez") for _ in range(3)]
    assert codes[0].status_code == 200
    refused = [one for one in codes if one.status_code == 429]
    assert refused
    assert int(refused[0].headers["retry-after"]) >= 1
    is_problem(refused[0], 429, "too_many_requests")


def test_whoever_guesses_tokens_is_slowed_down_and_who_knows_one_is_not(serve: Serve) -> None:
    served = serve(token=READ)
    with httpx.Client(base_url=served.address, timeout=PATIENCE_S) as client:
        guesses = [client.get("/v1/status", headers={"authorization": f"Bearer guess-{n}"}) for n in range(40)]
    assert {guess.status_code for guess in guesses} == {401, 429}
    assert ask(served, "GET", "/v1/status", headers=MAY_READ).status_code == 200


WRONG = [("GET", "/", 404, "not_found"), ("GET", "/v2/x", 404, "not_found"),
     ("DELETE", "/v1/scale", 405, "method_not_allowed"), ("GET", "/v1/status?x=1", 400, "bad_parameter"),
     ("GET", "/v1/events?count=0", 400, "bad_parameter"),
     ("GET", "/v1/events?count=1&count=2", 400, "bad_parameter")]  # fmt: skip


def test_what_makes_no_sense_is_answered_by_a_problem(serve: Serve) -> None:
    served = serve()
    for method, path, status, code in WRONG:
        is_problem(ask(served, method, path), status, code)


def test_health(serve: Serve) -> None:
    served = serve()
    assert ask(served, "GET", "/readyz").json() == {"ready": True, "reasons": []}
    served.reasons = ["no face worker is ready"]
    unready = ask(served, "GET", "/readyz")
    assert (unready.status_code, unready.json()["reasons"]) == (503, ["no face worker is ready"])


# ------------------------------------------------------------------------------------ the running system


def test_secrets_are_hidden_and_come_back_as_they_are(serve: Serve) -> None:
    served = serve(control_token=CONTROL)
    assert served.supervisor is not None
    before = served.supervisor.config
    shown = ask(served, "GET", "/v1/config")
    assert "secret-of-the-door" not in shown.text
    assert "a-token-of-the-live-page" not in shown.text
    config = shown.json()["config"]
    assert ask(served, "PUT", "/v1/config", json=config, headers=MAY_CHANGE).json()["in_force"] is True
    assert served.supervisor.config == before
    streams = ask(served, "GET", "/v1/streams").json()
    assert streams["streams"]["desk"] == {"file": "a.mp4", "loop": True}
    assert streams["problems"] == {"door": "the door does not answer"}
    ask(served, "PUT", "/v1/streams", json={"streams": streams["streams"]}, headers=MAY_CHANGE)
    assert served.supervisor.config.streams["door"].url == CAMERA


def test_streams_are_added_changed_and_ended(serve: Serve) -> None:
    served = serve(control_token=CONTROL)
    assert served.supervisor is not None
    added = ask(served, "PUT", "/v1/streams/robot", json={"push": True}, headers=MAY_CHANGE)
    assert (added.status_code, set(served.supervisor.config.streams)) == (200, {"desk", "door", "robot"})
    assert served.supervisor.config.streams["door"].url == CAMERA
    ended = ask(served, "DELETE", "/v1/streams/door", headers=MAY_CHANGE)
    assert (ended.status_code, set(served.supervisor.config.streams)) == (200, {"desk", "robot"})
    is_problem(ask(served, "DELETE", "/v1/streams/door", headers=MAY_CHANGE), 404, "no_such_stream")
    two = ask(served, "PUT", "/v1/streams/x", json={"file": "a", "camera": 0}, headers=MAY_CHANGE)
    assert "exactly one source" in is_problem(two, 422, "refused")["detail"]


def test_numbers_models_and_settings_are_changed(serve: Serve) -> None:
    served = serve(control_token=CONTROL)
    supervisor = served.supervisor
    assert supervisor is not None
    assert ask(served, "GET", "/v1/scale").json() == {"face": 1, "audio": 1}
    assert ask(served, "PUT", "/v1/scale", json={"face": 2}, headers=MAY_CHANGE).json()["sentence"]
    assert supervisor.requests[-1] == ScaleRequest(counts={"face": 2})
    assert ask(served, "PUT", "/v1/models", json={"face-static": "fer-plus"}, headers=MAY_CHANGE).status_code == 200
    assert supervisor.config.models.face_static == ("fer-plus",)
    models = ask(served, "GET", "/v1/models").json()
    assert models["running"] == {"face-static": ["first@1"]}
    assert "face-robust" in {one["name"] for one in models["catalog"]}
    changed = ask(served, "PATCH", "/v1/config", json={"fusion": {"video_weight": 0.4}}, headers=MAY_CHANGE)
    assert changed.json()["config"]["fusion"]["video_weight"] == 0.4
    assert supervisor.requests[-1] == ChangeRequest(values={"fusion": {"video_weight": 0.4}}, mode="merge")


def test_a_change_that_is_given_up_says_so(serve: Serve) -> None:
    served = serve(control_token=CONTROL)
    assert served.supervisor is not None
    served.supervisor.given_up = "face 2 failed on 8 of 8 real frames"
    refused = ask(served, "PUT", "/v1/models", json={"speech": "none"}, headers=MAY_CHANGE)
    assert "8 of 8" in is_problem(refused, 409, "given_up")["detail"]


WRONG_BODIES = [(b"{", "application/json", 400, "no_json"), (b"[]", "application/json", 422, "wrong_values"),
     (b'{"face": 0}', "application/json", 422, "wrong_values"),
     (b'{"fase": 1}', "application/json", 422, "wrong_values"),
     (b"face: 1", "text/yaml", 415, "no_json"), (b'"' + b"x" * 60_000 + b'"', "application/json", 413, "too_large"),
     (b"\xff", "application/json", 400, "no_json"), (b"[" * 10_000, "application/json", 422, "wrong_values"),
]  # fmt: skip


def test_bodies_that_are_wrong_are_named(serve: Serve) -> None:
    served = serve(control_token=CONTROL)
    for body, kind, status, code in WRONG_BODIES:
        headers = MAY_CHANGE | {"content-type": kind}
        is_problem(ask(served, "PUT", "/v1/scale", content=body, headers=headers), status, code)
    wrong = ask(
        served, "PUT", "/v1/scale", content=b'{"face": 0}', headers=MAY_CHANGE | {"content-type": "application/json"}
    )
    assert "in 'face': must be a number from 1 to 256" in wrong.json()["detail"]
    wrong = ask(served, "GET", "/v1/events?count=many", headers=MAY_CHANGE)
    assert "in 'count': must be a number from 1 to 1000000000 or null, not 'many'" in wrong.json()["detail"]


def test_a_supervisor_that_does_not_answer_is_503(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serve()
    assert served.supervisor is not None
    monkeypatch.setattr("bimodal.broker.control.ANSWER_WITHIN_S", 0.1)
    monkeypatch.setattr("bimodal.broker.control.ask.__defaults__", (0.1,))
    served.supervisor.close()
    is_problem(ask(served, "GET", "/v1/status"), 503, "no_answer")
    served.supervisor = None


def test_without_a_session_there_are_clips_only(serve: Serve) -> None:
    served = serve(session=False)
    is_problem(ask(served, "GET", "/v1/status"), 404, "no_session")
    assert list(ask(served, "GET", "/v1/openapi.json").json()["paths"]) == [
        "/livez", "/readyz", "/v1/openapi.json", "/v1/analyze",
    ]  # fmt: skip
    with pytest.raises(InvalidStatus) as refused, connect(served.address.replace("http", "ws") + "/v1/events"):
        pass
    assert refused.value.response.status_code == 404


# ------------------------------------------------------------------------------------ events


def test_events_come_as_server_sent_events_and_over_websockets(serve: Serve) -> None:
    served = serve(token=READ)
    address = served.address.replace("http", "ws") + "/v1/events?stream=desk"
    with (
        httpx.stream("GET", f"{served.address}/v1/events?count=2", headers=MAY_READ, timeout=PATIENCE_S) as stream,
        connect(address, subprotocols=["bimodal", READ], open_timeout=PATIENCE_S) as line,  # type: ignore[list-item]
    ):
        assert stream.headers["content-type"].startswith("text/event-stream")
        served.wait_for_readers(2)
        served.publish(event("door", 6, face()))
        served.publish(event("desk", 7, face()))
        lines = list(stream.iter_lines())
        assert json.loads(line.recv(PATIENCE_S))["seq"] == 7
    found = [json.loads(one.removeprefix("data: ")) for one in lines if one.startswith("data: ")]
    assert [(one["stream"], one["seq"]) for one in found] == [("door", 6), ("desk", 7)]
    assert "id: 1-7" in lines
    served.wait_for_readers(0)


def test_readers_of_events_are_bounded(serve: Serve) -> None:
    served = serve(readers=1)
    with httpx.stream("GET", f"{served.address}/v1/events", timeout=PATIENCE_S):
        served.wait_for_readers(1)
        refused = ask(served, "GET", "/v1/events")
        is_problem(refused, 429, "too_many_readers")
        assert refused.headers["retry-after"]
    served.wait_for_readers(0)
