"""`bimodal keys tls`: make the certificate that lets the live page be HTTPS."""

from __future__ import annotations

from typing import Annotated

import typer

from bimodal.workers.edge import edge


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
    from bimodal.workers.certificate import fingerprint, make_certificate, own_names, tls_folder

    with edge():
        names = list(dict.fromkeys([*(host or []), *own_names()]))
        files = make_certificate(tls_folder(), names, again=again)
        typer.echo(f"A certificate for {', '.join(names)}.\nIn config.yaml:\n")
        typer.echo("outputs:\n  view:")
        typer.echo(f"    tls_certificate: {files.certificate}\n    tls_key: {files.key}\n")
        typer.echo("A browser warns of it once, for nobody but you has signed it. It is the right one if its")
        typer.echo(f"SHA-256 fingerprint is\n{fingerprint(files.certificate)}")
