"""An engine whose programs are compiled before the first client comes."""

import threading
from typing import TYPE_CHECKING

from serve.api.config import ApiConfig
from serve.api.decoding.requests import Closing, Ended, Request

if TYPE_CHECKING:
    from serve.api.decoding.engine import Engine
    from serve.api.decoding.requests import Event
    from serve.models import Model


def start_engine(model: "Model", config: ApiConfig, context: int, consumes: bool = False) -> "Engine":
    """Starts an engine and compiles every decode program; a new prompt length compiles when it comes.

    With `consumes` the model's parameters are deleted as they are prepared, so that memory never holds them twice.
    Raises RuntimeError if the engine cannot decode its largest batch.
    """
    from llm_jax.decode.loop import prepare
    from llm_jax.models import decoder
    from serve.api.decoding.engine import Engine
    from serve.door.guard import MOST_SEQUENCES

    plan = decoder.make_plan(config.execution)
    params = prepare(model.params, plan, config.rows, model.weights, consumes)
    # The guard counts requests, the engine counts their sequences.
    most_sequences = config.door.max_requests * MOST_SEQUENCES
    engine = Engine(params, model.config, plan, config.rows, context, most_sequences, model.sight)
    engine.start()
    n_requests = min(config.rows, most_sequences)
    for columns in engine.columns:
        for temperature in (0.0, 1.0):
            _warm_up(engine, n_requests, min(columns, context) - 1, temperature)
    return engine


def _warm_up(engine: "Engine", n_requests: int, n_tokens: int, temperature: float) -> None:
    """Decodes `n_requests` side by side, `n_tokens` each; cancels them when all have decoded a step together."""
    from llm_jax.decode.options import Sampling

    failures: list[str] = []

    def start() -> threading.Event:
        left, n_events = threading.Event(), 0

        def deliver(event: "Event") -> None:
            nonlocal n_events
            n_events += 1
            if isinstance(event, Ended) and event.reason == "error":
                failures.append(event.error)
            if n_events > n_requests or isinstance(event, Ended):  # one request joins at each step
                engine.cancel([request])
                left.set()

        request = Request([0], Sampling(temperature), n_tokens, deliver)
        try:
            engine.submit([request])
        except Closing as closing:
            raise RuntimeError(str(closing)) from None
        return left

    for left in [start() for _ in range(n_requests)]:
        left.wait()
    if failures:
        raise RuntimeError(
            f"{failures[0]}, before the first request: fewer --rows or a smaller --max-model-len may help"
        )
