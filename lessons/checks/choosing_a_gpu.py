"""The checks of lesson 18. Reading them before you have tried gives the answers away."""

from checks import exercise, expect

GIB = 2**30


@exercise(
    hint="What is left of utilisation · memory, divided by the bytes of a block of 16 tokens, rounded down, times 16."
)
def tokens_in_the_cache(answer):
    for memory, weights, workspace in (
        (23.58 * GIB, 14.9888 * GIB, 20_000 * 108 * 1024),
        (24 * GIB, 2.5 * GIB, 0.1 * GIB),
    ):
        outside, token = 0.35 * GIB, 128 * 1024
        left = 0.9 * memory - weights - workspace - outside
        expected = int(left // (16 * token)) * 16
        expect(
            answer(memory, 0.9, weights, workspace, outside, token),
            expected,
            {
                "utilisation is a share of the whole card, not of what is left.": int(
                    0.9 * (memory - weights - workspace - outside) // (16 * token)
                )
                * 16,
                "the whole card is not the server's: times utilisation.": int(
                    (memory - weights - workspace - outside) // (16 * token)
                )
                * 16,
                "those are blocks; each holds 16 tokens.": int(left // (16 * token)),
                "only whole blocks of 16 tokens count.": int(left // token),
                "only whole blocks of 16 tokens count, and tokens are whole.": left / token,
                "the workspace needs room, too.": int((left + workspace) // (16 * token)) * 16,
                "what lies outside of PyTorch needs room, too.": int((left + outside) // (16 * token)) * 16,
            },
            given=f"a card of {memory / GIB:.2f} GiB",
        )
    expect(
        answer(8.0, 0.9, 10.0, 0.0, 0.0, 1.0),
        0,
        {"a cache is never negative: 0 where nothing is left.": -16},
        given="weights larger than the card",
    )


@exercise(hint="max(reading the weights, computing for all users), and then every user's cache is read.")
def step_seconds(answer):
    p, b, s, c, bandwidth, peak = 1000.0, 2, 50, 4.0, 100.0, 4000.0
    for users in (2, 1000):
        weights, compute, cache = p * b / bandwidth, 2 * p * users / peak, users * s * c / bandwidth
        expect(
            answer(p, b, users, s, c, bandwidth, peak),
            max(weights, compute) + cache,
            {
                "reading and arithmetic overlap: the longer of the two, not their sum.": weights + compute + cache,
                "the caches are not read.": max(weights, compute),
                "every user has a cache of their own.": max(weights, compute) + s * c / bandwidth,
                "the weights are read once for all users.": max(users * weights, compute) + cache,
                "a product and a sum for each parameter: 2 FLOPs.": max(weights, compute / 2) + cache,
                "each user's token is computed: times users.": max(weights, compute / users) + cache,
                "reading the cache is added: attention does not hide behind the products.": max(
                    weights + cache, compute
                ),
                "parameters have bytes_each bytes.": max(p / bandwidth, compute) + cache,
                "the shorter of the two does not hide the longer: max.": min(weights, compute) + cache,
            },
            given=f"{users} users",
        )


@exercise(hint="Tokens an hour = 3600 · users / seconds_per_step. A million of them is which part of an hour?")
def dollars_per_million(answer):
    price, users, seconds = 2.0, 8, 0.02
    right = price / (3600 * users / seconds) * 1e6
    expect(
        answer(price, users, seconds),
        right,
        {
            "an hour has 3,600 seconds.": right * 3600,
            "an hour has 3,600 seconds, not 60.": right * 60,
            "a step gives every user a token.": right * users,
            "that is for one token.": right / 1e6,
            "that is for a thousand tokens.": right / 1e3,
            "the step's time stands in the numerator: a slow step makes tokens dearer.": price
            * 1e6
            / (3600 * users * seconds),
        },
        given="2 dollars an hour, 8 users, 20 ms",
    )


@exercise(hint="6 FLOPs a parameter and token, to the dense peak: half of the sparse one.")
def utilisation(answer):
    speed, parameters, peak = 1000.0, 5e6, 1e11
    right = speed * 6 * parameters / peak
    mistakes = {
        "forward and backward: 6 FLOPs a parameter and token, not 2.": right / 3,
        "forward and backward: 6 FLOPs a parameter and token; 2 forward, 4 backward.": right * 2 / 3,
        "a share, please, not per cent.": 100 * right,
        "that is its inverse.": 1 / right,
    }
    expect(answer(speed, parameters, peak, False), right, mistakes, given="a dense peak")
    expect(
        answer(speed, parameters, peak, True),
        2 * right,
        {
            "a sparse peak is twice the dense one, which is what counts: halve it.": right,
            "the dense peak is HALF of the sparse one.": right / 2,
            **{message: 2 * wrong for message, wrong in mistakes.items()},
        },
        given="a sparse peak",
    )


@exercise(hint="6 · parameters · tokens FLOPs, at devices · peak · mfu a second, 86,400 seconds a day.")
def training_days(answer):
    right = 6 * 1e9 * 2e10 / (8 * 1e15 * 0.4) / 86_400
    expect(
        answer(1e9, 2e10, 8, 1e15, 0.4),
        right,
        {
            "those are seconds.": right * 86_400,
            "those are hours.": right * 24,
            "no card reaches its peak: divide by the utilisation, too.": right * 0.4,
            "a low utilisation takes LONGER: divide by it.": right * 0.4 * 0.4,
            "the devices share the work.": right * 8,
            "6 FLOPs a parameter and token: forward and backward.": right / 3,
            "6 FLOPs for EACH parameter and token.": right / 6,
        },
        given="a billion parameters, 20 billion tokens, 8 devices",
    )
