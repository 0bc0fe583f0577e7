"""Files that strangers send."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from bimodal.workers.capture.uploads import check_upload
from bimodal.workers.errors import SourceError
from tests.media import scene, speech, write_clip


def test_media_are_taken_whatever_they_are_called(tmp_path: Path) -> None:
    said, rate = speech(0.5)
    pictures = [scene(0, 0.0)] * 3
    made = [
        write_clip(tmp_path / "a.mp4", pictures),
        write_clip(tmp_path / "a.wav", sound=said, rate=rate, sound_codec="pcm_s16le"),
    ]
    for ending in ("jpg", "png", "webp", "bmp", "tiff"):
        path = tmp_path / f"a.{ending}"
        cv2.imwrite(str(path), np.asarray(pictures[0]))
        made.append(path)
    for path in made:
        check_upload(path.rename(tmp_path / f"upload-{path.suffix[1:]}"))


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXTINF:3,\nfile://{clip}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {clip}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period/></MPD>',
        "just some words",
        "",
    ],
)
def test_what_names_other_files_or_is_no_media_is_refused(tmp_path: Path, text: str) -> None:
    clip = write_clip(tmp_path / "private.mp4", [scene(0, 0.0)] * 3)
    upload = tmp_path / "upload"
    upload.write_text(text.format(clip=clip))
    with pytest.raises(SourceError, match="no media file"):
        check_upload(upload)
