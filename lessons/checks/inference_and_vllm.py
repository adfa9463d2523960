"""The checks of lesson 17. Reading them before you have tried gives the answers away."""

from checks import exercise, expect

GIB = 2**30


@exercise(hint="A step serves all users at once, and a user waits for prefill and tokens − 1 steps.")
def latency_and_throughput(answer):
    for users, prefill, step, tokens in ((8, 0.3, 0.02, 50), (1, 1.0, 0.5, 1)):
        latency = prefill + (tokens - 1) * step
        throughput = users * tokens / latency
        expect(
            answer(users, prefill, step, tokens),
            (latency, throughput),
            {
                "the users are served together: a user's latency is not the sum over all.": (
                    users * latency,
                    tokens / latency,
                ),
                "the users are served together: latency does not grow with their number.": (
                    users * latency,
                    throughput,
                ),
                "that is one user's rate; throughput counts the tokens of all.": (latency, tokens / latency),
                "that is how often a step ends; throughput counts tokens.": (latency, 1 / latency),
                "that is the rate of the steps alone: the prompts have to be read, too.": (latency, users / step),
                "the first token comes with the prompt: tokens − 1 steps.": (
                    prefill + tokens * step,
                    users * tokens / (prefill + tokens * step),
                ),
                "the prompts have to be read, too.": (
                    (tokens - 1) * step,
                    users * tokens / max((tokens - 1) * step, 1e-9),
                ),
                "latency is not 1 divided by throughput: a batch serves many at once.": (1 / throughput, throughput),
                "latency first, then throughput.": (throughput, latency),
            },
            given=f"{users} users",
        )


def _continuous(answers, rows, reverse=False):
    waiting, left, count = sorted(answers, reverse=True) if reverse else list(answers), [0] * rows, 0
    while waiting or any(left):
        left = [tokens or (waiting.pop(0) if waiting else 0) for tokens in left]
        left, count = [max(0, tokens - 1) for tokens in left], count + 1
    return count


