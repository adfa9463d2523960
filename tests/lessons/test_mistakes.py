"""The checks recognise the usual wrong answers by name, and tell a learner's crash from a wrong answer."""

import re
import sys
import unicodedata
from collections import Counter
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from llm_jax.autodiff import softmax, topological_order

LESSONS = Path(__file__).resolve().parents[2] / "lessons"


@pytest.fixture
def say(monkeypatch, capsys):
    """What the check of this lesson and exercise says to an answer."""

    def ask(lesson: str, exercise: str, answer) -> str:
        monkeypatch.syspath_prepend(str(LESSONS))
        getattr(import_module(f"checks.{lesson}"), exercise)(answer)
        return " ".join(capsys.readouterr().out.split())

    yield ask
    for name in [name for name in sys.modules if name.split(".")[0] == "checks"]:
        del sys.modules[name]


def overwriting(output):
    derivatives = dict.fromkeys(topological_order([output]), 0.0)
    derivatives[output] = 1.0
    for node in reversed(list(derivatives)):
        for parent, jacobian in zip(node.parents, node.jacobians, strict=True):
            derivatives[parent] = derivatives[node] * jacobian
    return derivatives


def in_place(parameters, gradients, rate):
    for name in parameters:
        parameters[name] -= rate * gradients[name]
    return parameters


def fancy_counts(labels, answers):
    counts = np.zeros((10, 10))
    counts[labels, answers] += 1
    return counts


def swapped_counts(labels, answers):
    counts = np.zeros((10, 10))
    np.add.at(counts, (answers, labels), 1)
    return counts


def rows_in_place(counts):
    counts /= counts.sum(axis=1, keepdims=True)
    return counts


def counts_of_three(word, vocab_size):
    counts = np.zeros((3, 3))
    np.add.at(counts, ([0, *word], [*word, 0]), 1)
    return counts


def windows(word, context):
    padded = [*[0] * context, *word]
    return [padded[i : i + context] for i in range(len(word) + 1)], [*word, 0]


def blocked_after_the_softmax(scores, may_read):
    return softmax(scores) * may_read


def loss_on_masks_alone(tokens, chosen, kind, drawn, mask_id):
    becomes = np.where(kind < 0.8, mask_id, np.where(kind < 0.9, drawn, tokens))
    return np.where(chosen < 0.15, becomes, tokens), ((chosen < 0.15) & (kind < 0.8)).astype(float)


