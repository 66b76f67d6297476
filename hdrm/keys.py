"""`hdrm keys`: who may use the service."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from hdrm.console import err, out

if TYPE_CHECKING:
    from service.keys import KeyFile

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")

Models = Annotated[Path | None, typer.Option("--models", help="Folder of the model store, which holds the keys too.")]
File = Annotated[Path | None, typer.Option("--file", help="File of the keys, if it is not in the store.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@app.command()
def create(
    name: Annotated[str, typer.Option("--name", help="What the key is for.")],
    scopes: Annotated[
        list[str],
        typer.Option("--scope", help="read: answers; write: events and items; admin: users' data. Repeat for several."),
    ],
    models: Models = None,
    file: File = None,
    rate: Annotated[
        str | None, typer.Option("--rate", help="How many requests it may make, such as 100/second or 5000/hour.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it. It is not kept, only its digest is: this is the only time it can be seen.

    From the first key on, all requests need one; a running server knows of it at once.

    Example: hdrm keys create --models models --name shop --scope read --scope write
    """
    keys = _file(models, file)
    token, key = keys.create(name, tuple(scopes), rate)  # type: ignore[arg-type]  # checked there
    if as_json:
        print(json.dumps({"key": token, "id": key.id, "name": key.name, "scopes": key.scopes, "rate": key.rate}))
        return
    err.print(f"key {key.id} for {escape(key.name)} ({', '.join(key.scopes)}), kept as a digest in {keys.path}:")
    print(token)


@app.command("list")
def list_keys(models: Models = None, file: File = None, as_json: Json = False) -> None:
    """All keys, the revoked ones too.

    Example: hdrm keys list --models models
    """
    keys = _file(models, file)
    found = keys.read()
    if as_json:
        print(json.dumps([key.model_dump(mode="json", exclude={"digest"}) for key in found], indent=1))
        return
    if not found:
        err.print(f"no keys in {keys.path}: requests need none, and the service listens on loopback alone")
        return
    table = Table(Column("id", no_wrap=True), "name", "scopes", "rate", "created", "revoked")
    for key in found:
        table.add_row(
            key.id,
            escape(key.name),
            ", ".join(key.scopes),
            key.rate or "",
            _time(key.created_at),
            "" if key.revoked_at is None else _time(key.revoked_at),
        )
    out.print(table)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `hdrm keys list` shows it.")],
    models: Models = None,
    file: File = None,
) -> None:
    """End a key; a running server refuses it at once.

    Example: hdrm keys revoke 1f0c2a9e --models models
    """
    key = _file(models, file).revoke(key_id)
    err.print(f"key {key.id} for {escape(key.name)} is revoked")


def _file(models: Path | None, file: Path | None) -> "KeyFile":
    from service.keys import KeyFile
    from service.settings import load_settings

    given = {name: value for name, value in (("models", models), ("keys_file", file)) if value is not None}
    return KeyFile(load_settings(**given).keys_path)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
