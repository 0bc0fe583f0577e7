"""HDR pictures look as they do on an ordinary screen."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from bimodal.workers.capture.files import pictures
from bimodal.workers.capture.hdr import HLG, PQ, is_hdr, tone_mapped
from tests.media import scene

SIGNAL_OF_WHITE = {PQ: 0.5807, HLG: 0.75}


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_reference_white_is_bright_and_black_is_black(transfer: int) -> None:
    white = round(SIGNAL_OF_WHITE[transfer] * 65535)
    ramp = np.linspace(0, 65535, 200).astype(np.uint16)
    grey = np.repeat(ramp[None, :, None], 3, axis=2)
    shown = tone_mapped(grey, transfer)[0, :, 0].astype(int)
    assert (shown[0], shown[-1] > 240) == (0, True)
    assert (np.diff(shown) >= 0).all()
    assert 225 <= int(tone_mapped(np.full((1, 1, 3), white, np.uint16), transfer)[0, 0, 1]) <= 250


def test_grey_stays_grey_and_colours_keep_their_order() -> None:
    orange = np.array([[[40000, 34000, 20000]]], np.uint16)
    red, green, blue = tone_mapped(orange, PQ)[0, 0]
    assert red > green > blue
    grey = tone_mapped(np.full((1, 1, 3), 30000, np.uint16), HLG)[0, 0].astype(int)
    assert np.ptp(grey) <= 2


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_a_film_in_hdr_has_the_brightness_of_an_ordinary_one(tmp_path: Path, transfer: int) -> None:
    """A face made darker and flat, as PQ and HLG store it, comes out with its contrast."""
    sdr = scene(1)
    light = (sdr / 255.0) ** 2.2 * 203 / (10000 if transfer == PQ else 1000)
    if transfer == PQ:
        power = light**0.1593017578125
        signal = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    else:
        scene_light = light ** (1 / 1.2)
        high = 0.17883277 * np.log(np.maximum(12 * scene_light - 0.28466892, 1e-6)) + 0.55991073
        signal = np.where(scene_light <= 1 / 12, np.sqrt(3 * scene_light), high)
    path = tmp_path / "hdr.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = *sdr.shape[:2], "gbrp12le"
        stream.codec_context.color_trc = transfer
        frame = av.VideoFrame.from_ndarray((signal * 65535).astype(np.uint16), format="rgb48le")
        frame = frame.reformat(format="gbrp12le")
        frame.color_trc = transfer
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    found = next(pictures(path)).pixels.astype(int)
    # The colours were taken for BT.2020, so only brightness is compared.
    assert np.abs(found.mean(axis=2) - sdr.mean(axis=2)).mean() < 14
    assert is_hdr(transfer)
