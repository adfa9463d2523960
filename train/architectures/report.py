"""The results of a run, in the terminal."""

from pathlib import Path
from typing import Any

from train.architectures.comparison.setting import MODELS, TASKS, UNITS
from train.record.intervals import Interval
from train.record.progress import print_table

Rows = list[tuple[str, str]]


def show(summary: dict[str, Any], folder: Path) -> None:
    """Prints the results, and where they lie."""
    rows = _of_task(summary)
    rows += [("seconds", f"{summary['seconds']:,.0f}"), ("written", str(folder))]
    print_table(summary["task"], rows)


def _of_task(summary: dict[str, Any]) -> Rows:
    task = summary["task"]
    return {"cloze": _cloze, "spam": _spam, "compare": _compare}.get(task, _pairs)(summary)


def _pairs(summary: dict[str, Any]) -> Rows:
    rows = [(f"word error, {name}", f"{error:.2%}") for name, error in summary["word_error_of_test"].items()]
    if unseen := summary["targets_with_unseen_symbols"]:
        of = summary["pairs"]["test"]
        rows.append(("cannot be right", f"{unseen} of {of:,} targets have a symbol that training does not"))
    if known := summary["sources_trained_on"]:
        rows.append(("known already", f"{known:,} of {summary['pairs']['test']:,} test words were trained on"))
    return rows


def _cloze(summary: dict[str, Any]) -> Rows:
    return [
        ("masked tokens right", f"{summary['accuracy_of_masked_tokens']:.2%}"),
        ("the commonest token", f"{summary['accuracy_of_the_commonest_token']:.2%}"),
    ]


def _spam(summary: dict[str, Any]) -> Rows:
    rows = [("the commonest class", f"accuracy {summary['accuracy_of_the_commonest_class']:.3f}, F1 0.000")]
    for n_labels, starts in summary["by_labels"].items():
        for start, found in starts.items():
            accuracy, f1 = (Interval(**found[name]) for name in ("accuracy", "f1"))
            rows.append((f"{int(n_labels):,} labels, {start}", f"accuracy {accuracy}, F1 {f1}"))
    return rows


def _compare(summary: dict[str, Any]) -> Rows:
    rows = []
    for task in TASKS:
        for kind in MODELS:
            found = summary["results"][task][kind]
            value = Interval(found["mean"], found["half"])
            rows.append((f"{task}, {kind}", f"{value} {UNITS[task]}; {found['steps']:,} steps"))
        rows.append(("", summary["conclusions"][task]))
    left, talk = Interval(**summary["decoder_with_left_context_alone"]), summary["conversation"]
    rows.append(
        ("holes from the left alone", f"{left} by the decoder that continues texts, which knows all bytes before")
    )
    rows.append(
        (
            f"{talk['turns']} turns of {talk['question']} + {talk['answer']} tokens",
            f"a decoder computes {talk['decoder']:,} tokens, an encoder–decoder {talk['encoder_decoder']:,}",
        )
    )
    return rows
