"""What the command line names: files, addresses, stdin."""

from __future__ import annotations

import http.server
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.paths import pack
from bimodal.supervisor.inputs import gather, result_name, stems_of
from bimodal.workers.errors import SourceError
from tests.http_server import serving


def test_files_are_named_by_their_stems(tmp_path: Path) -> None:
    (one,) = gather([str(tmp_path / "a.mp4")], tmp_path / "scratch")
    assert (one.file, one.name, one.identity) == (tmp_path / "a.mp4", "a", str(tmp_path / "a.mp4"))
    strange = os.fsdecode(b"/x/caf\xe9.mp4")
    (one,) = gather([strange], tmp_path / "scratch")
    assert (one.name, one.given, one.identity) == ("caf%E9", "/x/caf%E9.mp4", pack(strange))


def test_an_empty_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="an empty name names no file"):
        gather([""], tmp_path / "scratch")


NAMES = st.lists(
    st.builds("{}{}".format, st.sampled_from(["talk", "a.speech", "x"]), st.sampled_from([".mp4", ".wav", ".png", ""])),
    unique=True,
)


@given(NAMES)
def test_names_depend_on_the_folder_and_media_never_share_one(names: list[str]) -> None:
    stems = stems_of(names)
    found = {name: result_name(Path("/study") / name, stems) for name in names}
    media = [found[name] for name in names if Path(name).suffix]
    assert len(set(media)) == len(media)
    assert stems_of(reversed(names)) == stems


def test_a_name_is_the_stem_unless_other_media_have_it_or_results_end_so() -> None:
    stems = stems_of(["a.mp4", "a.wav", "a.txt", "b.mp4", ".b.wav", "b.annotated.mp4", "c.speech.mp4"])
    named = [result_name(Path(name), stems) for name in ("a.mp4", "b.mp4", "c.speech.mp4", "elsewhere.mp4")]
    assert named == ["a.mp4", "b", "c.speech.mp4", "elsewhere"]


def test_two_files_with_one_place_are_refused_and_one_named_twice_is_taken_once(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"x/a.mp4 and y/a.mp4 would both be a\.…: name their folder .* --root"):
        gather(["x/a.mp4", "y/a.mp4"], tmp_path)
    assert len(gather(["x/a.mp4", "x/a.mp4"], tmp_path)) == 1


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
