"""`bimodal keys`: what this machine proves itself with."""

from __future__ import annotations

import typer

from workers.commands.tls import tls

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode="rich", help="Make the keys of this machine."
)
app.command()(tls)


@app.callback()
def _keys() -> None:
    """Keep `tls` a command of its own, also as long as it is the only one."""
