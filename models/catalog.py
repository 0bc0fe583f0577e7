"""Names → artifact files: what ships, where it comes from, and the checksum that says it is still the same.

`bimodal models pin` writes the checksums of the files that lie there into catalog.yaml.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from pathlib import Path

import msgspec
import yaml

from models.contract import Kind
from models.errors import CatalogError
from models.session import open_artifact

ROOT = Path(__file__).parent
CATALOG = ROOT / "catalog.yaml"


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One artifact of the catalog.

    Attributes:
        name: what config.yaml calls it.
        file: path from the folder of the catalog.
        kind: what it is, see models/contract.py.
        license: of the weights.
        source: where they come from, in words.
        sha256: of the file.
    """

    name: str
    file: str
    kind: Kind
    license: str
    source: str
    sha256: str


def entries(catalog: Path = CATALOG) -> list[Entry]:
    """Every artifact of the catalog, in its order.

    Raises CatalogError where the file can't be read or says something that it may not.
    """
    try:
        table = yaml.safe_load(catalog.read_text(encoding="utf-8"))
        rows = [{"name": name, **fields} for name, fields in table["models"].items()]
        return msgspec.convert(rows, list[Entry])
    except (OSError, yaml.YAMLError, msgspec.ValidationError, TypeError, KeyError, AttributeError) as error:
        raise CatalogError(f"{catalog} is not a catalog of models: {error}") from error


def find(name: str, catalog: Path = CATALOG) -> Entry:
    """The entry of that name.

    Raises CatalogError, naming the nearest name there is.
    """
    known = {entry.name: entry for entry in entries(catalog)}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise CatalogError(f"there is no model '{name}': {hint}The catalog has {', '.join(known)}")


def path_of(entry: Entry, catalog: Path = CATALOG) -> Path:
    """Where the file of an entry lies (or should)."""
    return catalog.parent / entry.file


def resolve(name_or_path: str, catalog: Path = CATALOG) -> Path:
    """The file that a name of the catalog, or a path to an .onnx file, means.

    Raises CatalogError where the name is unknown or the file is not there.
    """
    if name_or_path.endswith(".onnx"):
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            raise CatalogError(f"there is no model file {name_or_path}")
        return path
    entry = find(name_or_path, catalog)
    path = path_of(entry, catalog)
    if not path.is_file():
        raise CatalogError(f"the file of model '{entry.name}' is missing: {path}; install bimodal again")
    return path


def verify(entry: Entry, catalog: Path = CATALOG) -> None:
    """Check an entry's file: checksum, contract, warm-up run, and that it is what the catalog says.

    Raises CatalogError or ArtifactError.
    """
    path = resolve(entry.name, catalog)
    found = sha256_of(path)
    if found != entry.sha256:
        raise CatalogError(
            f"model '{entry.name}' is not the file that the catalog knows: {path} has sha256 {found}, "
            f"the catalog {entry.sha256}"
        )
    metadata = open_artifact(path, entry.kind, provider="cpu").metadata
    if metadata.name != entry.name:
        raise CatalogError(f"model '{entry.name}' calls itself '{metadata.name}' in {path}")


def sha256_of(path: Path) -> str:
    """Of the file's bytes, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pin(catalog: Path = CATALOG) -> list[str]:
    """Write the checksum of every file that is there into the catalog; comments and order stay.

    Returns the names whose checksum changed. Raises CatalogError where the catalog can't be read.
    """
    text = catalog.read_text(encoding="utf-8")
    changed = []
    for entry in entries(catalog):
        path = path_of(entry, catalog)
        if not path.is_file() or sha256_of(path) == entry.sha256:
            continue
        pattern = rf"(?m)^(  {re.escape(entry.name)}:\n(?:    .*\n)*?    sha256: )\S*$"
        text, count = re.subn(pattern, rf"\g<1>{sha256_of(path)}", text)
        if count != 1:
            raise CatalogError(f"{catalog}: the entry of '{entry.name}' needs a line 'sha256: …' indented by four")
        changed.append(entry.name)
    catalog.write_text(text, encoding="utf-8")
    return changed
