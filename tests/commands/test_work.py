"""`bimodal work` runs the actors that `bimodal up` runs."""

from __future__ import annotations

import pytest

from bimodal.commands.work import _actor


@pytest.mark.parametrize(("kind", "name"), [("face", "FaceActor"), ("audio", "AudioActor")])
def test_its_actor_is_found_wherever_it_is_started(kind: str, name: str) -> None:
    actor = _actor(kind)
    assert (actor.__module__, actor.__name__) == (f"bimodal.workers.{kind}.actor", name)  # type: ignore[attr-defined]
