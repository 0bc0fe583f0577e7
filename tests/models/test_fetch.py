"""Fetching models from a server that is good, breaks off, lies, stalls, is busy; and from a folder."""

from __future__ import annotations

import hashlib
import http.server
import re
import socket
import threading
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bimodal.models.catalog import (
    Download,
    downloads,
    entries,
    find_download,
    installed,
    resolve,
    user_models,
    verify_installed,
)
from bimodal.models.commands import app
from bimodal.models.contract import KINDS
from bimodal.models.download import RetryPolicy, download
from bimodal.models.errors import CatalogError, DownloadError, ModelError
from bimodal.models.fetch import Folders, fetch_model, install, pinned
from tests.artifacts import make_face_static, make_speech
from tests.http_server import Serve, serving

QUICK = RetryPolicy(attempts=3, pause_s=0.0, timeout_s=0.3)
NAME = "tiny-face-static"

Handler = http.server.BaseHTTPRequestHandler


def quiet(*_: object) -> None:
    """Say and progress that nobody listens to."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def folders(home: Path) -> Folders:
    return Folders(home / "data/bimodal/models", home / "cache/bimodal/downloads")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_face_static(tmp_path_factory.mktemp("made") / "model.onnx").read_bytes()


def wanted(port: int, content: bytes, **changed: object) -> Download:
    given = Download(
        name=NAME,
        kind="face-static",
        url=f"http://127.0.0.1:{port}/folder/tiny.onnx",
        sha256=hashlib.sha256(content).hexdigest(),
        license="MIT",
        source="made by the tests",
    )
    return msgspec.structs.replace(given, **changed)


def nothing_is_there(folders: Folders) -> bool:
    """Neither a model nor half of one, nor a file that was put beside it."""
    return not [path for path in folders.models.rglob("*") if path.is_file()]


class Shelf:
    """Serves one file with ranges; `ends` says after how many bytes each request breaks off (None: never)."""

    def __init__(self, content: bytes, ends: list[int | None] | None = None, etag: str | None = '"one"') -> None:
        self.content = content
        self.ends = ends or []
        self.etag = etag
        self.ranges: list[str | None] = []

    def __call__(self, request: Handler) -> None:
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        changed = request.headers.get("If-Range") not in (None, self.etag)
        begin = int(re.findall(r"\d+", asked)[0]) if asked and not changed else 0
        rest = self.content[begin:]
        request.send_response(206 if begin else 200)
        request.send_header("Content-Length", str(len(rest)))
        if begin:
            request.send_header("Content-Range", f"bytes {begin}-{len(self.content) - 1}/{len(self.content)}")
        if self.etag:
            request.send_header("ETag", self.etag)
        request.end_headers()
        end = self.ends.pop(0) if self.ends else None
        request.wfile.write(rest[:end])


def refusing(code: int, headers: dict[str, str] | None = None) -> Serve:
    def serve(request: Handler) -> None:
        request.send_response(code)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return serve


# ------------------------------------------------------------------------------------ good servers


def test_a_good_download_is_installed_under_its_name_and_leaves_nothing_else(folders: Folders, artifact: bytes) -> None:
    said: list[str] = []
    with serving(Shelf(artifact)) as server:
        path = fetch_model(wanted(server.port, artifact), folders, said.append, quiet, QUICK)
    assert path.read_bytes() == artifact
    assert {file.name for file in folders.models.rglob("*") if file.is_file()} == {"model.onnx", "entry.json"}
    assert list(folders.cache.rglob("*")) == []
    assert resolve(NAME) == path
    verify_installed(NAME)
    assert "as expected" in " ".join(said)


def test_what_broke_off_is_resumed_where_it_stopped(folders: Folders, artifact: bytes) -> None:
    shelf = Shelf(artifact, ends=[100, 50, 0, 7])
    with serving(shelf) as server:
        fetch_model(wanted(server.port, artifact), folders, quiet, quiet, QUICK)
    assert shelf.ranges == [None, "bytes=100-", "bytes=150-", "bytes=150-", "bytes=157-"]


def test_a_later_command_goes_on_where_an_earlier_one_gave_up(folders: Folders, artifact: bytes) -> None:
    shelf = Shelf(artifact, ends=[200, 0, 0])
    with serving(shelf) as server:
        with pytest.raises(DownloadError, match=r"broke off after 200 of \d+ bytes .*run the same command again"):
            fetch_model(wanted(server.port, artifact), folders, quiet, quiet, QUICK)
        assert nothing_is_there(folders)
        assert NAME not in installed()
        fetch_model(wanted(server.port, artifact), folders, quiet, quiet, QUICK)
    assert shelf.ranges[-1] == "bytes=200-"


@pytest.mark.parametrize("etag", ['"two"', None])
def test_a_file_that_changed_meanwhile_is_fetched_from_the_beginning(
    folders: Folders, artifact: bytes, etag: str | None
) -> None:
    """By its ETag where the server gives one, else by the checksum of the mixture."""
    shelf = Shelf(bytes(len(artifact)), ends=[300, 0, 0], etag='"one"' if etag else None)
    with serving(shelf) as server:
        with pytest.raises(DownloadError):
            fetch_model(wanted(server.port, artifact), folders, quiet, quiet, QUICK)
        shelf.content, shelf.etag = artifact, etag
        assert fetch_model(wanted(server.port, artifact), folders, quiet, quiet, QUICK).read_bytes() == artifact


@given(ends=st.lists(st.integers(1, 400), max_size=8))
def test_however_often_it_breaks_off_the_file_is_whole(
    ends: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytes(range(256)) * 4
    part = tmp_path_factory.mktemp("parts") / "file.part"
    seen: list[tuple[int, int | None]] = []
    with serving(Shelf(content, ends=list(ends))) as server:
        download(
            f"http://127.0.0.1:{server.port}/file",
            part,
            size=len(content),
            progress=lambda have, total: seen.append((have, total)),
            retries=QUICK,
        )
    assert part.read_bytes() == content
    assert seen[-1] == (len(content), len(content))


def test_a_server_that_stalls_is_asked_again_for_the_rest(folders: Folders, artifact: bytes) -> None:
    stalled = threading.Event()
    shelf = Shelf(artifact)

    def serve(request: Handler) -> None:
        if stalled.is_set():
            shelf(request)
            return
        stalled.set()
        request.send_response(200)
        request.send_header("Content-Length", str(len(artifact)))
        request.end_headers()
        request.wfile.write(artifact[:123])
        request.wfile.flush()
        server.closing.wait(30)

    with serving(serve) as server:
        assert fetch_model(wanted(server.port, artifact), folders, quiet, quiet, QUICK).is_file()
    assert shelf.ranges == ["bytes=123-"]


def test_a_slow_server_is_waited_for(folders: Folders, artifact: bytes) -> None:
    """Small pieces with pauses shorter than the patience."""

    def serve(request: Handler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(artifact)))
        request.end_headers()
        for begin in range(0, len(artifact), 400):
            request.wfile.write(artifact[begin : begin + 400])
            request.wfile.flush()
            server.closing.wait(0.01)

    with serving(serve) as server:
        assert fetch_model(wanted(server.port, artifact), folders, quiet, quiet, QUICK).is_file()


def test_a_busy_server_is_asked_again(folders: Folders, artifact: bytes) -> None:
    codes = [503, 429]
    shelf = Shelf(artifact)

    def serve(request: Handler) -> None:
        if codes:
            refusing(codes.pop(), {"Retry-After": "0"})(request)
        else:
            shelf(request)

    with serving(serve) as server:
        assert fetch_model(wanted(server.port, artifact), folders, quiet, quiet, QUICK).is_file()


def test_a_redirect_is_followed_and_the_range_goes_with_it(folders: Folders, artifact: bytes) -> None:
    """As model hubs do: the address leads to a store of theirs."""
    shelf = Shelf(artifact, ends=[321])

    def serve(request: Handler) -> None:
        if request.path.startswith("/folder"):
            refusing(302, {"Location": "/store/1"})(request)
        else:
            shelf(request)

    with serving(serve) as server:
        assert fetch_model(wanted(server.port, artifact), folders, quiet, quiet, QUICK).read_bytes() == artifact
    assert shelf.ranges == [None, "bytes=321-"]


# ------------------------------------------------------------------------------------ bad servers


def test_another_file_is_never_opened_or_installed(folders: Folders, artifact: bytes) -> None:
    other = artifact[:-1] + b"x"
    with (
        serving(Shelf(other)) as server,
        pytest.raises(DownloadError, match=r"is not the file that the catalog knows: .*nothing was opened"),
    ):
        fetch_model(wanted(server.port, artifact), folders, quiet, quiet, QUICK)
    assert nothing_is_there(folders)
    assert list(folders.cache.rglob("*")) == []


def test_a_wrong_file_is_refused_before_the_exporter_sees_it(folders: Folders, artifact: bytes) -> None:
    """The exporter would say something else: it has no such command."""
    asked = wanted(0, artifact, export=("no-such-command",))
    with serving(Shelf(b"other")) as server, pytest.raises(DownloadError, match="nothing was opened"):
        fetch_model(msgspec.structs.replace(asked, url=f"http://127.0.0.1:{server.port}/x.onnx"), folders, quiet, quiet)
    with serving(Shelf(artifact)) as server, pytest.raises(CatalogError, match="can't be converted"):
        fetch_model(msgspec.structs.replace(asked, url=f"http://127.0.0.1:{server.port}/x.onnx"), folders, quiet, quiet)
    assert nothing_is_there(folders)


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_refusal_is_final_and_told(folders: Folders, artifact: bytes, code: int) -> None:
    asked: list[int] = []

    def serve(request: Handler) -> None:
        asked.append(code)
        refusing(code)(request)

    with serving(serve) as server, pytest.raises(DownloadError, match=f"the server says {code}"):
        fetch_model(wanted(server.port, artifact), folders, quiet, quiet, QUICK)
    assert len(asked) == 1


def test_a_file_of_another_size_is_refused_at_once(folders: Folders, artifact: bytes) -> None:
    asked = Shelf(artifact)
    with serving(asked) as server, pytest.raises(DownloadError, match=r"it has \d+ bytes, not 12"):
        fetch_model(wanted(server.port, artifact, bytes=12), folders, quiet, quiet, QUICK)


def test_a_server_that_never_stops_sending_is_stopped(tmp_path: Path) -> None:
    def serve(request: Handler) -> None:
        request.send_response(200)
        request.end_headers()
        while not server.closing.is_set():
            request.wfile.write(bytes(1 << 16))

    with serving(serve) as server, pytest.raises(DownloadError, match="more than the 100000 bytes"):
        download(f"http://127.0.0.1:{server.port}/x", tmp_path / "x.part", size=100_000, progress=quiet, retries=QUICK)


def test_a_redirect_out_of_the_web_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    for target in (f"file://{tmp_path}/secret", "ftp://127.0.0.1/x"):
        with (
            serving(refusing(302, {"Location": target})) as server,
            pytest.raises(DownloadError, match="can't be fetched"),
        ):
            download(f"http://127.0.0.1:{server.port}/x", tmp_path / "x.part", progress=quiet, retries=QUICK)
    with pytest.raises(DownloadError, match="no http or https address"):
        download(f"file://{tmp_path}/secret", tmp_path / "x.part", progress=quiet)


def test_nobody_there_is_told_in_one_sentence(folders: Folders, artifact: bytes) -> None:
    with serving(Shelf(artifact)) as server:
        port = server.port
    with pytest.raises(DownloadError, match=r"can't be fetched: .*\(3 attempts\)"):
        fetch_model(wanted(port, artifact), folders, quiet, quiet, QUICK)


def test_https_goes_through_the_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy is asked to connect to the server, and nobody else is asked anything."""
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            heard.append(connection.recv(4096))
            connection.sendall(b"HTTP/1.1 403 not through here\r\n\r\n")

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with listener, pytest.raises(DownloadError, match="403"):
        download(
            "https://models.invalid/x.pt", tmp_path / "x.part", progress=quiet, retries=RetryPolicy(1, 0.0, 0.0, 5.0)
        )
    thread.join(5)
    assert heard[0].startswith(b"CONNECT models.invalid:443 ")


