"""Serve a run or a Hugging Face directory on the JAX decoder: OpenAI's completions interface, without vLLM.

Requests are decoded together, and join and leave at any step. A request with a seed gets the same tokens whatever else
the server is doing.
"""

import importlib.util
import threading
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING

import tyro

from llm_jax.config import Execution
from serve.api.engine import Ended
from serve.door.listening import Door

if TYPE_CHECKING:
    from serve.api.engine import Engine, Event
    from serve.models import Model


HANDLES_INTERRUPTS = True


@dataclass(frozen=True)
class Options:
    model: tyro.conf.Positional[str]
    """Folder of a run, a Hugging Face directory, or owner/name on the hub."""
    step: int | None = None
    """Of a run: the checkpoint's step. Default: the newest intact one."""
    rows: int = 8
    """Sequences decoded at once; others wait. A step takes about the same time for one as for all."""
    door: tyro.conf.OmitArgPrefixes[Door] = field(default_factory=Door)
    execution: tyro.conf.OmitArgPrefixes[Execution] = field(default_factory=Execution)

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"rows must be at least 1; got {self.rows}")


def main(options: Options) -> int:
    """Serves until a signal; returns 0 after a clean end. Raises RuntimeError if the engine fails, so that whoever
    supervises this process starts another one.
    """
    if not (importlib.util.find_spec("fastapi") and importlib.util.find_spec("uvicorn")):
        raise ImportError(
            "serve api needs FastAPI and uvicorn: `uv sync --extra serve`, or `pip install 'llm-jax[serve]'`"
        )
    import uvicorn

    from llm_jax import backend

    backend.configure()
    from serve.api.application import Served, application
    from serve.door import key, listening
    from serve.door import ready_message as examples
    from serve.models import load_model

    model = load_model(options.model, options.step)
    door = options.door
    context, name = door.context(model.config.context_length), door.name_of(options.model)
    secret, source = key.for_server(door.key_file)
    socket = listening.bound(door.host, door.port)
    engine = start_engine(model, options, context)
    app = application(
        Served(engine, model.tokenizer, name, context, model.folder), secret, door.max_requests, door.callers
    )
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            # Streams end with an error event at the engine's own time; this is for what does not listen.
            timeout_graceful_shutdown=int(door.shutdown_timeout) + 10,
        )
    )

    def end(sig: int, frame: FrameType | None) -> None:
        """Instead of uvicorn's own, which would raise the signal once more at the end."""
        engine.close("the server is shutting down", door.shutdown_timeout)
        server.should_exit = True

    def give_up() -> None:
        """The engine has failed and has told everybody so: a server that answers 503 for ever helps nobody."""
        server.should_exit = True

    server.handle_exit = end
    engine.on_failure = give_up
    request = examples.request_for(model.tokenizer, context)
    print(examples.how_to_call(door.host, socket.getsockname()[1], name, source, *request), flush=True)
    server.run(sockets=[socket])
    engine.close("the server has ended", 0)
    engine.join(timeout=30)
    if engine.failure:
        raise RuntimeError(f"{engine.failure}: start the server again; the log above says what it was")
    print("the server has ended", flush=True)
    return 0


def start_engine(model: "Model", options: Options, context: int) -> "Engine":
    """An engine for which everything is compiled, but prompts of other lengths, before the first client comes.

    Raises RuntimeError if it cannot decode as much as it may be asked to.
    """
    from llm_jax.decode.loop import prepare
    from llm_jax.models import gpt
    from serve.api.engine import Engine
    from serve.door.guard import MOST_SEQUENCES

    plan = gpt.make_plan(options.execution)
    params = prepare(model.params, plan, options.rows)
    # The door counts requests, the engine their sequences.
    most_sequences = options.door.max_requests * MOST_SEQUENCES
    engine = Engine(params, model.config, plan, options.rows, context, most_sequences)
    engine.start()
    n_requests = min(options.rows, most_sequences)
    for columns in engine.columns:
        for temperature in (0.0, 1.0):
            _warm_up(engine, n_requests, min(columns, context) - 1, temperature)
    return engine


def _warm_up(engine: "Engine", n_requests: int, n_tokens: int, temperature: float) -> None:
    """Requests that want so many tokens each, and leave when all of them have been answered side by side."""
    from llm_jax.decode.options import Sampling
    from serve.api.engine import Closing, Request

    failures: list[str] = []

    def start() -> threading.Event:
        left, n_events = threading.Event(), 0

        def deliver(event: "Event") -> None:
            nonlocal n_events
            n_events += 1
            if isinstance(event, Ended) and event.reason == "error":
                failures.append(event.error)
            if n_events > n_requests or isinstance(event, Ended):  # one joins at each step
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
        raise RuntimeError(f"{failures[0]}, before anybody asked: fewer --rows or a smaller --max-model-len may help")
