"""A masked language model on running text (Devlin et al. 2019, §3.1), saved so that a classifier can begin with it.

The tokenizer (WordPiece) is learnt from the same text. A window is 64 tokens of running text between [CLS] and [SEP].
Measured is how often the masked token is the likeliest, on windows of text that was not trained on, beside the share
of the commonest token among them: what guessing gives. There every chosen token is hidden: one that is shown as it is,
as training shows a tenth of them, could be copied.
"""

import dataclasses
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from llm_jax.config import Execution
from llm_jax.files import write
from llm_jax.files.content import read_text
from llm_jax.hf import encoder as hf_encoder
from llm_jax.hf.encoder import SentenceModel
from llm_jax.kernels.plan import Plan, make_plan
from llm_jax.layers.dropout import Dropout
from llm_jax.models.encoder.config import EncoderConfig
from llm_jax.models.encoder.forward import forward, masked_logits
from llm_jax.models.encoder.masking import Masked, mask_tokens
from llm_jax.models.encoder.parameters import Encoder, dimension_letters, init
from llm_jax.runs import EXPORT, LOSS_PLOT, SAMPLES
from llm_jax.tokenizer import Tokenizer, train_wordpiece
from train.architectures.config import ArchitecturesConfig
from train.architectures.recipes import Recipe, recipe_of
from train.architectures.start import as_encoder_decoder
from train.architectures.training import train
from train.prepare.sources.text import standard_library
from train.record import metrics, plots

VOCABULARY = 4_000
WINDOW = 64  # tokens, with [CLS] and [SEP]
MOST_TEXT = 4_000_000  # characters; more than the default run reads
LEAST_WINDOWS = 8  # of each part
HELD_OUT = 20  # one window of so many
POSITIONS = 128  # a text that is classified may be longer than a window
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Tokens(NamedTuple):
    """Ids of the tokens that have a meaning here, and the first ordinary one."""

    pad: int
    begin: int
    end: int
    mask: int
    ordinary: int


class Windows(NamedTuple):
    train_WT: np.ndarray
    dev_WT: np.ndarray


def run(options: ArchitecturesConfig, folder: Path) -> dict[str, Any]:
    """Trains and measures; writes metrics, loss.png, samples.txt and hf/ to `folder`. Returns the summary."""
    recipe, started = recipe_of(options), time.monotonic()
    name, text = text_of(options, 200_000 if options.quick else MOST_TEXT)
    lines = [line for line in text.split("\n") if line.strip()]
    tokenizer = train_wordpiece(lines, 300 if options.quick else VOCABULARY, True, 2).tokenizer()
    tokens = tokens_of(tokenizer)
    windows = windows_of(lines, tokenizer, tokens, name)
    config = EncoderConfig(
        vocab_size=tokenizer.vocab_size,
        context_length=POSITIONS,
        d_model=recipe.d_model,
        n_heads=recipe.n_heads,
        n_layers=recipe.n_layers,
        mlp_width=4 * recipe.d_model,
        n_segments=1,
        has_masked_head=True,
    )
    params: Any = as_encoder_decoder(init(jax.random.key(options.seed), config), dimension_letters(config), config)
    n_parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    print(
        f"{name}: {len(windows.train_WT):,} / {len(windows.dev_WT):,} windows of {WINDOW} tokens, vocabulary "
        f"{tokenizer.vocab_size:,}; encoder of {n_parameters:,} parameters, {recipe.steps:,} steps of {recipe.batch}",
        flush=True,
    )
    params, accuracy, guess = _follow(config, recipe, params, windows, tokens, options, folder)
    model = SentenceModel(config, params, tokenizer, (tokens.begin,), (tokens.end,), WINDOW)
    hf_encoder.save(model, folder / EXPORT)
    write(folder / SAMPLES, _guesses(model, tokens, windows.dev_WT[:12]))
    plots.draw_loss(
        folder / LOSS_PLOT, list(metrics.read(folder)), f"masked words of {name}", unit="nats per masked token"
    )
    return {
        "data": name,
        "windows": {"train": len(windows.train_WT), "dev": len(windows.dev_WT)},
        "vocabulary": tokenizer.vocab_size,
        "parameters": n_parameters,
        "recipe": dataclasses.asdict(recipe),
        "accuracy_of_masked_tokens": accuracy,
        "accuracy_of_the_commonest_token": guess,
        "seconds": round(time.monotonic() - started, 1),
    }