@exercise(
    hint="Static: the longest of each group, summed. Continuous: keep what each row still has to give, and count."
)
def steps(answer):
    for answers, rows in (([3, 9, 2, 7, 5], 2), ([4, 1, 1, 1, 6, 2], 3)):
        groups = [answers[i : i + rows] for i in range(0, len(answers), rows)]
        static, continuous = sum(map(max, groups)), _continuous(answers, rows)
        even = -(-sum(answers) // rows)
        in_order = sorted(answers)
        expect(
            answer(answers, rows),
            (static, continuous),
            {
                "continuous steps first? The static kind comes first.": (continuous, static),
                "a step serves all rows: the answers of a group are not summed.": (sum(answers), continuous),
                "the work is not divided evenly: the last request may run alone.": (static, even),
                "a group waits for its longest answer, and a free row is not shared by two requests.": (even, even),
                "a group takes as long as its longest answer, not as its mean.": (
                    sum(sum(group) / len(group) for group in groups),
                    continuous,
                ),
                "a free row is filled at once: it does not wait for the others.": (static, static),
                "the longest answer of all is only a lower bound.": (static, max(answers)),
                "requests keep their order: do not sort them.": (
                    sum(max(in_order[i : i + rows]) for i in range(0, len(answers), rows)),
                    _continuous(in_order, rows),
                ),
            },
            given=f"answers {answers} and {rows} rows",
        )


@exercise(hint="Each sequence rounds up by itself, then sum. −(−a // b) rounds up.")
def blocks_needed(answer):
    for lengths, size in (([1, 16, 17, 40], 16), ([5, 5, 8, 1], 4)):
        right = sum(-(-n // size) for n in lengths)
        expect(
            answer(lengths, size),
            right,
            {
                "rounded down: the last, half-filled block is a block, too.": sum(n // size for n in lengths),
                "blocks are whole.": sum(lengths) / size,
                "a block belongs to one sequence: round up each, then sum.": -(-sum(lengths) // size),
                "rounded down, and of the sum: each sequence rounds up by itself.": sum(lengths) // size,
                "a sequence of exactly 16 tokens needs one block, not two.": sum(n // size + 1 for n in lengths),
                "nothing is reserved for the longest: each has its own number.": len(lengths)
                * -(-max(lengths) // size),
                "those are slots for tokens; count blocks.": right * size,
            },
            given=f"lengths {lengths} and blocks of {size}",
        )
    expect(answer([], 16), 0, given="no sequence")


@exercise(hint="A block's bytes: 2 · layers · heads of keys · width · bytes · 16. How many of them go into the memory?")
def blocks_that_fit(answer):
    for memory, layers, heads, kv_heads, width, size in (
        (3.81 * GIB, 32, 32, 8, 128, 16),
        (1e9, 5, 12, 4, 64, 32),
    ):
        block = 2 * layers * kv_heads * width * 2 * size
        expect(
            answer(memory, layers, heads, kv_heads, width, 2, size),
            int(memory // block),
            {
                "the heads of keys count, not those of queries.": int(memory // (block * heads // kv_heads)),
                "keys AND values: a 2 is missing.": int(memory // (block / 2)),
                "every layer has keys of its own.": int(memory // (block / layers)),
                "those are tokens; a block has `size` of them.": int(memory // (block / size)),
                "a number has bytes_per_number bytes, and keys AND values: a 2 is missing.": int(memory // (block / 4)),
                "blocks are whole.": memory / block,
                "rounded up: the last one does not fit.": int(-(-memory // block)),
                "all heads together: their number times the width.": int(memory // (block / kv_heads)),
            },
            given=f"{memory / GIB:.2f} GiB",
        )


@exercise(hint="position // size: which of the sequence's blocks; position % size: where in it.")
def slot_of(answer):
    for position, table, size in ((37, [5, 0, 3], 16), (16, [7, 2], 16), (5, [4, 1], 4)):
        block, inside = divmod(position, size)
        expect(
            answer(position, table, size),
            table[block] * size + inside,
            {
                "that is the block's number; its first slot is number · size.": table[block],
                "a block has `size` slots: its number times size.": table[block] + inside,
                "that is the block's first slot; the token lies behind it.": table[block] * size,
                "the table says where the blocks lie: they are not one after the other.": position,
                "the remainder is the place in the block, the quotient is the block.": table[inside % len(table)] * size
                + block,
                "positions count from 0: nothing is subtracted.": table[(position - 1) // size] * size
                + (position - 1) % size,
                "that is the place in the block.": inside,
            },
            given=f"position {position} and the table {table}",
        )


def _common(a, b):
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return n


@exercise(hint="Whole blocks of the common beginning, and never the prompt's last token.")
def tokens_saved(answer):
    base = list(range(100, 148))
    cases = {
        "a common beginning of 37 tokens": ([*base[:37], 1, 2, 3, 4, 5], base),
        "a prompt that is there as a whole": (base[:32], base),
        "a difference in the first block": ([9, *base[1:]], base),
        "a difference in the second block": ([*base[:20], 9, *base[21:]], base),
        "a cached sequence of 20 tokens": (base, base[:20]),
    }

    def by_tokens(prompt, cached):
        return _common(prompt, cached)

    def with_the_last(prompt, cached):
        return _common(prompt, cached) // 16 * 16

    def by_blocks_alone(prompt, cached):
        known = {tuple(cached[i : i + 16]) for i in range(0, len(cached) - 15, 16)}
        found = [tuple(prompt[i : i + 16]) in known for i in range(0, len(prompt) - 15, 16)]
        return min(16 * sum(found), (len(prompt) - 1) // 16 * 16)

    def half_blocks_of_cached(prompt, cached):
        return min(-(-_common(prompt, cached) // 16) * 16, (len(prompt) - 1) // 16 * 16)

    def right(prompt, cached):
        return min(_common(prompt, cached), len(prompt) - 1) // 16 * 16

    for given, (prompt, cached) in cases.items():
        found = right(prompt, cached)
        expect(
            answer(prompt, cached, 16),
            found,
            {
                "the last token of a prompt is always computed, and its block with it.": with_the_last(prompt, cached),
                "only whole blocks are found: not the tokens of a half one.": by_tokens(prompt, cached),
                "those are blocks; count their tokens.": found // 16 or None,
                "a block's hash holds all tokens before it: behind a difference nothing is found.": by_blocks_alone(
                    prompt, cached
                ),
                "rounded up: a half block is not finished, so it is not found.": half_blocks_of_cached(prompt, cached),
                "only whole blocks; the last token is computed as well.": max(
                    0, min(by_tokens(prompt, cached), len(prompt) - 1)
                ),
                "those tokens have to be computed; asked is what is saved.": len(prompt) - found,
            },
            given=given,
        )
