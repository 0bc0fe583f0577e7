"""CURVE keys: files that only their user can read, and listeners that admit allowed keys only."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from bimodal.broker import keys
from bimodal.broker.errors import EndpointError, KeysError
from bimodal.broker.process import EventBus
from bimodal.broker.remote import RemoteListeners
from bimodal.broker.sockets import Login, connect, make_private

PATIENCE_S = 20.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "config" / "keys"


def test_a_pair_is_made_once_and_only_its_user_can_read_it(folder: Path) -> None:
    public = keys.create(folder)
    pair = keys.own(folder)
    assert pair.public == public
    assert len(public) == len(pair.secret) == 40
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "bimodal.key_secret").stat().st_mode & 0o777 == 0o600
    assert pair.secret.decode() not in repr(pair)
    with pytest.raises(KeysError, match="already"):
        keys.create(folder)


def test_a_missing_key_says_how_to_make_one(folder: Path) -> None:
    with pytest.raises(KeysError, match="'bimodal keys create --name robot'"):
        keys.own(folder, "robot")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_secret_that_others_can_read_is_not_used(folder: Path, mode: int) -> None:
    keys.create(folder)
    (folder / "bimodal.key_secret").chmod(mode)
    with pytest.raises(KeysError, match=r"chmod 600"):
        keys.own(folder)


def test_a_folder_that_others_can_enter_is_not_used(folder: Path) -> None:
    keys.create(folder)
    folder.chmod(0o755)
    with pytest.raises(KeysError, match="chmod 700"):
        keys.own(folder)
    with pytest.raises(KeysError, match="chmod 700"):
        keys.create(folder, "another")


def test_keys_of_another_user_are_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.create(folder)
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(KeysError, match="belongs to another user"):
        keys.own(folder)


@pytest.mark.parametrize("text", ["", "public-key = 3", 'public-key = "' + "a" * 40 + '"', "\0\xff"])
def test_a_file_that_is_no_key_is_named(folder: Path, text: str) -> None:
    keys.create(folder)
    (folder / "bimodal.key_secret").write_text(text, encoding="latin-1")
    with pytest.raises(KeysError, match="is no key file"):
        keys.own(folder)


def test_allowed_keys_have_names_and_rooms(folder: Path, tmp_path: Path) -> None:
    laptop, robot, third = (keys.create(tmp_path / name) for name in "abc")
    keys.allow(folder, laptop, "laptop", "events")
    keys.allow(folder, robot, "robot", "workers")
    assert keys.allowed(folder, "events") == {laptop: "laptop"}
    assert keys.allowed(folder, "workers") == {robot: "robot"}
    with pytest.raises(KeysError, match="allowed as 'laptop' already"):
        keys.allow(folder, laptop, "other", "workers")
    with pytest.raises(KeysError, match="'laptop' is another key already"):
        keys.allow(folder, third, "laptop", "workers")
    keys.remove(folder, "laptop")
    assert keys.allowed(folder, "events") == {}
    with pytest.raises(KeysError, match="nobody is allowed as 'laptop'"):
        keys.remove(folder, "laptop")


@pytest.mark.parametrize("public", ["", "short", "a" * 39, "'" * 40, "z" * 41, "#" * 40, "\u00e4" * 40])
def test_what_is_no_public_key_is_refused(folder: Path, public: str) -> None:
    with pytest.raises(KeysError, match="no public key"):
        keys.allow(folder, public, "laptop", "events")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a" * 49, "a b", "a\n"])
def test_a_name_can_not_leave_the_folder(folder: Path, name: str) -> None:
    with pytest.raises(KeysError, match="can't name a key"):
        keys.create(folder, name)
    with pytest.raises(KeysError, match="can't name a key"):
        keys.remove(folder, name)


# ------------------------------------------------------------------------------------ listeners


class Served:
    """An event bus with a listener for other machines, and clients of it."""

    def __init__(self, tmp_path: Path, folder: Path) -> None:
        self.folder, self.clients = folder, tmp_path / "clients"
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.listeners = RemoteListeners(self.context, folder)
        make_private(tmp_path / "s")
        self.bus = EventBus(self.context, tmp_path / "s", self.listeners)
        self.sockets: list[zmq.Socket[bytes]] = []

    def open(self) -> None:
        self.bus.serve(["tcp://0.0.0.0:*"], [])

    @property
    def endpoint(self) -> str:
        assert self.listeners.events.socket is not None
        return self.listeners.events.socket.getsockopt_string(zmq.LAST_ENDPOINT).replace("0.0.0.0", "127.0.0.1")

    def client(self, name: str, server_key: str | None = None) -> zmq.Socket[bytes]:
        """A subscriber with an own pair of that name; without it, one that knows nothing of keys."""
        login = None
        if name:
            if name not in keys.own_names(self.clients):
                keys.create(self.clients, name)
            login = Login(server_key or keys.own(self.folder).public, keys.own(self.clients, name))
        socket = connect(self.context, zmq.SUB, self.endpoint, login=login)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        self.sockets.append(socket)
        return socket

    def public(self, name: str) -> str:
        return keys.own(self.clients, name).public

    def hears(self, socket: zmq.Socket[bytes]) -> bool:
        """Publishes until the client hears something."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            self.bus.publish([b"t", b"x"])
            if socket.poll(20):
                while socket.poll(0):
                    socket.recv_multipart()
                return True
        return False

    def deaf_while(self, heard: zmq.Socket[bytes], deaf: zmq.Socket[bytes]) -> bool:
        """One hears many messages while the other hears none."""
        for _ in range(10):
            assert self.hears(heard)
        return not deaf.poll(0)

    def close(self) -> None:
        for socket in self.sockets:
            socket.close(linger=0)
        self.bus.close()
        self.listeners.close()
        self.context.term()


