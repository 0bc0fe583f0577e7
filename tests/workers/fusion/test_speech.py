"""A frame is joined with the newest speech that ended in time, and waits for no more than it could need."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bimodal.models.emotions import EMOTIONS
from bimodal.workers.fusion.settings import FusionSettings
from bimodal.workers.fusion.speech import SpeechLine
from tests.workers.fusion.making import HOP_NS, MS, failed, hop, opened

DELAY_NS = 120 * MS
settings = FusionSettings()


def line(**changes: object) -> SpeechLine:
    return SpeechLine(opened(**changes), settings)


def joined_seq(speech: SpeechLine, pts_ns: int) -> int | None:
    result = speech.join(pts_ns).result
    return None if result is None else result.seq


def test_the_newest_hop_that_ended_before_the_delay_is_joined() -> None:
    speech = line()
    for seq in range(4):
        speech.add(hop(seq))
    assert joined_seq(speech, HOP_NS + DELAY_NS - 1) is None
    assert joined_seq(speech, HOP_NS + DELAY_NS) == 0
    assert joined_seq(speech, 2 * HOP_NS + DELAY_NS - 1) == 0
    assert joined_seq(speech, 3 * HOP_NS + DELAY_NS) == 2


def test_hops_may_come_in_any_order() -> None:
    speech = line(policy="latest")
    for seq in (2, 0, 1):
        speech.add(hop(seq))
    joined = speech.join(3 * HOP_NS + DELAY_NS)
    assert joined.result is not None
    assert joined.result.seq == 2
    assert [span.end_ns for span in joined.passed] == [HOP_NS, 2 * HOP_NS, 3 * HOP_NS]
    speech.add(hop(0, "fear"))
    assert joined_seq(speech, 3 * HOP_NS + DELAY_NS) == 2


@given(st.integers(-3 * HOP_NS, 10 * HOP_NS), st.integers(0, 3 * HOP_NS), st.integers(0, 10), st.booleans())
def test_waiting_for_what_is_awaited_is_enough(pts_ns: int, start_ns: int, late: int, short_last: bool) -> None:
    """Hops beyond `awaited` change nothing about the frame: neither a short last hop nor later ones."""
    enough, all_known = line(sound_start_ns=start_ns), line(sound_start_ns=start_ns)
    count = enough.awaited(pts_ns)
    for seq in range(count + late):
        end_ns = start_ns + (seq + 1) * HOP_NS - (HOP_NS // 2 if short_last and seq == count + late - 1 else 0)
        if seq < count:
            enough.add(hop(seq, pts_ns=end_ns))
        all_known.add(hop(seq, pts_ns=end_ns))
    assert enough.join(pts_ns) == all_known.join(pts_ns)


def test_a_short_last_hop_counts_from_its_own_end() -> None:
    speech = line()
    speech.add(hop(0))
    speech.add(hop(1, pts_ns=HOP_NS + 120 * MS))
    assert speech.awaited(HOP_NS + 120 * MS + DELAY_NS) == 2
    assert joined_seq(speech, HOP_NS + 119 * MS + DELAY_NS) == 0
    assert joined_seq(speech, HOP_NS + 120 * MS + DELAY_NS) == 1


def test_a_hop_that_ends_too_early_counts_only_from_where_frames_wait_for_it() -> None:
    """Its result may or may not arrive before: that is chance."""
    speech = line()
    speech.add(hop(0))
    speech.add(hop(1, pts_ns=HOP_NS + 10 * MS))
    assert speech.awaited(HOP_NS + 50 * MS + DELAY_NS) == 1
    assert joined_seq(speech, HOP_NS + 50 * MS + DELAY_NS) == 0
    assert speech.awaited(HOP_NS + 100 * MS + DELAY_NS) == 2
    assert joined_seq(speech, HOP_NS + 100 * MS + DELAY_NS) == 1


def test_nothing_is_awaited_before_the_sound_starts_nor_without_sound_nor_live() -> None:
    assert line(sound_start_ns=10 * HOP_NS).awaited(5 * HOP_NS) == 0
    assert line(has_sound=False, hop_ns=0).awaited(10**12) == 0
    assert line(policy="latest").awaited(10**12) == 0
    assert line(hop_ns=0).awaited(10**12) == 0


def test_a_time_far_beyond_the_sound_is_joined_without_looking_at_every_hop_between() -> None:
    speech = line()
    speech.add(hop(0))
    joined = speech.join(10**18)
    assert joined.reason == "speech too old"
    assert joined.probabilities is None


def test_a_hop_fades_when_no_newer_one_comes() -> None:
    speech = line(policy="latest")
    speech.add(hop(0, voice=0.8))
    on_time = speech.join(HOP_NS + DELAY_NS + HOP_NS)
    assert on_time.reliability == 0.8
    assert on_time.age_ns == DELAY_NS + HOP_NS
    assert speech.join(HOP_NS + DELAY_NS + HOP_NS + 1000 * MS).reliability == 0.4
    gone = speech.join(HOP_NS + DELAY_NS + HOP_NS + 2000 * MS)
    assert (gone.probabilities, gone.reliability, gone.reason) == (None, 0.0, "speech too old")


def test_every_kind_of_missing_speech_has_its_reason() -> None:
    late = 5 * HOP_NS
    assert line(has_sound=False).join(late).reason == "no sound"
    assert line().join(late).reason == "no speech yet"
    for outcome, because in (
        (failed("speech", 0, "the model broke"), "speech failed: the model broke"),
        (hop(0, None), "no voice"),
        (hop(0, None, because="too quiet"), "too quiet"),
        (hop(0, voice=0.0), "no voice"),
        (hop(0, voice=float("nan")), "no voice"),
    ):
        speech = line()
        speech.add(outcome)
        joined = speech.join(HOP_NS + DELAY_NS)
        assert joined.reason == because
        assert joined.probabilities is None
        assert joined.reliability == 0.0


def test_after_a_failed_hop_the_one_before_counts_until_it_is_too_old() -> None:
    speech = line()
    speech.add(hop(0))
    speech.add(failed("speech", 1, "the model broke"))
    assert joined_seq(speech, 2 * HOP_NS + DELAY_NS) == 0
    assert speech.join(60 * HOP_NS).reason == "speech failed: the model broke"


def test_a_gated_hop_is_not_passed_over_for_an_older_one() -> None:
    speech = line()
    speech.add(hop(0, "sad"))
    speech.add(hop(1, None, voice=0.1))
    joined = speech.join(2 * HOP_NS + DELAY_NS)
    assert joined.reason == "no voice"
    assert joined.probabilities is None


def test_live_hops_that_no_frame_asks_for_are_not_kept_for_ever() -> None:
    speech = SpeechLine(opened(policy="latest"), FusionSettings(order_limit=3))
    for seq in range(10):
        speech.add(hop(seq))
    assert len(speech.join(10**12).passed) == 3


def test_a_hop_alone_has_no_age() -> None:
    joined = line().of_hop(hop(3, "fear", voice=0.7))
    assert (joined.age_ns, joined.reliability, joined.reason) == (0, 0.7, None)
    assert line().of_hop(failed("speech", 3)).result is None


def test_a_doubtful_hop_does_not_turn_the_turn_round() -> None:
    """With and without picture; a hop without voice for a second begins a new turn."""
    speech, alone = line(policy="latest"), line(has_picture=False)
    for seq in range(6):
        speech.add(hop(seq, "fear"))
        alone.of_hop(hop(seq, "fear"))
    doubtful = msgspec.structs.replace(
        hop(6), probabilities={**dict.fromkeys(EMOTIONS, 0.08), "happy": 0.3, "fear": 0.22}
    )
    speech.add(doubtful)
    for joined in (speech.join(doubtful.pts_ns + DELAY_NS), alone.of_hop(doubtful)):
        assert joined.probabilities is not None
        assert max(joined.probabilities, key=joined.probabilities.__getitem__) == "fear"
    later = msgspec.structs.replace(doubtful, pts_ns=doubtful.pts_ns + 10 * HOP_NS)
    fresh = alone.of_hop(later).probabilities or {}
    assert max(fresh, key=fresh.__getitem__) == "happy"
