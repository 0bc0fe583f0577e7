"""The page's own certificate: its names, who may read its key, and a connection that trusts it."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from bimodal.commands.keys import app, fingerprint, make_certificate, own_names
from bimodal.workers.errors import ConfigError


def test_a_client_that_trusts_it_connects_under_its_names_only(tmp_path: Path) -> None:
    files = make_certificate(tmp_path / "tls", ["cam.test", "10.0.0.7", "::1"])
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(files.certificate, files.key)
    client_side = ssl.create_default_context(cafile=str(files.certificate))

    def connect(name: str) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            serving = threading.Thread(target=shake_hands, args=(theirs,))
            serving.start()
            try:
                with client_side.wrap_socket(ours, server_hostname=name):
                    pass
            finally:
                serving.join()

    def shake_hands(side: socket.socket) -> None:
        try:
            with server_side.wrap_socket(side, server_side=True):
                pass
        except OSError:
            pass  # the client did not like our name

    for name in ("cam.test", "10.0.0.7", "::1"):
        connect(name)
    for name in ("other.test", "10.0.0.8"):
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(name)


def test_the_key_is_private_and_is_not_replaced_by_accident(tmp_path: Path) -> None:
    files = make_certificate(tmp_path / "tls", ["cam.test"])
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(files.key.parent.stat().st_mode) == 0o700
    first = fingerprint(files.certificate)
    with pytest.raises(ConfigError, match="--again"):
        make_certificate(tmp_path / "tls", ["cam.test"])
    make_certificate(tmp_path / "tls", ["cam.test"], again=True)
    assert fingerprint(files.certificate) != first
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["https://cam.test", "", "a b", "user@host", "bücher.test"])
def test_what_can_t_be_a_name_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="neither a host name nor an IP address"):
        make_certificate(tmp_path / "tls", [name])
    assert not (tmp_path / "tls").exists()


def test_the_command_says_what_to_write_into_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    told = CliRunner().invoke(app, ["tls", "--host", "cam.test", "--host", "192.0.2.9"])
    assert told.exit_code == 0, told.output
    certificate, key = tmp_path / "bimodal/tls/certificate.pem", tmp_path / "bimodal/tls/key.pem"
    assert f"tls_certificate: {certificate}" in told.output
    assert f"tls_key: {key}" in told.output
    assert fingerprint(certificate) in told.output
    names = x509.load_pem_x509_certificate(certificate.read_bytes()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert {"cam.test", "localhost", socket.gethostname()} <= set(names.value.get_values_for_type(x509.DNSName))
    assert ipaddress.ip_address("192.0.2.9") in names.value.get_values_for_type(x509.IPAddress)
    assert "127.0.0.1" in own_names()
    again = CliRunner().invoke(app, ["tls"])
    assert again.exit_code == 1
