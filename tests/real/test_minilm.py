"""all-MiniLM-L6-v2: transformers' states, the published rank correlations on STS-B, and those of the usual mistakes."""

import csv
import importlib.util
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.stats import spearmanr

from llm_jax.config import Execution
from llm_jax.hf import encoder
from llm_jax.hf.sentences import Embedder, ids_of, padded
from llm_jax.kernels.plan import make_plan
from llm_jax.models.encoder.forward import forward

pytestmark = pytest.mark.real

BATCH = 64  # of the published figure for padding in the mean, which depends on it: all first sentences, all second ones


@pytest.fixture(scope="module")
def folder() -> Path:
    spec = importlib.util.spec_from_file_location("minilm", Path(__file__).parent.parent / "minilm.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        return module.make()
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def model(folder):
    return encoder.load(folder)


def read(shared_data, part):
    with (shared_data / "sts" / f"stsb-en-{part}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    return [row[0] for row in rows] + [row[1] for row in rows], [float(row[2]) for row in rows]


def correlation(vectors, gold, normalised=True):
    if normalised:
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    half = len(gold)
    return 100 * spearmanr((vectors[:half] * vectors[half:]).sum(axis=1), gold).statistic


def test_states_equal_those_of_transformers(folder, model, shared_data):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    texts = read(shared_data, "dev")[0][::150]
    theirs = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    given = transformers.AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = theirs(**given).last_hidden_state.numpy()
    ids = ids_of(model, texts)
    tokens, is_token = padded(ids, expected.shape[1], len(texts))
    np.testing.assert_array_equal(tokens, given["input_ids"].numpy())
    plan = make_plan(Execution(dtype="float32"))
    states = jax.jit(partial(forward, config=model.config, plan=plan))(model.params, tokens, is_token)
    np.testing.assert_allclose(states[is_token], expected[is_token], atol=1e-5)


def test_the_published_correlation_is_reproduced_on_dev(model, shared_data):
    texts, gold = read(shared_data, "dev")
    assert correlation(Embedder(model).embed(texts), gold) == pytest.approx(86.72, abs=0.01)


@pytest.fixture(scope="module")
def pooled(model, shared_data):
    """Of the test set: the states' mean over tokens, over padding too, the first one's, and the embeddings' mean.

    A state at a padded position depends on its position and not on how many follow. So rows padded to the longest
    text hold those of any batch.
    """
    texts, gold = read(shared_data, "test")
    ids = ids_of(model, texts)
    lengths = np.array([len(one) for one in ids])
    longest = np.concatenate(
        [np.full(len(part), part.max()) for part in np.split(lengths, range(BATCH, len(ids), BATCH))]
    )
    states = jax.jit(partial(forward, config=model.config, plan=make_plan(Execution(dtype="float32"))))
    found = {name: [] for name in ("mean", "with padding", "first", "embeddings")}
    table = np.asarray(model.params.token_embedding)
    for start in range(0, len(ids), BATCH):
        rows = ids[start : start + BATCH]
        tokens, is_token = padded(rows, lengths.max(), BATCH)
        sums = np.asarray(states(model.params, tokens, is_token))[: len(rows)].cumsum(axis=1)
        for i, one in enumerate(rows):
            whole = longest[start + i]
            found["mean"].append(sums[i, len(one) - 1] / len(one))
            found["with padding"].append(sums[i, whole - 1] / whole)
            found["first"].append(sums[i, 0])
            found["embeddings"].append(table[one[1:-1]].mean(axis=0))  # without the borders
    return {name: np.array(vectors) for name, vectors in found.items()}, gold


@pytest.mark.parametrize(
    ("kind", "normalised", "published"),
    [
        ("mean", True, 82.03),
        ("with padding", True, 79.07),
        ("first", True, 73.50),
        ("mean", False, 53.77),
        ("embeddings", True, 50.89),
    ],
)
def test_each_usual_mistake_costs_what_was_published(pooled, kind, normalised, published):
    vectors, gold = pooled
    assert correlation(vectors[kind], gold, normalised) == pytest.approx(published, abs=0.01)