@pytest.fixture
def served(tmp_path: Path, folder: Path) -> Iterator[Served]:
    keys.create(folder)
    found = Served(tmp_path, folder)
    yield found
    found.close()


def test_a_door_opens_to_allowed_keys_only(served: Served) -> None:
    served.open()
    laptop, stranger, worker = served.client("laptop"), served.client("stranger"), served.client("worker")
    naked = served.client("")
    keys.allow(served.folder, served.public("laptop"), "laptop", "events")
    keys.allow(served.folder, served.public("worker"), "worker", "workers")
    assert served.hears(laptop)
    for outside in (stranger, worker, naked):
        assert served.deaf_while(laptop, outside)


def test_a_server_that_is_not_the_right_one_is_not_believed(served: Served, tmp_path: Path) -> None:
    served.open()
    laptop = served.client("laptop")
    keys.allow(served.folder, served.public("laptop"), "laptop", "events")
    fooled = served.client("laptop", server_key=keys.create(tmp_path / "another"))
    assert served.hears(laptop)
    assert served.deaf_while(laptop, fooled)


def test_a_key_that_is_allowed_later_counts_without_a_restart(served: Served) -> None:
    served.open()
    laptop = served.client("laptop")
    keys.allow(served.folder, served.public("laptop"), "laptop", "events")
    assert served.hears(laptop)


def test_a_removed_key_is_cut_off_and_the_others_come_back(served: Served, unused_port: Callable[[], int]) -> None:
    served.bus.serve([f"tcp://0.0.0.0:{unused_port()}"], [])
    laptop, thief = served.client("laptop"), served.client("thief")
    for name in ("laptop", "thief"):
        keys.allow(served.folder, served.public(name), name, "events")
    assert served.hears(laptop)
    assert served.hears(thief)
    keys.remove(served.folder, "thief")
    end = time.monotonic() + PATIENCE_S
    served.listeners.enforce_keys()
    while served.listeners.events.down and time.monotonic() < end:
        served.listeners.enforce_keys()
    while thief.poll(0):
        thief.recv_multipart()
    assert served.hears(laptop)
    assert served.deaf_while(laptop, thief)


@pytest.fixture
def unused_port() -> Callable[[], int]:
    def find() -> int:
        context = zmq.Context[zmq.Socket[bytes]]()
        with context.socket(zmq.PUB) as socket:
            port = socket.bind_to_random_port("tcp://127.0.0.1")
        context.term()
        return port

    return find


def test_without_keys_nothing_is_opened_to_other_machines(tmp_path: Path) -> None:
    context = zmq.Context[zmq.Socket[bytes]]()
    listeners = RemoteListeners(context, tmp_path / "keys")
    make_private(tmp_path / "s")
    bus = EventBus(context, tmp_path / "s", listeners)
    for beyond in (["tcp://0.0.0.0:*"], ["tcp://127.0.0.1:*", "tcp://*:*"]):
        with pytest.raises(KeysError, match="reachable from other machines, and that needs keys: run 'bimodal keys cr"):
            bus.serve(beyond, [])
    with pytest.raises(KeysError, match="needs keys"):
        bus.serve([], ["tcp://127.0.0.1:*"])
    bus.serve(["tcp://127.0.0.1:*"], [])
    bus.close()
    listeners.close()
    context.term()


def test_a_door_that_can_not_open_leaves_the_others_as_they_were(served: Served) -> None:
    served.open()
    laptop = served.client("laptop")
    keys.allow(served.folder, served.public("laptop"), "laptop", "events")
    assert served.hears(laptop)
    with pytest.raises(EndpointError, match="no address for other machines"):
        served.bus.serve(["tcp://0.0.0.0:*"], ["ipc:///tmp/x"])
    assert served.hears(laptop)


def test_connecting_to_another_machine_needs_its_key(served: Served) -> None:
    with pytest.raises(EndpointError, match="--server-key"):
        connect(served.context, zmq.SUB, "tcp://192.0.2.1:5655")


# ------------------------------------------------------------------------------------ private folders


def test_a_link_or_a_folder_of_another_is_no_session_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    with pytest.raises(EndpointError, match="belongs to another user or is a link"):
        make_private(tmp_path / "link")
    assert real.stat().st_mode & 0o777 != 0o700
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    with pytest.raises(EndpointError, match=r"other users can change|belongs to another user"):
        make_private(real)


def test_a_folder_in_which_others_may_rename_is_no_place(tmp_path: Path) -> None:
    place = tmp_path / "shared"
    place.mkdir()
    place.chmod(0o777)
    with pytest.raises(EndpointError, match="other users can change"):
        make_private(place / "s")
    place.chmod(0o1777)
    make_private(place / "s")
