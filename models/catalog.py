"""Catalog of models: names, files and checksums of artifacts that ship or can be fetched.

`bimodal models pin` writes the checksums of the present files into catalog.yaml.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml
from platformdirs import user_cache_path, user_data_path

from bimodal.models.contract import Kind
from bimodal.models.errors import CatalogError, MissingModelError
from bimodal.models.formats import advice
from bimodal.models.precision import Precision

ROOT = Path(__file__).parent
CATALOG = ROOT / "catalog.yaml"

DEFAULTS: Mapping[str, tuple[str, ...]] = {"face-static": ("face-robust",), "speech": ("speech-whisper",)}
"""The models of the default config for kinds that several may serve, by kind."""


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another file of a model: path relative to the folder of the catalog, and checksum."""

    file: str
    sha256: str


INT8_SUFFIX = "-int8"
"""What the name of an INT8 variant adds to that of its model."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One artifact of the catalog.

    Attributes:
        name: its name in config.yaml.
        file: path relative to the folder of the catalog.
        kind: kind of the artifact, see models/contract.py.
        license: licence of the weights.
        source: origin of the weights, in words.
        sha256: checksum of the file.
        int8: the same model in 8-bit integers, which calls itself NAME-int8; None where there is none.
    """

    name: str
    file: str
    kind: Kind
    license: str
    source: str
    sha256: str
    int8: Variant | None = None


