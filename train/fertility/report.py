"""The record in the terminal, within 80 columns, and as CSV: one line for each text and tokenizer."""

import csv
import io
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llm_jax.files.page.text import plain
from train.fertility.analysis import Record

LONGEST_NAME = 14
MUCH_UNKNOWN = 0.01  # share of tokens from which on a premium says little


def show(console: Console, record: Record) -> None:
    """Prints two tables for each tokenizer, and what the dashes mean."""
    against = f"; premium over {_name(record['reference'])}" if record["reference"] else ""
    for tokenizer in record["tokenizers"]:
        rows = [row for row in record["rows"] if row["tokenizer"] == tokenizer["name"]]
        console.print(f"[bold]{_name(tokenizer['name'])}[/bold], a vocabulary of {tokenizer['vocab_size']:,}{against}")
        console.print(_counts(rows))
        console.print()
        console.print(_prices(rows, record["context"], tokenizer["name"] in record["prices"]))
        console.print()
    for row in record["rows"]:
        if row["unknown_share"] > MUCH_UNKNOWN:
            console.print(
                f"{_name(row['text'])} under {_name(row['tokenizer'])}: {row['unknown_share']:.0%} of its tokens are "
                "unknown; text is lost, so its few tokens are no low price"
            )
    for text in record["texts"]:
        if text["no_words_because"]:
            console.print(f"no words of {_name(text['name'])}: {_name(text['no_words_because'])}")
    if ways := {text["words_by"] for text in record["texts"] if text["words_by"]}:
        console.print(f"words by {', '.join(map(_name, sorted(ways)))}")


def _counts(rows: Sequence[Record]) -> Table:
    headings = ("tokens", "per\nsentence", "per\ncharacter", "per\nbyte", "premium", "per\nword", "words\nsplit")
    table = _empty((*headings, "types\nwhole"))
    for row in rows:
        table.add_row(
            _name(row["text"]),
            f"{row['tokens']:,}",
            f"{row['per_sentence']:.1f}",
            f"{row['per_character']:.3f}",
            f"{row['per_byte']:.3f}",
            _number(row["premium"], ".2f"),
            _number(row["per_word"], ".2f"),
            _number(row["words_split"], ".0%"),
            _number(row["types_whole"], ".0%"),
        )
    return table


def _prices(rows: Sequence[Record], context: int, has_price: bool) -> Table:
    money = ("dollars", "for a\nreference M") if has_price else ()
    table = _empty(("unknown", "lines\nchanged", f"contexts of\n{context:,}", "sentences\nin one", *money))
    for row in rows:
        dollars = (_number(row["dollars"], ",.4f"), _number(row["dollars_for_a_reference_million"], ",.2f"))
        table.add_row(
            _name(row["text"]),
            f"{row['unknown_share']:.2%}",
            f"{row['changed_lines']:,}",
            f"{row['share_of_context']:.3g}" if row["share_of_context"] < 100 else f"{row['share_of_context']:,.0f}",
            f"{row['sentences_in_context']:,.1f}",
            *(dollars if has_price else ()),
        )
    return table


def _empty(headings: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("text", overflow="ellipsis", no_wrap=True, max_width=LONGEST_NAME)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True, vertical="bottom")
    return table


def as_csv(record: Record) -> str:
    """All figures. A name that a spreadsheet would compute gets an apostrophe in front of it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(record["rows"][0])
    for row in record["rows"]:
        writer.writerow("" if value is None else _harmless(value) for value in row.values())
    return out.getvalue()


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@" else value


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _name(text: str) -> str:
    return escape(plain(text))