def text_of(options: ArchitecturesConfig, most: int) -> tuple[str, str]:
    """Name and text of --text, or of Python's standard library, up to `most` characters. Raises OSError, ValueError."""
    if options.text is None:
        found, size = [], 0
        for path in standard_library().paths:
            found.append(read_text(path))
            size += len(found[-1])
            if size > most:
                break
        return "Python's standard library", "\n".join(found)[:most]
    try:
        return options.text.name, read_text(options.text)[:most]
    except UnicodeDecodeError as error:
        raise ValueError(f"--text {options.text} is not UTF-8 (byte {error.start:,}): save it as UTF-8") from None


def tokens_of(tokenizer: Tokenizer) -> Tokens:
    """Where the tokenizer has its special tokens. Raises ValueError for one that has no such tokens."""
    numbers = {name: tokenizer.token_to_id(name) for name in SPECIAL}
    if missing := [name for name, number in numbers.items() if number is None]:
        raise ValueError(f"this tokenizer has no {missing[0]}: use an encoder that was trained on masked words")
    known = {name: int(number) for name, number in numbers.items() if number is not None}
    return Tokens(known["[PAD]"], known["[CLS]"], known["[SEP]"], known["[MASK]"], max(known.values()) + 1)


def windows_of(lines: list[str], tokenizer: Tokenizer, tokens: Tokens, name: str) -> Windows:
    """The text in windows, each between its borders; every twentieth is held out."""
    stream = np.concatenate([np.array(ids, np.int32) for ids in tokenizer.encode_batch(lines)])
    inner = WINDOW - 2
    count = len(stream) // inner
    if count < LEAST_WINDOWS * HELD_OUT // 4:
        raise ValueError(
            f"{name} has {len(stream):,} tokens; expected at least {inner * LEAST_WINDOWS * HELD_OUT // 4:,}"
        )
    inside_WT = stream[: count * inner].reshape(count, inner)
    windows_WT = np.pad(inside_WT, ((0, 0), (1, 1)))
    windows_WT[:, 0], windows_WT[:, -1] = tokens.begin, tokens.end
    is_held = np.arange(count) % HELD_OUT == 0
    return Windows(windows_WT[~is_held], windows_WT[is_held][: 40 * LEAST_WINDOWS])


def masked(tokens_BT: Any, key: Any, tokens: Tokens, vocab_size: int) -> Masked:
    """BERT's masks over a batch of windows; borders and padding are never chosen."""
    tokens_BT = jnp.asarray(tokens_BT)
    return mask_tokens(key, tokens_BT, tokens_BT >= tokens.ordinary, tokens.mask, (tokens.ordinary, vocab_size))


