"""Texts → vectors, by an encoder: texts of similar length share a batch, and each length is compiled once.

    vectors = Embedder(load(directory)).embed(["a text", "another one"])     # (2, D) float32

Lengths are rounded up, to multiples of 4 for short texts and of a quarter for long ones, and a batch holds 64 texts.
Padding does not change a vector beyond rounding, because no token attends to it and no mean counts it.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

import jax
import numpy as np

from llm_jax.config import Execution
from llm_jax.hf.encoder import SentenceModel
from llm_jax.kernels.plan import Plan, make_plan
from llm_jax.models.encoder import pooling
from llm_jax.models.encoder.forward import forward

BATCH = 64


def ids_of(model: SentenceModel, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text between its borders; what is too long is cut before the closing border."""
    most = model.most_tokens - len(model.begin) - len(model.end)
    return [[*model.begin, *ids[:most], *model.end] for ids in model.tokenizer.encode_batch(texts)]


def rounded_up(length: int) -> int:
    """The length that a batch of texts up to this length is padded to, so that few programs are compiled.

    >>> [rounded_up(length) for length in (1, 14, 33, 100)]
    [4, 16, 40, 112]
    """
    step = max(4, 1 << max(length.bit_length() - 3, 0))
    return max(-(-length // step), 1) * step


def padded(rows: Sequence[Sequence[int]], length: int, n_rows: int, pad: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ids as one array (rows, length), and where it holds tokens."""
    tokens_BT = np.full((n_rows, length), pad, np.int32)
    is_token_BT = np.zeros((n_rows, length), bool)
    for place, ids in enumerate(rows):
        tokens_BT[place, : len(ids)] = ids
        is_token_BT[place, : len(ids)] = True
    return tokens_BT, is_token_BT


class Embedder:
    """Computes vectors by one model; compiled programs are kept."""

    def __init__(self, model: SentenceModel, plan: Plan | None = None):
        self.model = model
        plan = plan or make_plan(Execution())
        pool, config = pooling.POOLINGS[model.pooling], model.config

        @jax.jit
        def vectors(params, tokens_BT, is_token_BT):
            hidden_BTD = forward(params, tokens_BT, is_token_BT, config, plan)
            vectors_BD = pool(hidden_BTD.astype("float32"), is_token_BT)
            return pooling.normalise(vectors_BD) if model.is_normalised else vectors_BD

        self._vectors = vectors

    @property
    def width(self) -> int:
        return self.model.config.d_model

    def fingerprint(self) -> str:
        """SHA-256 over everything that decides a text's vector: parameters, tokenizer, pooling, length."""
        model, digest = self.model, hashlib.sha256()
        settings = (model.config, model.tokenizer.fingerprint, model.begin, model.end, model.most_tokens)
        digest.update(repr((*settings, model.pooling, model.is_normalised)).encode())
        for leaf in jax.tree.leaves(model.params):
            digest.update(np.ascontiguousarray(leaf).data)
        return digest.hexdigest()

    def embed(self, texts: Iterable[str], progress: Callable[[int], None] = lambda _: None) -> np.ndarray:
        """The vectors of the texts, (texts, D) in float32. `progress` is called with the number done."""
        ids = ids_of(self.model, list(texts))
        order = sorted(
            range(len(ids)), key=lambda i: len(ids[i]), reverse=True
        )  # the longest first: memory shows early
        out, done = np.empty((len(ids), self.width), np.float32), 0
        pad = self.model.tokenizer.borders.pad or 0
        while done < len(order):
            chosen = order[done : done + BATCH]
            length = min(rounded_up(len(ids[chosen[0]])), self.model.config.context_length)
            n_rows = BATCH if len(order) > BATCH else 1 << (len(chosen) - 1).bit_length()
            arrays = padded([ids[i] for i in chosen], length, n_rows, pad)
            out[chosen] = np.asarray(self._vectors(self.model.params, *arrays))[: len(chosen)]
            done += len(chosen)
            progress(done)
        return out
