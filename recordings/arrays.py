"""Rows of plain Python values as Arrow tables.

`pyarrow.array` makes the same arrays, but imports pandas first wherever that is installed: 0.3 s of CPU in every
process that writes a table.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa

Cell: TypeAlias = "str | int | float | bool | None"
ArrowType: TypeAlias = Literal["string", "int32", "int64", "float64", "bool"]


def arrow_table(rows: Sequence[Sequence[Cell]], schema: pa.Schema) -> pa.Table:
    """Make a table of rows, whose cells are in the order of the schema's fields.

    Raises TypeError, ValueError or OverflowError where a cell is not of its field's type.
    """
    # Imported here, because pyarrow is slow to load and only needed once many rows or the end of a file are written.
    import pyarrow as pa

    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [arrow_array(cells, field.type) for cells, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def arrow_array(cells: Sequence[Cell], arrow_type: pa.DataType) -> pa.Array:
    """Make one array, null where a cell is None; of a type that tables have (`ArrowType`). Raises as `arrow_table`."""
    import pyarrow as pa

    nulls = cells.count(None)
    if nulls == len(cells):
        return pa.nulls(nulls, arrow_type)
    valid = _bits([cell is not None for cell in cells]) if nulls else None
    data = _DATA[str(arrow_type)](cells)
    buffers = [None if one is None else pa.py_buffer(one) for one in (valid, *data)]
    return pa.Array.from_buffers(arrow_type, len(cells), buffers, nulls)


def _bits(flags: Sequence[bool]) -> bytes:
    """Flags as a bitmap, the first one lowest."""
    text = "".join("1" if flag else "0" for flag in reversed(flags))
    return int(text, 2).to_bytes(len(flags) // 8 + 1, "little")


def _numbers(code: str, zero: float) -> Callable[[Sequence[Any]], tuple[array[Any]]]:
    return lambda cells: (array(code, [zero if cell is None else cell for cell in cells]),)


def _flags(cells: Sequence[Any]) -> tuple[bytes]:
    return (_bits(cells),)


def _texts(cells: Sequence[Any]) -> tuple[array[int], bytes]:
    coded = [b"" if cell is None else cell.encode() for cell in cells]
    return array("i", accumulate(map(len, coded), initial=0)), b"".join(coded)


_DATA: Mapping[str, Callable[[Sequence[Any]], tuple[array[Any] | bytes, ...]]] = {
    "string": _texts,
    "int32": _numbers("i", 0),
    "int64": _numbers("q", 0),
    "double": _numbers("d", 0.0),
    "bool": _flags,
}
"""Buffers of the values, by the name that Arrow gives the type."""