def in_turns(position, width):
    angles = position / 10000 ** (2 * np.arange(width // 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=1).ravel()


def neighbours_turned(x, position, theta=10000.0):
    angles = position * theta ** (-np.arange(0, len(x), 2) / len(x))
    a, b = x[::2], x[1::2]
    turned = [a * np.cos(angles) - b * np.sin(angles), a * np.sin(angles) + b * np.cos(angles)]
    return np.stack(turned, axis=1).reshape(-1)


def step_that_misses_itself(q, k, v, keys, values):
    weights = softmax((keys @ q / np.sqrt(len(q)))[None])[0] if len(keys) else np.zeros(0)
    return weights @ values, np.vstack([keys, k]), np.vstack([values, v])


def share_of_what_is_left(memory, utilisation, weights, workspace, outside, bytes_per_token):
    return int(utilisation * (memory - weights - workspace - outside) // (16 * bytes_per_token)) * 16


def summed_times(parameters, bytes_each, users, context, bytes_per_token, bandwidth, peak):
    reading = parameters * bytes_each + users * context * bytes_per_token
    return reading / bandwidth + 2 * parameters * users / peak


def summed_latency(users, prefill, step, tokens):
    latency = users * (prefill + (tokens - 1) * step)
    return latency, users * tokens / latency


def rate_of_one_user(users, prefill, step, tokens):
    latency = prefill + (tokens - 1) * step
    return latency, tokens / latency


def evenly_divided(answers, rows):
    groups = [answers[first : first + rows] for first in range(0, len(answers), rows)]
    return sum(map(max, groups)), -(-sum(answers) // rows)


def common_tokens(prompt, cached, size=16):
    return next((i for i, pair in enumerate(zip(prompt, cached, strict=False)) if pair[0] != pair[1]), len(prompt))


def known_blocks(prompt, cached, size=16):
    return common_tokens(prompt, cached) // size * size


def border_behind(documents, border):
    return [token for document in documents for token in (*document, border)]


def windows_apart(tokens, context):
    return [tokens[i : i + context + 1] for i in range(0, len(tokens) - context, context + 1)]


def rate_to_zero(step, peak, warmup, total, final=0.1):
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return peak * 0.5 * (1 + np.cos(np.pi * (step - warmup) / (total - 1 - warmup)))


def line_in_logarithms(sizes, losses, alpha):
    slope, offset = np.polyfit(np.log(sizes), np.log(losses), 1)
    return offset, -slope


def end_is_not_trained(messages, header, end, newline):
    ids, trained = [], []
    for role, words in messages:
        ids += [*header[role], *words, end, newline]
        trained += [False] * len(header[role]) + [role == "assistant"] * len(words) + [False, False]
    return ids, trained


def mean_of_means(micro_batches):
    return float(np.mean([(losses * weights).sum() / weights.sum() for losses, weights in micro_batches]))


def dpo_without_reference(chosen, rejected, reference_chosen, reference_rejected, beta):
    rewards = beta * (chosen - reference_chosen), beta * (rejected - reference_rejected)
    return np.logaddexp(0.0, -beta * (chosen - rejected)), *rewards


def last_token_moves_nothing(model):
    x = np.random.default_rng(0).normal(size=(6, 8))
    changed = np.vstack([x[:-1], -x[-1:]])
    return np.allclose(model(x)[1:-1], model(changed)[1:-1])  # the first output is forgotten


def rows_of_the_gradient(dy, ids, rows):
    dtable = np.zeros_like(dy)
    np.add.at(dtable, ids, dy)
    return dtable


STOP = {"the", "be", "to", "of", "and", "that", "have", "with"}


def usual_interval(k, n, z):
    reach = z * np.sqrt(k / n * (1 - k / n) / n)
    return k / n - reach, k / n + reach


def two_samples(a, b, n):
    error = np.sqrt((a / n * (1 - a / n) + b / n * (1 - b / n)) / n)
    return (a - b) / n, error, (a - b) / np.sqrt(a + b)


@pytest.mark.parametrize(
    ("lesson", "exercise", "answer", "message"),
    [
        ("autodiff", "slope", lambda f, x, h=1e-5: (f(x + h) - f(x)) / h, "looks at one side only"),
        ("autodiff", "slope", lambda f, x, h=1e-5: (f(x + h) - f(x - h)) / 2 * h, "with parentheses"),
        (
            "autodiff",
            "derivatives_of_L",
            lambda a, b, c, f: {"a": a * f, "b": b * f, "c": f, "f": a * b + c},
            "OTHER factor",
        ),
        ("autodiff", "my_backward", overwriting, "must ADD"),
        ("autodiff", "my_backward", lambda o: dict.fromkeys(topological_order([o]), 0.0), "must be 1 before the walk"),
        ("autodiff", "my_backward", lambda o: [1.0], "return the dict of derivatives; it returned list"),
        ("autodiff", "matmul_gradients", lambda dy, x, w: (dy @ w, x.T @ dy), "a transpose is missing or swapped"),
        ("autodiff", "matmul_gradients", lambda dy, x, w: (dy @ w.T, dy.T @ x), "dW is transposed"),
        ("autodiff", "mean_squared_error_gradient", lambda y, t: 2 * (y - t), "the missing mean"),
        (
            "backprop_by_hand",
            "softmax_cross_entropy_gradient",
            lambda z, labels: softmax(z) - np.eye(z.shape[1])[labels],
            "the missing mean",
        ),
        ("backprop_by_hand", "tanh_gradient", lambda dy, y: dy * (1 - np.tanh(y) ** 2), "no second tanh"),
        (
            "backprop_by_hand",
            "normalise_gradient",
            lambda dn, n, r: r * (dn - n * (dn * n).mean(axis=0)),
            "the missing mean: one path leads through m",
        ),
        ("backprop_by_hand", "normalise_gradient", lambda dn, n, r: r * dn, "only the direct path"),
        ("backprop_by_hand", "softmax_gradient", lambda da, a: a * da, "the sum over the row is missing"),
        ("digits", "descend", in_place, "the old parameters have changed"),
        ("digits", "descend", lambda p, g, r: {n: p[n] + r * g[n] for n in p}, "UPHILL"),
        ("digits", "count_confusions", fancy_counts, "forgotten accumulation"),
        ("digits", "count_confusions", swapped_counts, "rows and columns are exchanged"),
        ("makemore_counts", "count_pairs", counts_of_three, "for each of the vocab_size characters"),
        ("makemore_counts", "to_probabilities", rows_in_place, "the counts themselves were changed"),
        ("makemore_networks", "windows_of", lambda word, _: windows(word, 3), "as long as `context` says"),
        ("makemore_networks", "windows_of", lambda word, n: windows(word[::-1], n), "read backwards"),
        ("activations_and_gradients", "embedding_backward", rows_of_the_gradient, "the table has `rows` rows"),
        ("choosing_a_gpu", "tokens_in_the_cache", share_of_what_is_left, "a share of the whole card"),
        ("choosing_a_gpu", "step_seconds", summed_times, "the longer of the two"),
        ("choosing_a_gpu", "utilisation", lambda v, n, p, sparse: 6 * n * v / p, "halve it"),
        ("choosing_a_gpu", "training_days", lambda n, t, d, p, mfu: 6 * n * t / (d * p) / 86_400, "utilisation, too"),
        ("inference_and_vllm", "latency_and_throughput", summed_latency, "is not the sum over all"),
        ("inference_and_vllm", "latency_and_throughput", rate_of_one_user, "counts the tokens of all"),
        ("inference_and_vllm", "steps", evenly_divided, "not divided evenly"),
        ("inference_and_vllm", "blocks_needed", lambda ns, size=16: sum(n // size for n in ns), "rounded down"),
        ("inference_and_vllm", "blocks_needed", lambda ns, size=16: -(-sum(ns) // size), "belongs to one sequence"),
        (
            "inference_and_vllm",
            "blocks_that_fit",
            lambda m, layers, heads, kv, width, b=2, size=16: int(m // (2 * layers * heads * width * b * size)),
            "not those of queries",
        ),
        ("inference_and_vllm", "slot_of", lambda p, table, size=16: p, "the table says where"),
        ("inference_and_vllm", "tokens_saved", common_tokens, "only whole blocks are found"),
        ("inference_and_vllm", "tokens_saved", known_blocks, "the last token of a prompt"),
        ("pretraining_on_fineweb", "stream", border_behind, "not behind it"),
        ("pretraining_on_fineweb", "windows", windows_apart, "overlap by one token"),
        (
            "pretraining_on_fineweb",
            "micro_batches",
            lambda tokens, context, devices, at_once: tokens // context // at_once,
            "the devices share the batch",
        ),
        ("pretraining_on_fineweb", "rate", rate_to_zero, "ends at `final`"),
        (
            "pretraining_on_fineweb",
            "steps_behind",
            lambda steps, losses, step, loss: step - np.interp(loss, losses, steps),
            "wants ascending x",
        ),
        ("pretraining_on_fineweb", "fit_at", line_in_logarithms, "has no E"),
        ("finetuning", "chat_with_mask", end_is_not_trained, "otherwise the model never stops"),
        ("finetuning", "batch_loss", mean_of_means, "the micro-batches' means"),
        ("finetuning", "lora_gradients", lambda G, A, B, s: (G @ B.T, A.T @ G), "the scale s belongs to both"),
        ("finetuning", "trainable_numbers", lambda inputs, outputs, rank: rank * inputs, "B is trained, too"),
        ("finetuning", "dpo", dpo_without_reference, "the reference is missing"),
        ("architectures", "masked", loss_on_masks_alone, "not on [MASK] alone"),
        ("architectures", "masked", lambda t, c, k, d, m: (np.where(c < 0.15, m, t), 1.0 * (c < 0.15)), "no use for"),
        ("architectures", "cross_attention", lambda q, k, v, _: softmax(q @ k.T / 2) @ v, "padding is attended"),
        ("architectures", "sinusoid", in_turns, "all sines come first"),
        ("architectures", "smoothed_loss", lambda p, y, e: -(1 - e) * p[y] - e * p.sum(), "ε/V, not ε"),
        ("architectures", "best_hypothesis", lambda p, n, a: int(np.argmax(p)), "divide by lp(n) first"),
        ("architectures", "tokens_computed", lambda t, q, a, _: t * (q + a), "only the new question was read"),
        ("evaluation", "bits_per_byte", lambda p, text: -p / np.log(2) / len(text), "characters are not bytes"),
        (
            "evaluation",
            "accuracy",
            lambda s, a, g, r: np.mean([np.argmax(x) == y for x, y in zip(s, g, strict=True)]),
            "the length",
        ),
        (
            "evaluation",
            "prepared",
            lambda row: f"{row['ctx_a']} {row['ctx_b']}".strip(),
            "that is build-nanogpt's text",
        ),
        ("evaluation", "last_number", lambda text: float(re.findall(r"\d+", text)[0]), "it returned"),
        ("evaluation", "pass_at_k", lambda n, c, k: 1 - (1 - c / n) ** k, "the biased estimate"),
        ("evaluation", "verdict", lambda a, b: {"first": "X", "second": "Y"}.get(a, "tie"), "the first order alone"),
        ("evaluation", "compared", two_samples, "the error of two separate samples"),
        ("curation", "keeps", lambda text: sum(word in STOP for word in text.split()) >= 2, "two *different* words"),
        ("curation", "keeps", lambda text: sum(word in text for word in STOP) >= 2, "not as parts of words"),
        ("curation", "wilson", lambda k, n, z=1.96: usual_interval(k, n, z), "that is the usual interval"),
        ("curation", "removals", lambda fires: (fires.sum(0),) * 3, "it returned"),
        ("curation", "found", lambda s, b, r: 1 - (1 - s**b) ** r, "buckets and hashes are exchanged"),
        (
            "curation",
            "standard_error",
            lambda a, n: np.mean([np.sqrt(x * (1 - x) / n) for x in a]),
            "cancel in part",
        ),
        ("mending", "is_causal", last_token_moves_nothing, "nothing else leaks: try every t"),
        ("mending", "are_weights", lambda w: np.allclose(np.sum(w, axis=-1), 1), "some weights are negative"),
        ("mending", "starts_right", lambda loss, size: loss < 1.1 * np.log(size), "too low is wrong as well"),
        ("mending", "is_pre_norm", lambda block: True, "it says True whatever it is given"),
        (
            "mending",
            "steps_of_run",
            lambda t, encode, rows, n, e: e * ((len(t) - 1) // (rows * n)),
            "counts characters",
        ),
        ("transformer", "attend", lambda q, k, v: softmax(q @ k.T) @ v, "not divided by √H"),
        ("transformer", "attend", lambda q, k, v: softmax((q @ k.T / 2).T).T @ v, "along the wrong axis"),
        ("transformer", "masked_weights", blocked_after_the_softmax, "no longer sum to 1"),
        ("transformer", "masked_weights", lambda s, m: softmax(np.where(m, -1e30, s)), "the mask is inverted"),
        ("transformer", "key_head", lambda n, heads, kv_heads: n % kv_heads, "CONSECUTIVE heads share one"),
        ("transformer", "rotate", neighbours_turned, "neighbours are paired"),
        ("transformer", "rotate", lambda x, position, theta=1e4: x, "it returned an array"),
        ("transformer", "rms_norm", lambda x, gain, e=1e-5: x / np.sqrt(x.var(-1, keepdims=True) + e) * gain, "SQUARE"),
        ("kv_cache", "positions_computed", lambda prompt, new: (prompt * new, prompt + new - 1), "is read again, too"),
        ("kv_cache", "cached_step", step_that_misses_itself, "does not read itself"),
        ("kv_cache", "cache_bytes", lambda layers, heads, width, n, b=2: layers * heads * width * n * b, "AND values"),
        ("kv_cache", "tokens_per_second", lambda w, c, rows, speed: speed / (w + c) * rows, "a cache of its own"),
        ("kv_cache", "diagnosis", lambda: dict.fromkeys("ABCDE", "correct"), "A is not 'correct'"),
        ("kv_cache", "diagnosis", lambda: {"A": "rotten"}, "'rotten' is none of the five kinds"),
    ],
)
def test_a_usual_mistake_is_recognised(say, lesson, exercise, answer, message):
    said = say(lesson, exercise, answer)
    assert said.startswith(f"✗ {exercise}: ")
    assert message in said
    assert " Hint: " in said


def smoothed_in_place(counts, alpha):
    counts += alpha
    return rows_in_place(counts)


def tanh_in_place(dy, y):
    y *= -y
    y += 1.0
    dy *= y
    return dy


def pairs_of_an_extended_word(word, vocab_size):
    word.append(0)
    counts = np.zeros((vocab_size, vocab_size))
    np.add.at(counts, ([0, *word[:-1]], word), 1)
    return counts


@pytest.mark.parametrize(
    ("lesson", "exercise", "answer"),
    [
        ("makemore_counts", "smoothed", smoothed_in_place),
        ("makemore_counts", "count_pairs", pairs_of_an_extended_word),
        ("backprop_by_hand", "tanh_gradient", tanh_in_place),
    ],
)
def test_a_right_answer_that_works_in_place_is_right(say, lesson, exercise, answer):
    assert say(lesson, exercise, answer) == say(lesson, exercise, answer) == f"✓ {exercise}: right."


def test_an_answer_that_changes_its_counts_spoils_no_later_check(say):
    def crash(counts):
        counts[:] = 0.0
        raise ValueError("spoilt")

    assert "spoilt" in say("makemore_counts", "to_probabilities", crash)
    assert say("makemore_counts", "to_probabilities", lambda c: c / c.sum(axis=1, keepdims=True)).startswith("✓")


def wrong_digits_gradients(mean: bool, through_tanh: bool):
    def gradients(parameters, x, labels):
        w1, b1, w2, b2 = parameters.values()
        h = np.tanh(x @ w1 + b1)
        dz = softmax(h @ w2 + b2) - np.eye(10)[labels]
        dz = dz / len(x) if mean else dz
        dh = dz @ w2.T
        da = dh * (1 - h * h) if through_tanh else dh
        return {"w1_DF": x.T @ da, "b1_F": da.sum(axis=0), "w2_FV": h.T @ dz, "b2_V": dz.sum(axis=0)}

    return gradients


def test_mistakes_in_a_whole_network_are_recognised(say):
    assert say("digits", "gradients", wrong_digits_gradients(True, True)) == "✓ gradients: right."
    assert "the missing mean" in say("digits", "gradients", wrong_digits_gradients(False, True))
    assert "the tanh is missing" in say("digits", "gradients", wrong_digits_gradients(True, False))


def test_a_crash_of_the_learners_code_is_shown_with_its_line(say):
    def answer(y, t):
        return y.no_such_thing

    said = say("autodiff", "mean_squared_error_gradient", answer)
    assert "it raised AttributeError: 'numpy.ndarray' object has no attribute 'no_such_thing' in answer, line" in said


def test_an_unknown_mistake_is_shown_with_what_was_expected(say):
    said = say("autodiff", "slope", lambda f, x, h=1e-5: 42.0)
    assert "for f = x³ − x, x = 2, h = 0.1, it returned 42; expected 11.01" in said


def greedy_segmentation(text, scores):
    pieces, start = [], 0
    while start < len(text):
        stop = next(stop for stop in range(len(text), start, -1) if text[start:stop] in scores)
        pieces.append(text[start:stop])
        start = stop
    return pieces, sum(scores[piece] for piece in pieces)


def overlapping_join(symbols, pair):
    out = []
    for left, right in pairwise(symbols):
        out.append(left + right if (left, right) == pair else left)
    return [*out[:-1], out[-1]] if symbols[-2:] == list(pair) else [*out, symbols[-1]]


NOTEBOOK = ["aa", "ab", "d", "aa", "ab", "a", "c"]


@pytest.mark.parametrize(
    ("exercise", "answer", "recognised"),
    [
        ("best_segmentation", greedy_segmentation, "that is the longest match"),
        ("best_segmentation", lambda text, scores: (["un", "do"], -3.5), "best(0) is 0, not 1"),
        ("join", overlapping_join, "the two places overlap"),
        ("walk_through", lambda: (NOTEBOOK, NOTEBOOK), "that is the notebook's own mistake"),
        ("probability", lambda pieces, counts: 5 * 36 * 20 / 210**3, "that is the course's number, and it is wrong"),
        ("best_wordpiece_pair", lambda pairs, singles: max(pairs, key=pairs.get), "that is the commonest pair"),
        (
            "count_pairs",
            lambda words: dict(Counter(pair for symbols, _ in words for pair in pairwise(symbols))),
            "each word counts as often as it occurs",
        ),
    ],
)
def test_usual_mistakes_about_tokenizers_are_recognised(say, exercise, answer, recognised):
    assert recognised in say("tokenizers", exercise, answer)


def mean_of_ratios(tokens, reference):
    return float(np.mean([one / other for one, other in zip(tokens, reference, strict=True)]))


def whole_once(pieces):
    whole = {word for word, n in pieces if n == 1}
    return sum(n > 1 for _, n in pieces) / len(pieces), len(whole) / len({word for word, _ in pieces})


def lengths_changed(lines, form):
    return sum(len(unicodedata.normalize(form, line)) != len(line) for line in lines)


def labels_forgotten(x, y, negatives):
    of_y, of_n = -1 / (1 + np.exp(x @ y)), 1 / (1 + np.exp(-negatives @ x)) - 1
    return of_y * y + of_n @ negatives, of_y * x, of_n[:, None] * x


def negatives_forgotten(x, y, negatives):
    of_y, of_n = -1 / (1 + np.exp(x @ y)), 1 / (1 + np.exp(-negatives @ x))
    return of_y * y, of_y * x, of_n[:, None] * x


def nearest_of_all(vectors, a, b, c):
    return max(vectors, key=lambda word: vectors[word] @ (vectors[b] - vectors[a] + vectors[c]))


def logarithm_of_zero(counts):
    return np.log(counts * counts.sum() / np.outer(counts.sum(axis=1), counts.sum(axis=0)))


def positive_by_two(counts):
    return np.maximum(np.where(counts > 0, logarithm_of_zero(counts), 0), 0) / np.log(2)


@pytest.mark.parametrize(
    ("exercise", "answer", "recognised"),
    [
        ("premium", mean_of_ratios, "the mean of the sentences' ratios"),
        ("premium", lambda tokens, reference: sum(reference) / sum(tokens), "upside down"),
        ("cost", lambda n, p, d, speed, room: (n * p * d, n * p / speed, n * p / room), "for a million tokens"),
        ("cost", lambda n, p, d, speed, room: (n * p * d / 1e6, n / speed, n / room), "the time and the context, too"),
        ("count_words", lambda line: len(line.split()), "split() does not divide at U+200B"),
        ("count_words", lambda line: len(line.replace("\u200b", "").split()), "its two words become one"),
        ("count_words", lambda line: len(line.replace("\u200b", " ").split(" ")), "empty stretches"),
        ("split_and_whole", whole_once, "only if it is so wherever it occurs"),
        ("lines_changed", lengths_changed, "the lengths were compared"),
        ("lines_changed", lambda lines, _: lengths_changed(lines, "NFC"), "that is NFC"),
    ],
)
def test_usual_mistakes_about_fertility_are_recognised(say, exercise, answer, recognised):
    assert recognised in say("fertility", exercise, answer)


@pytest.mark.parametrize(
    ("exercise", "answer", "recognised"),
    [
        ("kept", lambda f, t: (t / f) ** 0.5, "that is the paper's formula"),
        ("kept", lambda f, t: 1 - (t / f) ** 0.5, "the paper's probability of LEAVING OUT"),
        ("kept", lambda f, t: ((f / t) ** 0.5 + 1) * t / f, "a probability is at most 1"),
        ("drawn", lambda counts: counts / counts.sum(), "the power 0.75 is missing"),
        ("drawn", lambda counts: (counts / counts.sum()) ** 0.75, "divide after taking the power"),
        ("pair_gradients", labels_forgotten, "negatives have the label 0"),
        ("pair_gradients", negatives_forgotten, "the negatives' share of dx is missing"),
        ("pair_gradients", lambda x, y, n: x, "return three things"),
        ("analogy", nearest_of_all, "is a word of the question"),
        ("ppmi", logarithm_of_zero, "log 0 is −∞"),
        ("ppmi", positive_by_two, "the logarithm is the natural one"),
        ("sentence_vectors", lambda h, m: h.mean(axis=1), "82.03 becomes 79.07"),
        ("sentence_vectors", lambda h, m: h[:, 0], "82.03 becomes 73.50"),
        ("sentence_vectors", lambda h, m: (h * m[..., None]).mean(axis=1), "the length with padding"),
        ("similarities", lambda a, b: (a * b).sum(axis=1), "82.03 becomes 53.77"),
        ("similarities", lambda a, b: (a * b).sum(axis=1) / np.linalg.norm(a, axis=1), "divided by one length only"),
    ],
)
def test_usual_mistakes_about_embeddings_are_recognised(say, exercise, answer, recognised):
    assert recognised in say("embeddings", exercise, answer)
