"""Where the live page listens: the configured place, kept through restarts, and checked beforehand."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bimodal.workers.errors import ViewError
from bimodal.workers.view.listening import RememberedPort, check_place, listen
from bimodal.workers.view.settings import ViewSettings

TOKEN = "0123456789abcdef"


def test_a_port_is_remembered_for_the_same_settings_only(tmp_path: Path) -> None:
    file = tmp_path / "view.port"
    settings = ViewSettings(port=8484)
    assert RememberedPort(file, settings).read() is None
    RememberedPort(file, settings).write(8490)
    assert RememberedPort(file, settings).read() == 8490
    assert RememberedPort(file, ViewSettings(port=9000)).read() is None, "the page moves where the config says so"
    assert RememberedPort(file, ViewSettings(port=8484, host="::1")).read() is None
    file.write_text("8490")
    assert RememberedPort(file, settings).read() is None


def test_a_page_that_can_not_be_served_is_found_out_beforehand(tmp_path: Path) -> None:
    check_place(ViewSettings(port=0))
    with pytest.raises(ViewError, match="there is no such host"):
        check_place(ViewSettings(host="no-such-host.invalid", token=TOKEN))
    with pytest.raises(ViewError, match=r"can't be served at 203\.0\.113\.7"):
        check_place(ViewSettings(host="203.0.113.7", token=TOKEN))
    (tmp_path / "bad.pem").write_text("no certificate")
    bad = str(tmp_path / "bad.pem")
    with pytest.raises(ViewError, match="can't be used"):
        check_place(ViewSettings(port=0, tls_certificate=bad, tls_key=bad))


def test_a_port_in_use_gives_the_next() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with listen(ViewSettings(port=port)) as bound:
            assert bound.getsockname()[1] != port