class Download(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A third-party model that `bimodal models fetch` converts into an artifact of the user's own folder.

    Attributes:
        name: name of the artifact in config.yaml.
        kind: kind of the artifact.
        url: address of the authors' file, ending in the file's name.
        sha256: checksum of the authors' file; None if not known yet: then the first fetch pins it.
        bytes: size of the authors' file, if known.
        license, source: of the weights, shown before anything is fetched.
        export: arguments of `bimodal export` that convert the file, without the file and --out; empty if the file
            is an artifact already.
    """

    name: str
    kind: Kind
    url: str
    sha256: str | None = None
    bytes: int | None = None
    license: str
    source: str
    export: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """The authors' name of the file."""
        return self.url.rpartition("/")[2]


def entries(catalog: Path = CATALOG) -> list[Entry]:
    """The artifacts that ship, in the catalog's order.

    Raises CatalogError if the catalog can't be read or is invalid.
    """
    return _rows(catalog, "models", list[Entry])


def downloads(catalog: Path = CATALOG) -> list[Download]:
    """The models that can be fetched, in the catalog's order; raises as `entries`."""
    return _rows(catalog, "fetch", list[Download])


def installed(folder: Path | None = None) -> dict[str, Path]:
    """The models in the user's own folder: name → file."""
    return {path.parent.name: path for path in sorted((folder or user_models()).glob("[!.]*/model.onnx"))}


def find(name: str, catalog: Path = CATALOG) -> Entry:
    """Find the shipped artifact of that name.

    Raises CatalogError, naming the nearest existing name.
    """
    return _named(name, entries(catalog), catalog)


def find_download(name: str, catalog: Path = CATALOG) -> Download:
    """Find the fetchable model of that name; raises as `find`."""
    if any(entry.name == name for entry in entries(catalog)):
        raise CatalogError(f"model '{name}' ships with bimodal: there is nothing to fetch")
    return _named(name, downloads(catalog), catalog)


def path_of(entry: Entry, catalog: Path = CATALOG) -> Path:
    """The path of an entry's file, which may be missing."""
    return catalog.parent / entry.file


def resolve(name_or_path: str, catalog: Path = CATALOG, *, precision: Precision = "fp32") -> Path:
    """Find the file of a name or of a path to an .onnx file; shipped names come before the user's own folder.

    Args:
        precision: the variant wanted of a shipped model; one that does not have it gives its only file.

    Raises MissingModelError if the name is unknown or the file is missing, CatalogError if it is no .onnx file.
    """
    if name_or_path.endswith(".onnx"):
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            raise MissingModelError(f"there is no model file {name_or_path}")
        return path
    shipped = {entry.name: entry for entry in entries(catalog)}
    if name_or_path not in shipped:
        _refuse_foreign(name_or_path)
        return _not_shipped(name_or_path, catalog)
    entry = shipped[name_or_path]
    path = path_of(entry, catalog)
    if precision == "int8" and entry.int8 is not None:
        path = catalog.parent / entry.int8.file
    if not path.is_file():
        raise MissingModelError(f"the file of model '{name_or_path}' is missing: {path}; install bimodal again")
    return path


FOREIGN = (".pt", ".pth", ".pt2", ".ckpt", ".bin", ".h5", ".hdf5", ".keras", ".tflite", ".safetensors", ".pb", ".pkl")
"""Endings of model files that are no artifacts."""


def _refuse_foreign(name: str) -> None:
    """Raise CatalogError, saying what makes an artifact of it, if a name is a path to a file that is none."""
    path = Path(name).expanduser()
    if name in installed() or not (name.lower().endswith(FOREIGN) or "/" in name or path.is_dir()):
        return
    if not path.exists():
        raise MissingModelError(f"there is no model file {name}")
    raise CatalogError(advice(path))


def _not_shipped(name: str, catalog: Path) -> Path:
    own = installed()
    if name in own:
        return own[name]
    if any(download.name == name for download in downloads(catalog)):
        raise MissingModelError(f"model '{name}' is not on this machine yet: run 'bimodal models fetch {name}'")
    raise _unknown(name, catalog)


def verify(entry: Entry, catalog: Path = CATALOG) -> None:
    """Check an entry's files: checksum, contract, warm-up run, and that each is what the catalog says.

    Raises CatalogError or ArtifactError.
    """
    _verify(entry.name, resolve(entry.name, catalog), entry.kind, entry.sha256)
    if entry.int8 is not None:
        path = resolve(entry.name, catalog, precision="int8")
        _verify(f"{entry.name}{INT8_SUFFIX}", path, entry.kind, entry.int8.sha256)


def _verify(name: str, path: Path, kind: Kind, sha256: str) -> None:
    found = sha256_of(path)
    if found != sha256:
        raise CatalogError(
            f"model '{name}' is not the file that the catalog knows: {path} has sha256 {found}, the catalog {sha256}"
        )
    # Imported here, because loading ONNX Runtime takes as long as everything else that resolves names.
    from bimodal.models.session import open_artifact

    metadata = open_artifact(path, kind, provider="cpu").metadata
    if metadata.name != name:
        raise CatalogError(f"model '{name}' calls itself '{metadata.name}' in {path}")


def verify_installed(name: str) -> None:
    """Check a model of the user's own folder as `verify`, against the entry.json written when it was installed.

    Raises CatalogError or ArtifactError.
    """
    path = installed().get(name)
    if path is None:
        download = next((download for download in downloads() if download.name == name), None)
        if download is not None:
            raise CatalogError(
                f"model '{name}' is in the catalog, but not on this machine: 'bimodal models fetch {name}'"
            )
        raise _unknown(name, CATALOG)
    note = path.with_name("entry.json")
    try:
        entry = msgspec.json.decode(note.read_bytes(), type=Entry)
    except (OSError, msgspec.MsgspecError) as error:
        raise CatalogError(f"model '{name}' in {path.parent} was not installed by bimodal: it has no note") from error
    if sha256_of(path) != entry.sha256:
        raise CatalogError(f"model '{name}' was changed after it was installed: {path} has another sha256")
    from bimodal.models.session import open_artifact

    open_artifact(path, entry.kind, provider="cpu")


def sha256_of(path: Path) -> str:
    """Compute the SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pin(catalog: Path = CATALOG) -> list[str]:
    """Write the checksums of all present files into the catalog, keeping comments and order.

    Returns the names whose checksum changed. Raises CatalogError if the catalog can't be read.
    """
    text = catalog.read_text(encoding="utf-8")
    changed = []
    for entry in entries(catalog):
        place = rf"(?m)^(  {re.escape(entry.name)}:\n(?:    .*\n)*?"
        text, new = _pinned(text, rf"{place}    sha256: )\S*$", path_of(entry, catalog), entry.sha256)
        changed += [entry.name] * new
        if entry.int8 is not None:
            path = catalog.parent / entry.int8.file
            text, new = _pinned(
                text, rf"{place}    int8:\n(?:      .*\n)*?      sha256: )\S*$", path, entry.int8.sha256
            )
            changed += [f"{entry.name}{INT8_SUFFIX}"] * new
    catalog.write_text(text, encoding="utf-8")
    return changed


def _pinned(text: str, pattern: str, path: Path, known: str) -> tuple[str, bool]:
    """The catalog with the checksum of a present file at the end of a pattern, and whether it is another one."""
    if not path.is_file() or (found := sha256_of(path)) == known:
        return text, False
    text, count = re.subn(pattern, rf"\g<1>{found}", text)
    if count != 1:
        raise CatalogError(f"the catalog's entry of {path} needs a line 'sha256: …', indented as the others")
    return text, True


_Rows = TypeVar("_Rows", list[Entry], list[Download])
_Row = TypeVar("_Row", Entry, Download)


@functools.lru_cache(maxsize=4)
def _parsed(text: str) -> Any:
    """Parse YAML, cached: parsing is slow, and each name is resolved separately. In C where PyYAML has that."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _rows(catalog: Path, section: str, kind: type[_Rows]) -> _Rows:
    try:
        table = _parsed(catalog.read_text(encoding="utf-8"))
        named = table["models"] if section == "models" else table.get(section) or {}
        return msgspec.convert([{"name": name, **fields} for name, fields in named.items()], kind)
    except (OSError, yaml.YAMLError, msgspec.ValidationError, TypeError, KeyError, AttributeError) as error:
        raise CatalogError(f"{catalog} is not a catalog of models: {error}") from error


def _named(name: str, rows: Sequence[_Row], catalog: Path) -> _Row:
    for row in rows:
        if row.name == name:
            return row
    raise _unknown(name, catalog)


def _unknown(name: str, catalog: Path) -> MissingModelError:
    known = [entry.name for entry in entries(catalog)] + [download.name for download in downloads(catalog)]
    known += [own for own in installed() if own not in known]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.55)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    return MissingModelError(f"there is no model '{name}' in the catalog{hint} The catalog has {', '.join(known)}")


# Folders of the user's own models and of unfinished downloads (XDG base directory specification)


def user_models() -> Path:
    """The folder of models that the user fetched or made: $XDG_DATA_HOME/bimodal/models."""
    return user_data_path("bimodal") / "models"


def download_cache() -> Path:
    """The folder of downloads that are under way: $XDG_CACHE_HOME/bimodal/downloads."""
    return user_cache_path("bimodal") / "downloads"
