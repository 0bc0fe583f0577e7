"""What the command line names: files, addresses, stdin."""

from __future__ import annotations

import http.server
import io
import os
from pathlib import Path

import pytest

from bimodal.broker.paths import pack
from bimodal.supervisor.inputs import gather, result_names
from bimodal.workers.errors import SourceError
from tests.http_server import serving


def test_files_are_named_by_their_stems(tmp_path: Path) -> None:
    (one,) = gather([str(tmp_path / "a.mp4")], tmp_path / "scratch")
    assert (one.file, one.name, one.identity) == (tmp_path / "a.mp4", "a", str(tmp_path / "a.mp4"))
    strange = os.fsdecode(b"/x/caf\xe9.mp4")
    (one,) = gather([strange], tmp_path / "scratch")
    assert (one.name, one.given, one.identity) == ("caf%E9", "/x/caf%E9.mp4", pack(strange))
    assert result_names([Path("talk.mp4"), Path("talk.speech.mp4")]) == ["talk", "talk.speech.mp4"]


def test_thousands_of_names_take_no_time() -> None:
    names = result_names([Path(f"p{number % 50}/{number % 1500}.png") for number in range(4500)])
    assert len(set(names)) == 4500


def test_stdin_is_kept_until_it_is_done(tmp_path: Path) -> None:
    (one,) = gather(["-"], tmp_path, name="talk", stdin=io.BytesIO(b"media"))
    assert (one.file.read_bytes(), one.name, one.identity) == (b"media", "talk", "-")


@pytest.mark.parametrize(
    ("given", "name", "sentence"),
    [
        (["-", "-"], None, "named twice"),
        (["a", "b"], "c", "--name goes with a single input"),
        (["rtsp://user:secret@camera/1"], None, r"^rtsp://\*\*\*@camera/1 is no file: .*'bimodal up'"),
        (["http://127.0.0.1:9/a.mp4"], None, "can't be fetched"),
        (["-"], None, "stdin is empty"),
    ],
)
def test_what_can_t_be_taken_gets_a_sentence(tmp_path: Path, given: list[str], name: str | None, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence):
        gather(given, tmp_path, name=name, stdin=io.BytesIO())


def test_an_address_is_fetched_without_its_password(tmp_path: Path) -> None:
    def serve(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200 if request.path.endswith("a%20b.mp4") else 404)
        request.end_headers()
        request.wfile.write(b"media")

    with serving(serve) as server:
        (one,) = gather([f"http://127.0.0.1:{server.port}/x/a%20b.mp4"], tmp_path)
        assert (one.file.read_bytes(), one.name) == (b"media", "a b")
        assert one.identity.startswith("http://127.0.0.1")
        with pytest.raises(SourceError, match="Not Found"):
            gather([f"http://127.0.0.1:{server.port}/none.mp4"], tmp_path / "other")
