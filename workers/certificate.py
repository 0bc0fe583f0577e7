"""A certificate of one's own, so that the live page can be HTTPS: browsers lend their camera to nothing less.

Self-signed: a browser warns once, and whoever compares the fingerprint knows that it is the right one.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bimodal.workers.errors import ConfigError

# Apple's systems refuse certificates that are valid for longer.
VALID_DAYS = 397
MOST_COMMON_NAME = 64


class CertificateFiles(NamedTuple):
    """Where a certificate and its secret key lie, as PEM."""

    certificate: Path
    key: Path


def tls_folder() -> Path:
    """Where `bimodal keys tls` puts them: $XDG_CONFIG_HOME/bimodal/tls, by default ~/.config/bimodal/tls."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(given) if given.startswith("/") else Path.home() / ".config") / "bimodal" / "tls"


def certificate_files(folder: Path) -> CertificateFiles:
    """The two files of a folder."""
    return CertificateFiles(folder / "certificate.pem", folder / "key.pem")


def own_names() -> list[str]:
    """What this machine may be called: its host name, localhost, and every address of its own."""
    name = socket.gethostname()
    addresses = [
        address.address
        for found in psutil.net_if_addrs().values()
        for address in found
        if address.family in (socket.AF_INET, socket.AF_INET6) and "%" not in address.address
    ]
    return list(dict.fromkeys([name, f"{name}.local", "localhost", "127.0.0.1", "::1", *addresses]))


def make_certificate(folder: Path, names: Iterable[str], *, again: bool = False) -> CertificateFiles:
    """Make a key (P-256) and a certificate for `names`, host names or IP addresses; the first is its subject.

    The folder is private (0700), the key can be read by its user only (0600).
    Raises ConfigError where a name can't be one, or files are there already and `again` is not set.
    """
    files = certificate_files(folder)
    if files.key.exists() and not again:
        raise ConfigError(f"there is a certificate in {folder} already; --again replaces it")
    secret = ec.generate_private_key(ec.SECP256R1())
    certificate = _signed(secret, list(names))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        _write(
            files.key,
            secret.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            0o600,
        )
        _write(files.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    except OSError as error:
        raise ConfigError(f"the certificate can't be written to {folder}: {error.strerror}") from error
    return files


def fingerprint(certificate: Path) -> str:
    """SHA-256 of a certificate, as browsers show it. Raises ConfigError where the file holds none."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{certificate} is no certificate that can be read") from error
    return found.fingerprint(hashes.SHA256()).hex(":").upper()


def _signed(secret: ec.EllipticCurvePrivateKey, names: list[str]) -> x509.Certificate:
    alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:MOST_COMMON_NAME])])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS - 1))
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(secret, hashes.SHA256())
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        pass
    if not name or not name.isascii() or any(c.isspace() or c in "/:@" for c in name):
        raise ConfigError(f"'{name}' is neither a host name nor an IP address; give what stands between https:// and /")
    return x509.DNSName(name)


def _write(path: Path, data: bytes, mode: int) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
    fresh.replace(path)
