"""`bimodal keys`: keys and certificates of this machine, and the machines that may connect (docs/security.md)."""

from __future__ import annotations

import datetime
import ipaddress
import os
import shlex
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NamedTuple

import psutil
import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from platformdirs import user_config_path

from bimodal.broker import keys
from bimodal.console import put_json, user_errors
from bimodal.workers.errors import ConfigError


def tls(
    host: Annotated[
        list[str] | None,
        typer.Option(help="One more name or IP address that the page is opened under.", metavar="NAME"),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Replace the certificate that is there.")] = False,
) -> None:
    """Make a self-signed certificate for the live page, and say what to write into config.yaml.

    It is valid for this machine's names and addresses and for those given with --host.

    Example: [b]bimodal keys tls --host robot.local[/b]
    """

    with user_errors():
        names = list(dict.fromkeys([*(host or []), *own_names()]))
        files = make_certificate(tls_folder(), names, again=again)
        typer.echo(f"A certificate for {', '.join(names)}.\nIn config.yaml:\n")
        typer.echo("outputs:\n  view:")
        typer.echo(f"    tls_certificate: {files.certificate}\n    tls_key: {files.key}\n")
        typer.echo("A browser warns of it once, for nobody but you has signed it. It is the right one if its")
        typer.echo(f"SHA-256 fingerprint is\n{fingerprint(files.certificate)}")


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="Make the keys of this machine, and say who may connect from others.",
)
KeyName = Annotated[str, typer.Option(help="Name of the key, where this machine has several.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def _print_json(**values: object) -> None:
    put_json(values)


@app.command()
def create(
    name: KeyName = keys.OWN,
    once: Annotated[
        bool, typer.Option("--once", help="Keep the key that is there: for scripts that run again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key pair for this machine; the secret half never leaves it.

    Example: [b]bimodal keys create[/b]
    """
    with user_errors():
        folder = keys.keys_folder()
        there = once and name in keys.own_names(folder)
        public = keys.own(folder, name).public if there else keys.create(folder, name)
        if as_json:
            _print_json(name=name, public_key=public, made=not there)
            return
        if there:
            typer.echo(f"the key '{name}' is there already; its public half, to be given to others:")
            typer.echo(shlex.quote(public))
            return
        typer.echo(f"made the key '{name}' in {folder}; its public half, to be given to others:")
        typer.echo(shlex.quote(public))


@app.command()
def show(name: KeyName = keys.OWN, as_json: AsJson = False) -> None:
    """Print this machine's public key: give it to the other side. It is no secret.

    Example: [b]bimodal keys show[/b]
    """
    with user_errors():
        public = keys.own(keys.keys_folder(), name).public
        if as_json:
            _print_json(name=name, public_key=public)
            return
        # On a terminal to be copied into a shell, so in quotes; into "$(bimodal keys show)" as it is.
        typer.echo(shlex.quote(public) if sys.stdout.isatty() else public)


@app.command()
def allow(
    public_key: Annotated[
        str,
        typer.Argument(help="What 'bimodal keys show' prints on the other machine, in quotes; - reads it from stdin."),
    ],
    name: Annotated[
        str | None, typer.Option(help="What to call the other machine: laptop, robot …; by default a number.")
    ] = None,
    work: Annotated[
        bool, typer.Option("--work", help="It may run workers, and so is sent the pictures; else it may read events.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let the holder of a public key connect; counts at once, also while bimodal runs.

    Example: [b]bimodal keys allow 'PUBLIC KEY' --name laptop[/b], or, on one machine,
    [b]bimodal keys allow "$(bimodal keys show)"[/b]
    """
    with user_errors():
        folder = keys.keys_folder()
        public = unquoted(sys.stdin.readline() if public_key == "-" else public_key)
        name = name or free_name(folder, public)
        scope: keys.Scope = "workers" if work else "events"
        keys.allow(folder, public, name, scope)
        if as_json:
            _print_json(name=name, public_key=public, scope=scope)
            return
        typer.echo(f"'{name}' may {'run workers' if work else 'read events'}")


def unquoted(key: str) -> str:
    """The key without the quotes that 'bimodal keys show' prints around it for a shell."""
    key = key.strip()
    return key[1:-1] if len(key) > 2 and key[0] == key[-1] in "'\"" else key


def free_name(folder: Path, public: str) -> str:
    """The name under which a key is allowed already, else the first free one of machine-1, machine-2 …"""
    known = {key: called for scope in keys.SCOPES for key, called in keys.allowed(folder, scope).items()}
    taken, number = set(known.values()), 1
    while f"machine-{number}" in taken:
        number += 1
    return known.get(public, f"machine-{number}")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List this machine's keys and who may connect.

    Example: [b]bimodal keys list[/b]
    """
    with user_errors():
        folder = keys.keys_folder()
        if as_json:
            _print_json(
                own=[{"name": name, "public_key": keys.own(folder, name).public} for name in keys.own_names(folder)],
                allowed=[
                    {"name": name, "public_key": public, "scope": scope}
                    for scope in keys.SCOPES
                    for public, name in keys.allowed(folder, scope).items()
                ],
            )
            return
        for name in keys.own_names(folder):
            typer.echo(f"own      {name}  {keys.own(folder, name).public}")
        for scope in keys.SCOPES:
            for public, name in keys.allowed(folder, scope).items():
                typer.echo(f"{scope:8} {name}  {public}")


@app.command()
def remove(name: Annotated[str, typer.Argument(help="The name that the key was allowed under.")]) -> None:
    """Let a machine connect no longer; one that is connected is cut off within a second or two.

    Example: [b]bimodal keys remove laptop[/b]
    """
    with user_errors():
        keys.remove(keys.keys_folder(), name)
        typer.echo(f"'{name}' may not connect any more")


app.command()(tls)

# A self-signed certificate, so that the live page can be served over HTTPS: browsers allow cameras on no other page.
# A browser warns once; comparing the fingerprint shows that it is the right one.

# Apple's systems refuse certificates that are valid for longer.
VALID_DAYS = 397
MOST_COMMON_NAME = 64


class CertificateFiles(NamedTuple):
    """Paths of a certificate and its secret key, as PEM."""

    certificate: Path
    key: Path


def tls_folder() -> Path:
    """Folder of `bimodal keys tls`: $XDG_CONFIG_HOME/bimodal/tls, by default ~/.config/bimodal/tls."""
    return user_config_path("bimodal") / "tls"


def certificate_files(folder: Path) -> CertificateFiles:
    """Paths of the two files in a folder."""
    return CertificateFiles(folder / "certificate.pem", folder / "key.pem")


def own_names() -> list[str]:
    """Names of this machine: its host name, localhost, and every address of its own."""
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