# ------------------------------------------------------------------------------------ pins


def test_the_first_fetch_pins_a_checksum_that_nobody_knew(folders: Folders, artifact: bytes, tmp_path: Path) -> None:
    said: list[str] = []
    other = make_face_static(tmp_path / "other.onnx", version="2").read_bytes()
    with serving(Shelf(artifact)) as server:
        asked = wanted(server.port, artifact, sha256=None)
        path = fetch_model(asked, folders, said.append, quiet, QUICK)
        port = server.port
    assert "pinned" in " ".join(said)
    assert pinned(folders.models) == {asked.url: hashlib.sha256(artifact).hexdigest()}
    with serving(Shelf(other), port=port), pytest.raises(DownloadError, match="is not the file"):
        fetch_model(asked, folders, quiet, quiet, QUICK)
    assert path.read_bytes() == artifact


def test_without_a_checksum_plain_http_is_refused(folders: Folders) -> None:
    asked = wanted(1, b"", sha256=None, url="http://example.invalid/x.onnx")
    with pytest.raises(DownloadError, match="only fetched by https"):
        fetch_model(asked, folders, quiet, quiet, QUICK)


# ------------------------------------------------------------------------------------ a local mirror


def test_a_folder_serves_as_well(folders: Folders, artifact: bytes, tmp_path: Path) -> None:
    """Under the authors' name, or any name where size and checksum tell it."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    here = msgspec.structs.replace(folders, mirror=mirror)
    asked = wanted(1, artifact, bytes=len(artifact))
    with pytest.raises(DownloadError, match="has no file 'tiny"):
        fetch_model(asked, here, quiet, quiet)
    (mirror / "renamed").write_bytes(artifact)
    assert fetch_model(asked, here, quiet, quiet).is_file()
    (mirror / "tiny.onnx").write_bytes(b"something else")
    with pytest.raises(DownloadError, match="is not the file"):
        fetch_model(asked, here, quiet, quiet)
    assert (mirror / "renamed").is_file()
    with pytest.raises(DownloadError, match="there is no folder"):
        fetch_model(asked, msgspec.structs.replace(folders, mirror=tmp_path / "nowhere"), quiet, quiet)


# ------------------------------------------------------------------------------------ installing


def test_a_file_that_breaks_its_contract_does_not_replace_one_that_works(folders: Folders, tmp_path: Path) -> None:
    path = install(make_face_static(tmp_path / "good.onnx"), NAME, folders.models)
    good = path.read_bytes()
    bad = make_face_static(tmp_path / "bad.onnx", labels=("happy", "sad"), crop=None)
    with pytest.raises(ModelError):
        install(bad, NAME, folders.models)
    with pytest.raises(CatalogError, match="calls itself"):
        install(make_face_static(tmp_path / "other.onnx", name="other"), NAME, folders.models)
    assert path.read_bytes() == good
    assert {file.name for file in path.parent.iterdir()} == {"model.onnx", "entry.json"}


@pytest.mark.parametrize("name", ["", ".", "../up", "a/b", "Large", "-x", "a" * 65])
def test_what_is_no_name_is_refused(folders: Folders, tmp_path: Path, name: str) -> None:
    with pytest.raises(CatalogError, match="can't be the name"):
        install(make_face_static(tmp_path / "m.onnx", name=name or "x"), name, folders.models)


def test_what_ships_comes_before_what_is_installed(home: Path, tmp_path: Path) -> None:
    shipped = resolve("face-compact")
    install(make_face_static(tmp_path / "m.onnx", name="face-compact"), "face-compact")
    assert resolve("face-compact") == shipped


def test_a_model_that_was_changed_or_copied_by_hand_is_told(home: Path, tmp_path: Path) -> None:
    path = install(make_speech(tmp_path / "m.onnx"), "tiny-speech")
    verify_installed("tiny-speech")
    make_speech(path, version="3")
    with pytest.raises(CatalogError, match="was changed after it was installed"):
        verify_installed("tiny-speech")
    path.with_name("entry.json").unlink()
    with pytest.raises(CatalogError, match="has no note"):
        verify_installed("tiny-speech")


# ------------------------------------------------------------------------------------ the catalog that ships


def test_what_can_be_fetched_is_what_was_promised(home: Path) -> None:
    found = {row.name: row for row in downloads()}
    seed = {"emo-affectnet", "ser-352x15", "mini-xception", "fer-plus", "hsemotion-b0"}
    corpora = {f"emo-affectnet-{name}" for name in ("aff-wild2", "ravdess", "crema-d", "savee", "ramas", "iemocap")}
    assert set(found) == seed | corpora
    assert not {entry.name for entry in entries()} & set(found)
    for row in found.values():
        assert row.url.startswith("https://"), row.name
        assert row.kind in KINDS
        assert row.export, row.name
        assert row.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", row.sha256)
    unknown = {name for name, row in found.items() if row.sha256 is None}
    assert unknown == corpora - {"emo-affectnet-aff-wild2"}


def test_a_name_that_is_not_here_yet_says_how_to_get_it(home: Path) -> None:
    with pytest.raises(CatalogError, match="run 'bimodal models fetch emo-affectnet'"):
        resolve("emo-affectnet")
    with pytest.raises(CatalogError, match="did you mean 'emo-affectnet'"):
        find_download("emo-afectnet")
    with pytest.raises(CatalogError, match="ships with bimodal"):
        find_download("face-compact")


def test_the_command_shows_the_terms_first_and_takes_no_for_an_answer(home: Path) -> None:
    result = CliRunner().invoke(app, ["fetch", "emo-affectnet-savee"], input="n\n")
    assert result.exit_code == 1
    for word in ("scientific use", "huggingface.co/ElenaRyumina", "SAVEE", "this fetch pins it"):
        assert word in result.output
    assert not user_models().exists()


@pytest.mark.parametrize("arguments", [["fetch", "nothing"], ["fetch", "mini-xception", "--yes", "--from", "/nowhere"]])
def test_the_command_fails_with_one_sentence(home: Path, arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1


def test_own_models_are_listed_and_verified(home: Path, tmp_path: Path) -> None:
    install(make_speech(tmp_path / "m.onnx"), "tiny-speech")
    rows = {row["name"]: row for row in yaml.safe_load(CliRunner().invoke(app, ["list", "--json"]).output)}
    assert rows["tiny-speech"]["present"]
    assert not rows["emo-affectnet"]["present"]
    assert CliRunner().invoke(app, ["verify", "tiny-speech"]).output.strip() == "tiny-speech: ok"
    assert "tiny-speech" in CliRunner().invoke(app, ["list"]).output
