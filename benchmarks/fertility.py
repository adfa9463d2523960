"""The four plots of docs/fertility.md, and the figures in its tables.

    uv sync --group test --extra words
    python benchmarks/fertility.py FLORES200

FLORES200 is a folder of LANGUAGE.dev and LANGUAGE.devtest in 17 languages. Needs sentencepiece (group `test`) for its
normalization and the extra `words` for segmenters; takes about a minute.
"""

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from llm_jax.files import replacing
from llm_jax.tokenizer import O200K_PATTERN, load, train_bpe
from train.fertility import analysis, texts
from train.fertility.config import Settings
from train.record.plots import pyplot

COLORS = ("#1d5fbf", "#c2410c", "#15803d")
GREY = "#8a8f98"
PUBLISHED = ("gpt2", "cl100k_base", "o200k_base")
ENGLISH = "eng_Latn"
DOLLARS = 2.5  # for a million tokens
TOKENS_PER_SECOND = 50
CONTEXT = 8192
SIZE = 32_000


@dataclass(frozen=True)
class Options:
    flores: tyro.conf.Positional[Path]
    """Folder of LANGUAGE.dev and LANGUAGE.devtest."""
    out: Path = Path(__file__).parent.parent / "docs/images"
    """Folder for the plots."""


def main(options: Options) -> None:
    files = sorted(map(str, [*options.flores.glob("*_*.dev"), *options.flores.glob("*_*.devtest")]))
    both = texts.read_all(files)
    devtest = texts.read_all([file for file in files if file.endswith("test")])
    options.out.mkdir(parents=True, exist_ok=True)
    settings = Settings(reference=ENGLISH, words=("segmenter",), price=(str(DOLLARS),), context=CONTEXT)
    record = analysis.analyse(both, {name: load(name) for name in PUBLISHED}, settings)
    draw_price(record, options.out / "fertility-price.png")
    draw_words(record, both, options.out / "fertility-words.png")
    draw_normalization(devtest, options.out / "fertility-normalization.png")
    dev = [(options.flores / f"{text.name}.dev").read_text(encoding="utf8") for text in devtest]
    balanced = {"gpt2": load("gpt2"), "balanced": train_bpe(dev, SIZE, O200K_PATTERN)}
    draw_balanced(
        analysis.analyse(devtest, balanced, Settings(reference=ENGLISH)), options.out / "fertility-balanced.png"
    )


def draw_price(record: analysis.Record, path: Path) -> None:
    """Money, time and context of English, Khmer and Burmese under three tokenizers."""
    panels = (
        (
            "dollars_for_a_reference_million",
            f"dollars for what English says\nin a million tokens (at ${DOLLARS:.2f})",
            1.0,
            ".1f",
        ),
        ("per_sentence", f"seconds a sentence, at\n{TOKENS_PER_SECOND} tokens a second", 1 / TOKENS_PER_SECOND, ".1f"),
        ("sentences_in_context", f"sentences in a context\nof {CONTEXT:,} tokens", 1.0, ".0f"),
    )
    figure, axes = pyplot().subplots(1, 3, figsize=(10, 3.4), layout="constrained")
    shown = ((ENGLISH, "English"), ("khm_Khmr", "Khmer"), ("mya_Mymr", "Burmese"))
    for ax, (key, title, scale, form) in zip(axes, panels, strict=True):
        for number, (code, language) in enumerate(shown):
            values = [scale * row[key] for row in record["rows"] if row["text"] == code]
            bars = ax.bar(np.arange(3) + (number - 1) * 0.27, values, 0.26, color=COLORS[number], label=language)
            ax.bar_label(bars, [format(value, form) for value in values], fontsize=7.5, padding=1)
            print(f"{title.split(chr(10))[0]}, {language}: {', '.join(f'{value:.4g}' for value in values)}")
        ax.set_xticks(range(3), ["GPT-2", "cl100k", "o200k"])
        ax.set_title(title, fontsize=10)
    axes[0].legend(frameon=False, fontsize=9)
    save(figure, path)


def draw_words(record: analysis.Record, both: list[texts.Text], path: Path) -> None:
    """GPT-2's tokens per "word" by spaces and by segmenters, beside the premium, which needs no words."""
    rows = {row["text"]: row for row in record["rows"] if row["tokenizer"] == "gpt2"}
    wholes = {text.name: text.whole for text in both}
    shown = [ENGLISH, "ind_Latn", "vie_Latn", "tam_Taml", "tha_Thai", "lao_Laoo", "khm_Khmr", "zho_Hans", "jpn_Jpan"]
    series = {
        "tokens a stretch between spaces": [rows[name]["tokens"] / len(wholes[name].split()) for name in shown],
        "tokens a word of a segmenter": [rows[name]["per_word"] for name in shown],
        "premium over English": [rows[name]["premium"] for name in shown],
    }
    for label, values in series.items():
        print(f"{label}: {', '.join(f'{n} {value:.2f}' for n, value in zip(shown, values, strict=True))}")
    stretches = len(wholes["khm_Khmr"].replace("\u200b", " ").split())
    print(f"Khmer, by spaces and U+200B: {rows['khm_Khmr']['tokens'] / stretches:.1f} tokens a stretch")
    figure, axes = pyplot().subplots(figsize=(8, 4.2), layout="constrained")
    dots(axes, series, shown, GREY, COLORS[0], COLORS[1])
    axes.set_xlim(0.7, 130)
    axes.set_xlabel("GPT-2 on FLORES-200 (logarithmic)")
    save(figure, path)


