"""Serve a run or a Hugging Face directory on the JAX decoder: OpenAI's completions interface, without vLLM.

Requests are decoded together; each joins and leaves at any step. A request with a seed gets the same tokens whatever
other requests the server answers.
"""

import importlib.util
from types import FrameType

from serve.api.config import ApiConfig as Options

HANDLES_INTERRUPTS = True


def main(options: Options) -> int:
    """Serves until a signal; returns 0 after a clean end.

    Raises RuntimeError if the engine fails: the process then ends with an error, and its supervisor can start another.
    """
    if not (importlib.util.find_spec("fastapi") and importlib.util.find_spec("uvicorn")):
        raise ImportError(
            "serve api needs FastAPI and uvicorn: `uv sync --extra serve`, or `pip install 'llm-jax[serve]'`"
        )
    import uvicorn

    from llm_jax import backend

    backend.configure()
    from serve.adapters import named
    from serve.api.application import Served, application
    from serve.api.decoding.start import start_engine
    from serve.door import key, listening, ready_message
    from serve.models import load_with_adapters

    door = options.door
    name = door.name_of(options.model)
    adapters = named(options.adapter, name)
    model = load_with_adapters(options.model, options.step, list(adapters.values()), options.weights)
    context = door.context(model.config.context_length)
    secret, source = key.for_server(door.key_file)
    socket = listening.bound(door.host, door.port)
    engine = start_engine(model, options, context, consumes=True)
    sight = model.sight.config if model.sight else None
    tokenizers = dict(zip(adapters, model.tokenizers, strict=True))
    served = Served(engine, model.tokenizer, name, context, model.folder, tokenizers, sight)
    app = application(served, secret, door.max_requests, door.callers)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            # The engine ends streams with an error event when its own time is over; this limit is for the others.
            timeout_graceful_shutdown=int(door.shutdown_timeout) + 10,
        )
    )

    def end(sig: int, frame: FrameType | None) -> None:
        """Replaces uvicorn's handler, which raises the signal once more at the end."""
        engine.close("the server is shutting down", door.shutdown_timeout)
        server.should_exit = True

    def give_up() -> None:
        """The engine has failed and has sent an error to every request: without it the server could only answer 503."""
        server.should_exit = True

    server.handle_exit = end
    engine.on_failure = give_up
    request = ready_message.request_for(model.tokenizer, context)
    print(ready_message.how_to_call(door.host, socket.getsockname()[1], name, source, *request), flush=True)
    if adapters:
        print(f"adapters, each a model of this name: {', '.join(adapters)}", flush=True)
    server.run(sockets=[socket])
    engine.close("the server has ended", 0)
    engine.join(timeout=30)
    if engine.failure:
        raise RuntimeError(f"{engine.failure}: start the server again; the log above has the cause")
    print("the server has ended", flush=True)
    return 0
