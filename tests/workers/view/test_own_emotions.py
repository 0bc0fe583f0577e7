"""The page shows a set of one's own: its bars, its colours, and what counts beside it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bimodal.broker.events import Emotion, Verdict
from bimodal.models.emotions import EmotionSet
from tests.browser import chromium, opened
from tests.workers.view import making
from tests.workers.view.making import Page, face

OWN = EmotionSet(("neutral", "bored", "engaged"), ("contempt",))
SAID = {"neutral": 0.1, "bored": 0.7, "engaged": 0.2}


def said(event: Emotion) -> Emotion:
    """The event, in words of the set."""
    seen = msgspec.structs.replace(
        face(), static=SAID, video=SAID, fused=SAID, label="bored", video_other={"contempt": 0.4}
    )
    told = Verdict(label="bored", confidence=0.7, probabilities=SAID, other={"contempt": 0.34})
    return msgspec.structs.replace(event, faces=(seen,), emotion=told)


def test_bars_and_names_are_of_the_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(tmp_path, emotions=msgspec.to_builtins(OWN))
    try:
        with chromium() as browser, opened(browser) as (tab, seen):
            tab.goto(page.address)
            tab.wait_for_selector(".names span:nth-child(5)", state="attached")
            plain = making.event
            monkeypatch.setattr(making, "event", lambda *what: said(plain(*what)))
            page.frame("desk", 0)
            tab.wait_for_selector(".fused-row .bar[data-share='0.34']", state="attached")
            names = tab.evaluate("[...document.querySelectorAll('.names span')].map((one) => one.textContent)")
            shares = tab.evaluate("[...document.querySelectorAll('.fused-row .bar')].map((one) => one.dataset.share)")
            assert names == ["", "neutral", "bored", "engaged", "contempt"]
            assert shares == ["0.1", "0.7", "0.2", "0.34"]
            assert tab.text_content("#label") == "bored"
            assert tab.text_content("#further") == "contempt 34 %"
            assert tab.get_attribute(".video-row .bar:last-child", "data-share") == "0.4"
            assert (
                tab.evaluate("getComputedStyle(document.querySelector('#timeline')).getPropertyValue('--lanes')") == "4"
            )
            tab.hover(
                "#timeline",
                position={"x": tab.evaluate("document.querySelector('#timeline').clientWidth") - 14, "y": 60},
            )
            tab.wait_for_function("document.querySelector('.tip').innerText.includes('contempt')")
            assert seen.errors == []
    finally:
        page.close()