def hidden(windows_WT: np.ndarray, tokens: Tokens, vocab_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows to be measured on: [MASK] at every chosen token, and which these are. The same for the same windows."""
    is_chosen_WT = np.asarray(masked(windows_WT, jax.random.key(0), tokens, vocab_size).weights_BT) == 1
    return np.where(is_chosen_WT, tokens.mask, windows_WT), is_chosen_WT


def logits_of(params: Encoder, inputs_BT: Any, config: EncoderConfig, plan: Plan, pad: int, noise: Any = None) -> Any:
    """The logits of every position."""
    hidden_BTD = forward(params, inputs_BT, inputs_BT != pad, config, plan, noise=noise)
    return masked_logits(params, hidden_BTD, config, plan)


def loss_of(config: EncoderConfig, plan: Plan, tokens: Tokens, dropout: float) -> Any:
    """(parameters, windows, key) → Σ loss and Σ weight of the chosen tokens."""

    def loss(params: Encoder, tokens_BT: Any, key: Any) -> Any:
        choosing, dropping = jax.random.split(key)
        chosen = masked(tokens_BT, choosing, tokens, config.vocab_size)
        noise = Dropout(dropping, dropout) if dropout else None
        log_p_BTV = jax.nn.log_softmax(logits_of(params, chosen.inputs_BT, config, plan, tokens.pad, noise))
        right_BT = jnp.take_along_axis(log_p_BTV, jnp.asarray(tokens_BT)[..., None], axis=-1)[..., 0]
        return -(right_BT * chosen.weights_BT).sum(), chosen.weights_BT.sum()

    return loss


def _follow(
    config: EncoderConfig,
    recipe: Recipe,
    params: Any,
    windows: Windows,
    tokens: Tokens,
    options: ArchitecturesConfig,
    folder: Path,
) -> tuple[Any, float, float]:
    """Trains, says and records how it goes. Returns the parameters, their accuracy, and that of guessing."""
    plan, began, accuracy = make_plan(Execution(dtype="float32")), time.monotonic(), 0.0
    held_WT, is_chosen_WT = hidden(windows.dev_WT, tokens, config.vocab_size)
    right = windows.dev_WT[is_chosen_WT]
    guess = float(np.bincount(right).max() / len(right))
    predict = jax.jit(lambda params, inputs: logits_of(params, inputs, config, plan, tokens.pad).argmax(axis=-1))
    rows = row_batches(windows.train_WT, recipe.batch, options.seed)
    course = train(
        loss_of(config, plan, tokens, recipe.dropout), params, dimension_letters(config), rows, recipe.optimizer,
        recipe.schedule, recipe.steps, recipe.measure_every, options.seed,
    )  # fmt: skip
    with metrics.Metrics(folder) as record:
        for now, measured in course:
            params, seconds = now, time.monotonic() - began
            found = np.concatenate([np.asarray(predict(now, part)) for part in _parts(held_WT)])
            accuracy = float((found[: len(held_WT)][is_chosen_WT] == right).mean())
            seen = measured.step * recipe.batch * WINDOW
            record.write(
                {
                    "step": measured.step,
                    "tokens": seen,
                    "seconds": round(seconds, 3),
                    "train_loss": measured.loss,
                    "val_accuracy": accuracy,
                    "lr": measured.rate,
                    "grad_norm": measured.grad_norm,
                    "tokens_per_second": round(seen / seconds, 1),
                }
            )
            left = seconds / measured.step * (recipe.steps - measured.step)
            print(
                f"step {measured.step:>6,}/{recipe.steps:,}  loss {measured.loss:.4f}  right {accuracy:.2%}  "
                f"(guessing {guess:.2%})  left {left:.0f} s",
                flush=True,
            )
    return params, accuracy, guess


def row_batches(rows_WT: np.ndarray, batch: int, seed: int) -> Iterator[np.ndarray]:
    """Batches of rows without end, every row once in each pass."""
    rng, waiting = np.random.default_rng(seed), np.empty(0, np.int64)
    while True:
        while len(waiting) < batch:
            waiting = np.concatenate([waiting, rng.permutation(len(rows_WT))])
        yield rows_WT[waiting[:batch]]
        waiting = waiting[batch:]


def _parts(inputs_BT: np.ndarray, rows: int = 64) -> Iterator[np.ndarray]:
    """Parts of equal shape; the last one repeats its first row."""
    for start in range(0, len(inputs_BT), rows):
        part = inputs_BT[start : start + rows]
        yield np.concatenate([part, np.repeat(part[:1], rows - len(part), axis=0)])


def _guesses(model: SentenceModel, tokens: Tokens, windows_WT: np.ndarray) -> str:
    """One masked token of each window: the text, what was there, and the three likeliest."""
    plan, at = make_plan(Execution(dtype="float32")), WINDOW // 2
    inputs_WT = windows_WT.copy()
    inputs_WT[:, at] = tokens.mask
    run = jax.jit(partial(logits_of, config=model.config, plan=plan, pad=tokens.pad))
    best_W3 = np.argsort(-np.asarray(run(model.params, jnp.asarray(inputs_WT)))[:, at], axis=-1)[:, :3]
    lines = []
    for row, best in zip(windows_WT, best_W3, strict=True):
        before, after = (model.tokenizer.decode(part.tolist()) for part in (row[at - 12 : at], row[at + 1 : at + 13]))
        names = [model.tokenizer.id_to_token(int(number)) for number in (row[at], *best)]
        lines.append(f"{before} [{names[0]}] {after}\n    guesses: {', '.join(map(str, names[1:]))}")
    return "\n".join(lines) + "\n"
