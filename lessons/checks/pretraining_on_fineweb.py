"""The checks of lesson 19. Reading them before you have tried gives the answers away."""

import math

import numpy as np

from checks import exercise, expect


@exercise(hint="For each document: the border, then its ids.")
def stream(answer):
    documents, border = [[5, 6], [7], [8, 9, 5]], 0
    flat = [i for document in documents for i in document]
    expect(
        answer(documents, border),
        [i for document in documents for i in (border, *document)],
        {
            "the border comes before a document, not behind it.": [i for d in documents for i in (*d, border)],
            "the first document has a border, too.": [i for d in documents for i in (border, *d)][1:],
            "every document has a border, not only the first.": [border, *flat],
            "the border is missing: two documents run into each other.": flat,
            "one border each: before a document, and none behind the last.": [
                *(i for d in documents for i in (border, *d)),
                border,
            ],
            "one stream, not a list of documents.": [[border, *document] for document in documents],
        },
        given="three documents",
    )
    expect(answer([], 0), [], given="no document")


@exercise(hint="Window i begins at token i·T and has T + 1 tokens: its last one is the next one's first.")
def windows(answer):
    for n, t in ((11, 3), (9, 4), (4, 4)):
        tokens = list(range(n))

        def cut(stride, length, tokens=tokens, n=n):
            return [tokens[i : i + length] for i in range(0, n - length + 1, stride)]

        right = cut(t, t + 1)
        found = answer(tokens, t)
        found = [list(map(int, one)) for one in found] if hasattr(found, "__iter__") else found
        expect(
            found,
            right,
            {
                "the first token of every window is no target: let windows overlap by one token.": cut(t + 1, t + 1),
                "T + 1 tokens: T inputs need T targets.": cut(t, t),
                "each token is a target once: the next window begins T tokens later.": cut(1, t + 1),
                "what does not fill a window is left out.": [tokens[i : i + t + 1] for i in range(0, n, t)],
                "what does not fill a window is left out; a last single token is none.": [
                    tokens[i : i + t + 1] for i in range(0, n - 1, t)
                ],
            },
            given=f"{n} tokens and a context of {t}",
        )


@exercise(hint="tokens / context = sequences; divide them among the devices, then by what one computes at once.")
def micro_batches(answer):
    for tokens, context, devices, at_once in ((524_288, 1024, 8, 32), (524_288, 1024, 1, 16), (65_536, 512, 4, 4)):
        right = tokens // (context * devices * at_once)
        expect(
            answer(tokens, context, devices, at_once),
            right,
            {
                "the devices share the batch.": tokens // (context * at_once),
                "tokens are not sequences: divide by the context.": tokens // (devices * at_once),
                "a device computes several sequences at once.": tokens // (context * devices),
                "devices share the work, they do not add to it.": tokens // context * devices // at_once,
                "those are sequences of one device at once; asked is how often.": at_once,
                "upside down.": context * devices * at_once / tokens,
            },
            given=f"{tokens:,} tokens, a context of {context}, {devices} devices, {at_once} at once",
        )


def _rate(step, peak, warmup, total, final, start=1, low=True, span=None, whole=False, shape="cosine"):
    if step < warmup:
        return peak * (step + start) / (warmup + start)
    begin = 0 if whole else warmup
    progress = min(1.0, (step - begin) / ((span or total - 1) - begin))
    fall = 0.5 * (1 + math.cos(math.pi * progress)) if shape == "cosine" else 1 - progress
    return peak * (final + (1 - final) * fall) if low else peak * max(final, fall)


@exercise(
    hint="progress = (step − warmup)/(total − 1 − warmup); final + (1 − final)·½(1 + cos(π·progress)), times peak."
)
def rate(answer):
    peak, warmup, total, final = 6e-4, 10, 101, 0.1
    at = (0, 5, 10, 40, 70, 100)
    found = [answer(step, peak, warmup, total, final) for step in at]
    scaled = [float(one) / peak if one is not None else None for one in found]

    def by(**how):
        return [_rate(step, 1.0, warmup, total, final, **how) for step in at]

    expect(
        scaled,
        by(),
        {
            "step 0 has a rate above zero: (step + 1)/(warmup + 1).": by(start=0),
            "warm-up: (step + 1)/(warmup + 1), so that step `warmup` has the peak.": [
                (step + 1) / warmup if step < warmup else value for step, value in zip(at, by(), strict=True)
            ],
            "the cosine ends at `final`, not at zero.": [_rate(s, 1.0, warmup, total, 0.0) for s in at],
            "the whole cosine is raised: final + (1 − final)·…; it is not cut off at final.": by(low=False),
            "the cosine begins when the warm-up ends.": by(whole=True),
            "the last step is total − 1, and it reaches `final`.": by(span=total),
            "half a cosine, not a straight line.": by(shape="line"),
            "times peak.": [value / peak for value in by()],
            "the warm-up is missing.": [_rate(max(s, warmup), 1.0, warmup, total, final) for s in at],
        },
        given="steps 0, 5, 10, 40, 70 and 100 of 101, as shares of the peak",
    )


@exercise(hint="At which step did the reference have this loss? np.interp wants its first axis to ascend.")
def steps_behind(answer):
    steps, losses = np.array([0.0, 100.0, 300.0, 700.0]), np.array([11.0, 6.0, 5.0, 4.5])
    for step, loss in ((300, 5.5), (300, 4.75), (700, 5.0)):
        reached = float(np.interp(-loss, -losses, steps))
        expect(
            answer(steps, losses, step, loss),
            step - reached,
            {
                "behind is positive: the run's step minus the reference's.": reached - step,
                "that is the step at which the reference had this loss; how far is it from yours?": reached,
                "np.interp wants ascending x: the losses fall, so turn both round or negate.": step
                - float(np.interp(loss, losses, steps)),
                "that is the difference of the losses; asked are steps.": loss - float(np.interp(step, steps, losses)),
                "interpolate: the nearest point of the reference is not exact.": step
                - float(steps[np.argmin(np.abs(losses - loss))]),
            },
            given=f"a loss of {loss} at step {step}",
        )


@exercise(hint="np.linalg.lstsq of a matrix with a column of ones and a column N ** -alpha.")
def fit_at(answer):
    sizes = np.array([1e3, 5e3, 2e4, 1e5])
    losses = np.array([5.1, 4.2, 3.9, 3.45])
    for alpha in (0.3, 0.6):

        def by(columns, y=losses):
            return np.linalg.lstsq(np.stack(columns, axis=1), y, rcond=None)[0]

        x, one = sizes**-alpha, np.ones(4)
        e, a = by([one, x])
        slope = (losses[0] - losses[-1]) / (x[0] - x[-1])
        in_logs = by([one, -np.log(sizes)], np.log(losses))
        upwards = by([one, sizes**alpha])
        expect(
            tuple(map(float, answer(sizes, losses, alpha))),
            (e, a),
            {
                "E is missing: then A alone has to explain all.": (0.0, float(by([x])[0])),
                "E first, then A.": (a, e),
                "the exponent is −alpha.": tuple(upwards),
                "all points count, not the first and the last alone.": (losses[0] - slope * x[0], slope),
                "a straight line in logarithms has no E.": tuple(in_logs),
                "N to the power of −alpha, not its logarithm.": tuple(by([one, np.log(sizes)])),
            },
            given=f"four runs and α = {alpha}",
        )
