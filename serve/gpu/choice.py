"""For each accelerator, the fewest of them that serve the model as asked, or why none of the numbers does."""

import math
from dataclasses import dataclass, replace
from functools import partial

from llm_jax.config import DecoderConfig
from llm_jax.hardware.catalogue import Accelerator, accelerators
from llm_jax.hardware.prices import Price, prices
from llm_jax.hardware.queueing import Load, Server, Waits, simulate
from llm_jax.hardware.serving_memory import ServingMemory, can_share, serving_memory
from llm_jax.hardware.speed import Device, decode_seconds, prefill_seconds
from serve.gpu.config import GpuConfig

STEP_TOKENS = 2048  # that one step computes at most, where fewer sequences are answered at once
ROWS = 256  # sequences at once, where fewer users are asked for
LOAD = 0.9  # of what `users` make who ask again as soon as they are answered
MIB = 2**20
LARGER_BUDGET = "a larger --budget"
LESS_LOAD = "fewer users, a shorter context, fp8, or more devices"
MORE_MEMORY = "fp8 or more devices"


def most_rows(users: int) -> int:
    """Sequences at once: the command that starts the server asks vLLM for as many (`--max-num-seqs`)."""
    return max(ROWS, users)


def step_tokens(users: int) -> int:
    """Tokens of one step: as many are asked for (`--max-num-batched-tokens`)."""
    return max(STEP_TOKENS, most_rows(users))


@dataclass(frozen=True)
class Choice:
    """An accelerator that serves the model, and its figures when `users` are answered at once."""

    accelerator: str
    devices: int
    memory: ServingMemory
    user_tokens_per_second: float
    tokens_per_second: float
    waits: Waits
    price: Price | None
    """Of all devices together, dollars an hour."""
    watts: float | None

    def dollars_per_million(self, at: str = "low") -> float | None:
        """Dollars for a million new tokens, with this many users all the time."""
        return getattr(self.price, at) / (3600 * self.tokens_per_second) * 1e6 if self.price else None

    @property
    def kilowatt_hours_per_million(self) -> float | None:
        """Of the accelerators at full power; the rest of the machine is left out."""
        return self.watts / 1000 / (3600 * self.tokens_per_second) * 1e6 if self.watts else None


@dataclass(frozen=True)
class Refusal:
    accelerator: str
    reason: str
    cure: str = ""
    """What would help, if something does."""


def choose(config: DecoderConfig, asked: GpuConfig) -> list[Choice | Refusal]:
    """One entry for each accelerator of the catalogue: choices first, the cheapest a token before the others.

    Raises:
        ValueError: the model has fewer positions than the context asked for, or the file of prices is wrong.
    """
    if asked.context > config.context_length:
        raise ValueError(
            f"--context {asked.context:,} is more than the {config.context_length:,} positions that the model has"
        )
    known = prices(asked.prices)
    found = [_best(entry, config, asked, known.get(entry.name)) for entry in accelerators()]
    choices = [one for one in found if isinstance(one, Choice)]
    choices.sort(key=lambda one: (one.dollars_per_million() or math.inf, -one.tokens_per_second))
    return [*choices, *(one for one in found if isinstance(one, Refusal))]


def _best(entry: Accelerator, config: DecoderConfig, asked: GpuConfig, price: Price | None) -> Choice | Refusal:
    try:
        device = Device.of(entry, asked.dtype, 1e9 * entry.link.value if entry.link else 0.0)
    except ValueError:
        cure = ": --dtype float16" if asked.dtype == "bfloat16" and entry.fp16 else ""
        return Refusal(entry.name, f"no tensor units for {asked.dtype}{cure}")
    if asked.budget < math.inf and price is None:
        return Refusal(entry.name, "no price is known, and --budget is given")
    refusal = _cannot_be_split(entry.name, config, asked.devices)
    for devices in sorted(asked.devices):
        if not can_share(config, devices) or (devices > 1 and not device.link):
            continue
        answer = _with(devices, entry, device, config, asked, price)
        if isinstance(answer, Choice):
            return answer
        refusal = replace(answer, reason=f"{devices} ×: {answer.reason}")
        if answer.cure == LARGER_BUDGET:
            break  # more of them cost more
    return refusal


def _cannot_be_split(name: str, config: DecoderConfig, devices: tuple[int, ...]) -> Refusal:
    numbers = ", ".join(map(str, devices))
    of_keys = f" ({config.kv_heads} of keys and values)" if config.kv_heads != config.n_heads else ""
    return Refusal(name, f"{config.n_heads} heads{of_keys} cannot be split by {numbers}", "other --devices")


def _with(
    devices: int, entry: Accelerator, device: Device, config: DecoderConfig, asked: GpuConfig, price: Price | None
) -> Choice | Refusal:
    """The choice with this number of one accelerator, or why it is refused."""
    of_all = Price(devices * price.low, devices * price.high, price.date) if price else None
    if of_all and of_all.low > asked.budget:
        reason = f"${of_all.low:.2f} an hour is above the budget of ${asked.budget:.2f}"
        return Refusal(entry.name, reason, LARGER_BUDGET)
    total = entry.reported_memory.value * MIB
    memory = serving_memory(config, total, step_tokens(asked.users), asked.utilisation, devices, asked.dtype)
    needed = asked.users * (asked.prompt_tokens + asked.answer_tokens)
    if memory.cache <= 0:
        reason = f"the weights need {_gb(memory.weights)} of {_gb(asked.utilisation * total)}"
        return Refusal(entry.name, reason, MORE_MEMORY)
    if memory.tokens < max(needed, asked.context):
        reason = f"its cache holds {memory.tokens:,} tokens; {max(needed, asked.context):,} are needed"
        return Refusal(entry.name, reason, LESS_LOAD)
    settings = {"devices": devices, "dtype": asked.dtype}
    context = asked.prompt_tokens + asked.answer_tokens / 2
    step = decode_seconds(config, device, asked.users, context, **settings)
    # Prompts are computed beside the answers: in the time of one answer, one prompt for each user.
    reading = asked.users * prefill_seconds(config, device, 1, asked.prompt_tokens, **settings)
    token = step + reading / asked.answer_tokens
    if 1 / token < asked.tokens_per_second:
        reason = f"{1 / token:.1f} tokens/s for each user; {asked.tokens_per_second:g} are asked for"
        return Refusal(entry.name, reason, LESS_LOAD)
    rate = asked.users / (asked.answer_tokens * token)
    waits = simulate(
        Server(
            partial(_step_seconds, config, device, settings),
            memory.tokens,
            most_rows(asked.users),
            step_tokens(asked.users),
        ),
        # Counted from three turns of all users on, when the server has filled up.
        Load(
            LOAD * rate,
            asked.prompt_tokens,
            asked.answer_tokens,
            requests=max(400, 4 * asked.users),
            around=max(40, 3 * asked.users),
            longest=asked.context,
        ),
    )
    if waits.waiting > max(ROWS, asked.users) / 2:
        reason = f"requests come faster than it answers them: {waits.waiting:,} wait at the end"
        return Refusal(entry.name, reason, LESS_LOAD)
    watts = devices * entry.power.value if entry.power else None
    return Choice(entry.name, devices, memory, 1 / token, asked.users / token, waits, of_all, watts)


def _step_seconds(
    config: DecoderConfig, device: Device, settings: dict, rows: int, context: float, prompt_tokens: int
) -> float:
    decoding = decode_seconds(config, device, rows, context, **settings) if rows else 0.0
    reading = prefill_seconds(config, device, 1, prompt_tokens, **settings) if prompt_tokens else 0.0
    return decoding + reading


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
