"""Text in Arrow columns: the types that hold it, the conversion to Python strings, and files in Arrow's own format."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 1024


def holds_text(kind: "pa.DataType") -> bool:
    """Whether a type can hold text.

    True for every string type, plain, dictionary-encoded (pandas' category) or run-end encoded. True for bytes as well,
    because old parquet writers do not mark text as text.
    """
    from pyarrow import types

    if isinstance(storage := getattr(kind, "storage_type", None), type(kind).__mro__[-2]):
        return holds_text(storage)  # an extension type, such as arrow.json
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return holds_text(kind.value_type)
    kinds = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view")
    return any(getattr(types, f"is_{name}", lambda _: False)(kind) for name in kinds)


def check_column(path: Path, schema: "pa.Schema", column: str) -> None:
    """Checks that the column exists and holds text.

    Raises:
        ValueError: it does not; names file and column.
    """
    if column not in schema.names:
        raise ValueError(f"{path}: {no_column(column, schema.names)}")
    kind = schema.field(column).type
    if not holds_text(kind):
        raise ValueError(f"{path}: column {column!r} holds {kind}; expected strings. Choose another --text-column.")


def no_column(column: str, names) -> str:
    """The message for a missing column, with the columns that there are."""
    return f"no column {column!r}; there are {', '.join(sorted(names)) or 'none'}. Choose one with --text-column."


def text_of(value: Any, column: str) -> str:
    """A value as a string.

    Raises:
        ValueError: it is null, or bytes that are not UTF-8.
    """
    if value is None:
        raise ValueError(f"{column!r} is null; expected a string")
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{column!r} holds bytes that are not UTF-8 ({error.reason}); expected text. Choose another --text-column."
        ) from None


def arrow_values(path: Path, column: str) -> Iterator[Any]:
    """The values of a column of an Arrow file, in small batches. Raises as `arrow_batches` and `check_column`."""
    for rows in arrow_batches(path, lambda schema: check_column(path, schema, column)):
        yield from rows.column(rows.schema.names.index(column)).to_pylist()


def arrow_batches(path: Path, check: Callable[["pa.Schema"], None] = lambda _: None) -> Iterator["pa.RecordBatch"]:
    """A few rows at a time of an Arrow file (Feather) or stream (the format of `datasets`).

    Args:
        check: raises for a schema that does not fit.

    Raises:
        ValueError: the file is damaged.
    """
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as file:
            is_file = file.read(6) == b"ARROW1"
            file.seek(0)
            reader: Any = pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)
            check(reader.schema)
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches)) if is_file else reader
            for batch in batches:
                for start in range(0, len(batch), BATCH_ROWS):
                    yield batch.slice(start, BATCH_ROWS)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise ValueError(f"{path}: damaged or cut-short arrow file ({error}); copy it again") from None
