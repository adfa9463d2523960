"""Tokenizer, first vectors and training of a sentence encoder, all from the given text.

The tokens' first vectors come from skip-gram over the text. The loss is the graded one (`llm_jax.models.encoder
.contrast`): it falls when the pair that people find more similar has the larger cosine. The epoch with the best
rank correlation on other pairs is kept.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.stats import spearmanr

from llm_jax.config import Execution
from llm_jax.files.content import read_text
from llm_jax.hf.encoder import SentenceModel
from llm_jax.hf.sentences import Embedder, ids_of, padded
from llm_jax.kernels.plan import make_plan
from llm_jax.layers.dropout import Dropout
from llm_jax.models.embeddings import training as skip_gram
from llm_jax.models.embeddings import vocabulary
from llm_jax.models.embeddings.config import SkipGramConfig
from llm_jax.models.encoder import contrast, pooling
from llm_jax.models.encoder.config import EncoderConfig
from llm_jax.models.encoder.forward import forward
from llm_jax.models.encoder.parameters import Encoder, init
from llm_jax.tokenizer import train_wordpiece
from train.embeddings.sentences import data
from train.embeddings.sentences.config import SentencesConfig
from train.embeddings.sentences.data import Pairs

DEV_SHARE = 10
CLIP = 1.0  # of the gradient's norm
DECAY = 0.01
TRAINED_TOKENS = 32  # of a sentence in training: few are longer, and every row of a batch is padded to this


@dataclass(frozen=True)
class Epoch:
    number: int
    loss: float
    correlation: float  # Spearman × 100 on the pairs for choosing


def train(options: SentencesConfig, progress: Callable[[Epoch], None]) -> tuple[SentenceModel, dict[str, Any]]:
    """The encoder, and its report. Raises OSError or ValueError with a message for the user."""
    options.check()
    pairs = data.read(options.pairs)
    test = data.read(options.test) if options.test else None
    if options.dev:
        dev = data.read(options.dev)
    else:
        dev, pairs = _apart(pairs, options.seed)
    begun = time.perf_counter()
    model = first_model(options, [*pairs.first, *pairs.second, *_lines(options)])
    record: dict[str, Any] = {
        "pairs": len(pairs),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(model.params)),
        "dev_before_training": correlation(Embedder(model), dev),
    }
    best, epochs = model, []
    for params, epoch in steps(model, pairs, dev, options):
        progress(epoch)
        epochs.append(epoch.__dict__)
        if epoch.correlation >= max(one["correlation"] for one in epochs):
            best = replace(model, params=params)
    record |= {"epochs": epochs, "dev": max(one["correlation"] for one in epochs)}
    if test is not None:
        record["test"] = correlation(Embedder(best), test)
    return best, record | {"seconds": round(time.perf_counter() - begun, 1)}


def _apart(pairs: Pairs, seed: int) -> tuple[Pairs, Pairs]:
    """A part for choosing the epoch, with at least two similarities where the pairs have them, and the rest."""
    order = np.random.default_rng(seed).permutation(len(pairs))
    n_dev = max(len(pairs) // DEV_SHARE, 2)
    similarity = pairs.similarity[order]
    others = np.flatnonzero(similarity != similarity[0])
    if len(others) and others[0] >= n_dev:
        order[[n_dev - 1, others[0]]] = order[[others[0], n_dev - 1]]
    return pairs.rows(order[:n_dev]), pairs.rows(order[n_dev:])


def first_model(options: SentencesConfig, sentences: Sequence[str]) -> SentenceModel:
    """An encoder whose token vectors come from skip-gram; all other parameters are freshly drawn."""
    tokenizer = train_wordpiece(sentences, options.vocab_size, True, 2).tokenizer()
    begin, end = (tuple(filter(None, [tokenizer.token_to_id(name)])) for name in ("[CLS]", "[SEP]"))
    config = EncoderConfig(
        vocab_size=tokenizer.vocab_size,
        context_length=options.most_tokens,
        d_model=options.d_model,
        n_heads=options.d_model // 32,
        n_layers=options.n_layers,
        mlp_width=2 * options.d_model,
        n_segments=1,
    )
    params = init(jax.random.key(options.seed), config)
    spelled = [[str(number) for number in ids] for ids in tokenizer.encode_batch(sentences)]
    settings = SkipGramConfig(width=options.d_model, min_count=1, epochs=5, seed=options.seed)
    words = vocabulary.count(spelled, settings.min_count)
    found = np.asarray(skip_gram.train(vocabulary.encode(spelled, words), words, settings).neighbour)
    table = np.array(params.token_embedding)
    table[[int(word) for word in words.words]] += found / max(float(found.std()), 1e-9) * float(table.std())
    params = replace(params, token_embedding=jnp.asarray(table), position_embedding=params.position_embedding * 0)
    return SentenceModel(config, params, tokenizer, begin, end, options.most_tokens)


def steps(model: SentenceModel, pairs: Pairs, dev: Pairs, options: SentencesConfig):
    """(parameters, report of the epoch) after each epoch."""
    plan = make_plan(Execution())
    batch = min(options.batch, len(pairs))
    per_epoch = len(pairs) // batch
    schedule = optax.cosine_decay_schedule(options.rate, per_epoch * options.epochs)
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP), optax.adamw(schedule, weight_decay=DECAY))

    def loss_of(params: Encoder, tokens, is_token, similarity, key):
        vectors = pooling.masked_mean(
            forward(params, tokens, is_token, model.config, plan, noise=Dropout(key, options.dropout)), is_token
        )
        a_BD, b_BD = jnp.split(vectors, 2)
        return contrast.graded(a_BD, b_BD, similarity, options.temperature)

    @jax.jit
    def step(params: Any, state, tokens, is_token, similarity, key):
        loss, gradient = jax.value_and_grad(loss_of)(params, tokens, is_token, similarity, key)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, loss

    length = min(options.most_tokens, TRAINED_TOKENS)
    cut = replace(model, most_tokens=length)
    first, second = ids_of(cut, pairs.first), ids_of(cut, pairs.second)
    random, embedder = np.random.default_rng(options.seed), Embedder(model)
    params: Any = model.params
    state = optimizer.init(params)
    for number in range(1, options.epochs + 1):
        order, losses = random.permutation(len(pairs)), []
        for start in range(0, per_epoch * batch, batch):
            chosen = order[start : start + batch]
            rows = [first[i] for i in chosen] + [second[i] for i in chosen]
            arrays = padded(rows, length, 2 * batch)
            key = jax.random.fold_in(jax.random.key(options.seed), (number - 1) * per_epoch * batch + start)
            params, state, loss = step(params, state, *arrays, pairs.similarity[chosen], key)
            losses.append(loss)
        mean = float(np.mean([float(loss) for loss in losses]))
        if not np.isfinite(mean):
            raise ValueError(f"the loss is no longer finite in epoch {number}: lower --rate, now {options.rate}")
        embedder.model = replace(model, params=params)  # its compiled programs serve all parameters
        yield params, Epoch(number, mean, correlation(embedder, dev))


def correlation(embedder: Embedder, pairs: Pairs) -> float:
    """Spearman × 100 of the cosines with the similarities; 0 where all cosines are equal, which is no order."""
    vectors = embedder.embed([*pairs.first, *pairs.second])
    cosines = (vectors[: len(pairs)] * vectors[len(pairs) :]).sum(axis=1)
    if np.ptp(cosines) == 0:
        return 0.0
    found: Any = spearmanr(cosines, pairs.similarity)
    return round(100 * float(found.statistic), 2)


def _lines(options: SentencesConfig) -> list[str]:
    return [line for path in options.text for line in read_text(path).split("\n") if line.strip()]
