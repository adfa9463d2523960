"""Text in Arrow columns: the types that hold it, the conversion to Python strings, and files in Arrow's own format.

Arrow trusts what it reads: a damaged file gives errors that do not name it, or crashes the conversion to Python. So
every error of Arrow gets the file's name (`naming_damage`), and a batch that was not decoded is checked before use.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
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
    refuse_namesakes(path, [name for name in schema.names if name == column])
    kind = schema.field(column).type
    if not holds_text(kind):
        raise ValueError(f"{path}: column {column!r} holds {kind}; expected strings. Choose another --text-column.")


def refuse_namesakes(path: Path, names: Sequence[str]) -> None:
    """Raises ValueError for two columns of one name, of which readers would take the first or the last."""
    for name in names:
        if (count := names.count(name)) > 1:
            raise ValueError(f"{path}: {count} columns are called {name!r}; rename all but one")


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


@contextlib.contextmanager
def naming_damage(place: str, kind: str) -> Iterator[None]:
    """Errors of Arrow in the block become ValueErrors that name `place`, the file's kind and the cure."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError, SystemError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        # Where the bytes that name a compression or an encoding are damaged, Arrow does not implement it.
        is_unknown = isinstance(error, pa.ArrowNotImplementedError)
        cure = "copy it again, or write it with default settings" if is_unknown else "copy it again"
        raise ValueError(f"{place}: not a readable {kind}: damaged or cut short ({_reason(error)}); {cure}") from None


def _reason(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(". ") or type(error).__name__


def values_of(column: Any) -> list[Any]:
    """The values of a column (of type Array or ChunkedArray); those of strings that are not UTF-8 as bytes."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [_value(column[place]) for place in range(len(column))]


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        while not hasattr(scalar, "as_buffer"):  # dictionary-encoded, run-end encoded, or of an extension type
            scalar = scalar.value
        return scalar.as_buffer().to_pybytes()


def rows_of(batch: "pa.RecordBatch") -> Iterator[dict[str, Any] | UnicodeDecodeError]:
    """The rows; the error in place of a row that holds a string that is not UTF-8."""
    try:
        yield from batch.to_pylist()
        return
    except UnicodeDecodeError:
        pass
    for place in range(len(batch)):
        try:
            yield batch.slice(place, 1).to_pylist()[0]
        except UnicodeDecodeError as error:
            yield error


def arrow_values(path: Path, column: str) -> Iterator[Any]:
    """The values of a column of an Arrow file, in small batches. Raises as `arrow_batches` and `check_column`."""
    for rows in arrow_batches(path, lambda schema: check_column(path, schema, column), column):
        yield from values_of(rows.column(0))


def arrow_batches(
    path: Path, check: Callable[["pa.Schema"], None] = lambda _: None, column: str | None = None
) -> Iterator["pa.RecordBatch"]:
    """A few rows at a time of an Arrow file (Feather) or stream (the format of `datasets`).

    Args:
        check: raises for a schema that does not fit.
        column: the only one that is read; None for all.

    Raises:
        ValueError: the file is damaged.
    """
    import pyarrow as pa

    with naming_damage(str(path), "arrow file"):
        file = pa.memory_map(str(path))
    with file:
        with naming_damage(str(path), "arrow file"):
            is_file = file.read(6) == b"ARROW1"
            file.seek(0)
            reader: Any = pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)
            schema = reader.schema
            names = schema.names
            if is_file:
                _refuse_other_count(file, reader.num_record_batches)
        check(schema)
        batches = (reader.get_batch(i) for i in range(reader.num_record_batches)) if is_file else iter(reader)
        number = 0
        while True:
            with naming_damage(f"{path}, batch {number:,}", "arrow file"):
                if (batch := next(batches, None)) is None:
                    return
                if column is not None:
                    batch = batch.select([names.index(column)])
                _validate(batch)
            for start in range(0, len(batch), BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)
            number += 1


def _refuse_other_count(file: "pa.MemoryMappedFile", count: int) -> None:
    """Raises ArrowInvalid if a file's footer lists another number of batches than there are."""
    import pyarrow as pa

    at, found = file.tell(), 0
    file.seek(8)  # after the magic bytes, a file holds a stream
    try:
        for message in pa.ipc.MessageReader.open_stream(file):
            found += message.type == "record batch"
    except (pa.ArrowException, OSError):  # files of old versions do not mark the end of the stream
        found = max(found, count)
    file.seek(at)
    if found != count:
        raise pa.ArrowInvalid(f"its footer lists {count:,} of {found:,} batches")


def _validate(batch: "pa.RecordBatch") -> None:
    """Raises ArrowInvalid if the offsets, lengths or indices of a column point outside of it.

    Strings that are not UTF-8 are rows that cannot be read, and no damage.
    """
    import pyarrow as pa

    for column in batch.columns:
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            if "UTF8" not in str(error):
                raise
            column.view(_as_bytes(column.type)).validate(full=True)


def _as_bytes(kind: Any) -> Any:
    """The type with bytes in place of strings, at any depth."""
    import pyarrow as pa
    from pyarrow import types

    if isinstance(storage := getattr(kind, "storage_type", None), pa.DataType):
        return _as_bytes(storage)
    if types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _as_bytes(kind.value_type), kind.ordered)
    if types.is_struct(kind):
        return pa.struct([field.with_type(_as_bytes(field.type)) for field in kind])
    if types.is_list(kind) or types.is_large_list(kind):
        make = pa.list_ if types.is_list(kind) else pa.large_list
        return make(kind.value_field.with_type(_as_bytes(kind.value_type)))
    of_bytes = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary(), pa.string_view(): pa.binary_view()}
    return of_bytes.get(kind, kind)