def draw_normalization(devtest: list[texts.Text], path: Path) -> None:
    """Lines that each normalization changes."""
    import sentencepiece

    make: Any = sentencepiece.SentencePieceNormalizer  # its methods are made when it is imported
    default = make(
        rule_name="nmt_nfkc", add_dummy_prefix=False, escape_whitespaces=False, remove_extra_whitespaces=False
    )
    forms = {
        "sentencepiece's default, nmt_nfkc": lambda line: default.normalize(line),
        "NFKC": lambda line: unicodedata.normalize("NFKC", line),
        "NFC": lambda line: unicodedata.normalize("NFC", line),
    }
    changed = {
        label: [sum(form(line) != line for line in text.lines) for text in devtest] for label, form in forms.items()
    }
    for label, values in changed.items():
        print(f"{label}: {', '.join(f'{t.name} {n}' for t, n in zip(devtest, values, strict=True))}")
    order = np.argsort([-n for n in next(iter(changed.values()))], kind="stable")
    figure, axes = pyplot().subplots(figsize=(8, 5.6), layout="constrained")
    series = {label: [values[n] for n in order] for label, values in changed.items()}
    bars(axes, series, [devtest[n].name for n in order], COLORS[1], COLORS[0], GREY)
    axes.set_xlabel("lines of 1,012 that decoding cannot give back")
    save(figure, path)


def draw_balanced(record: analysis.Record, path: Path) -> None:
    """Premiums of GPT-2's tokenizer and of one trained on as much of every language."""
    codes = [text["name"] for text in record["texts"]]
    by = {(row["text"], row["tokenizer"]): row for row in record["rows"]}
    order = sorted(codes, key=lambda code: -by[code, "gpt2"]["premium"])
    series = {
        "GPT-2, 50,257 tokens": [by[code, "gpt2"]["premium"] for code in order],
        f"balanced, {SIZE:,} tokens": [by[code, "balanced"]["premium"] for code in order],
    }
    for label, values in series.items():
        print(f"{label}: {', '.join(f'{n} {value:.2f}' for n, value in zip(order, values, strict=True))}")
    for code in codes:
        print(f"{code}: {by[code, 'gpt2']['tokens']:,} → {by[code, 'balanced']['tokens']:,}")
    price = by[ENGLISH, "balanced"]["tokens"] / by[ENGLISH, "gpt2"]["tokens"]
    print(f"English needs {price:.3f} times as many tokens as under GPT-2")
    figure, axes = pyplot().subplots(figsize=(8, 5.2), layout="constrained")
    dots(axes, series, order, COLORS[1], COLORS[0])
    axes.axvline(1, color=GREY, lw=1, zorder=0)
    axes.set_xlim(0.6, 26)
    axes.set_xlabel(
        f"premium over English (logarithmic); English itself pays {price - 1:.0%} more under the balanced one"
    )
    save(figure, path)


def bars(axes: Any, series: dict[str, list[int]], names: list[str], *colors: str) -> None:
    """Groups of horizontal bars with their values, the first group on top."""
    height = 0.8 / len(series)
    for number, ((label, values), color) in enumerate(zip(series.items(), colors, strict=True)):
        places = np.arange(len(names)) + (number - (len(series) - 1) / 2) * height
        drawn = axes.barh(places, values, height, label=label, color=color)
        shown = [f"{value:,}" if value else "" for value in values]
        axes.bar_label(drawn, shown, padding=2, fontsize=7)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.legend(frameon=False, fontsize=9, loc="lower right")


def dots(axes: Any, series: dict[str, list[Any]], names: list[str], *colors: str) -> None:
    """One row of dots for each name on a logarithmic axis, with the smallest and the largest value."""
    for place, values in enumerate(zip(*series.values(), strict=True)):
        low, high = min(values), max(values)
        axes.plot([low, high], [place, place], color=GREY, lw=1, alpha=0.5, zorder=1)
        for value, side in ((low, -1), (high, 1)):
            axes.annotate(
                f"{value:.2f}", (value, place), (8 * side, 0), textcoords="offset points", va="center", fontsize=8,
                ha="left" if side > 0 else "right",
            )  # fmt: skip
    for (label, values), color in zip(series.items(), colors, strict=True):
        axes.plot(values, range(len(names)), "o", ms=7, color=color, label=label, zorder=2)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(series))


def save(figure: Any, path: Path) -> None:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=110)
    print(f"written: {path}")


if __name__ == "__main__":
    main(tyro.cli(Options))
