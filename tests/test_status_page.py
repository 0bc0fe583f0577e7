"""Which system `bimodal status` shows without a name, and what it says of runs over corpora."""

from __future__ import annotations

import pytest

import bimodal.status_page as module
from bimodal.broker.control import StatusReply
from bimodal.broker.errors import ControlError


def reply(session: str, corpus: str | None = None) -> StatusReply:
    return StatusReply(
        session=session, up_s=1.0, because=None, changing=False, config=None, refused=None, given_up=None,
        processes=(), streams=(), corpus=corpus,
    )  # fmt: skip


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> dict[str, StatusReply]:
    found: dict[str, StatusReply] = {}

    def ask(name: str) -> StatusReply:
        if name not in found:
            raise ControlError(f"no bimodal runs as session '{name}'")
        return found[name]

    monkeypatch.setattr(module, "running_sessions", lambda: sorted(found))
    monkeypatch.setattr(module, "ask_session", ask)
    return found


def test_the_default_session_goes_first_and_runs_over_corpora_stand_beside_it(running: dict[str, StatusReply]) -> None:
    with pytest.raises(ControlError, match="'default'"):
        module.present()
    running["lab"] = reply("lab")
    assert module.present().session == "lab", "the only one"
    running["hall"] = reply("hall")
    with pytest.raises(ControlError, match="'default'"):
        module.present()
    running["default"] = reply("default")
    assert module.present() == reply("default")
    running["analyze-7"] = reply("analyze-7", "results: 3 done now")
    running["analyze-8"] = reply("analyze-8", "more: 1 done now")
    running["analyze-9"] = reply("analyze-9")  # named files
    both = module.present()
    assert both.session == "default"
    assert both.corpus == "results: 3 done now (session analyze-7)\nmore: 1 done now (session analyze-8)"
    del running["default"]
    assert module.present().session == "analyze-7"
