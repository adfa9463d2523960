"""Our server's HTTP interface: a FastAPI application over an `Engine`, behind the same guard as vLLM."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response, StreamingResponse

from llm_jax.tokenizer import Tokenizer
from serve.api import chat, completions
from serve.api.choice import Choice
from serve.api.completions import Asked
from serve.api.decoding.engine import Closing, Ended, Engine, Event, Full, Request
from serve.door.guard import MOST_SEQUENCES, Callers, Guard

if TYPE_CHECKING:
    from llm_jax.models.vision_language.config import VisionLanguageConfig

STATUS_GONE = 499  # nginx's status for a client that has closed the connection; nobody reads it
UNKNOWN_FAILURE = "the server has failed to answer this request: its log says why"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """What the application serves."""

    engine: Engine
    tokenizer: Tokenizer
    name: str
    context: int  # tokens, prompt and answer
    folder: Path | None  # where clients on this machine find the tokenizer's files
    adapters: Mapping[str, Tokenizer] = field(default_factory=dict)  # of the engine, in its order, by their names
    sight: "VisionLanguageConfig | None" = None  # of a model that sees
    created: int = field(default_factory=lambda: int(time.time()))  # seconds since 1970


def application(served: Served, key: str, max_requests: int, callers: Callers | None = None) -> Guard:
    """The whole server as one ASGI application. `callers`: whose requests pass; None: those of this machine."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/health")
    async def health() -> Response:
        return Response(status_code=200 if served.engine.alive else 503)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        # `root` is vLLM's field for the directory; lm-evaluation-harness counts tokens with the tokenizer in it.
        about = {"max_model_len": served.context, "root": served.folder and str(served.folder)}
        model = {"object": "model", "created": served.created, "owned_by": "llm-jax", **about}
        listed = [{"id": served.name, **model}]
        return {"object": "list", "data": listed + [{"id": n, **model, "parent": served.name} for n in served.adapters]}

    @app.post("/v1/chat/completions")
    async def complete_chat(http: HttpRequest) -> Response:
        return await answered(http, partial(chat.read, sight=served.sight))

    @app.post("/v1/completions")
    async def complete(http: HttpRequest) -> Response:
        return await answered(http, completions.read)

    async def answered(http: HttpRequest, read: Callable[..., Asked]) -> Response:
        limits = (served.context, MOST_SEQUENCES)
        to_read = (await http.json(), served.tokenizer, served.name, *limits, served.adapters)
        try:
            # A chat template is a program: the server answers others while it runs.
            asked = await asyncio.to_thread(read, *to_read)
            running = Running(served, asked)
        except completions.Unknown as unknown:
            return error(404, str(unknown))
        except ValueError as wrong:
            return error(400, str(wrong))
        except Full as full:
            return error(429, str(full), {"retry-after": "1"})
        except Closing as closing:
            return error(503, str(closing))
        if asked.stream:
            return StreamingResponse(running.stream(), media_type="text/event-stream")
        return await running.whole(http)

    @app.exception_handler(Exception)
    async def fail(http: HttpRequest, failure: Exception) -> Response:
        """Answers an unexpected exception; the server logs its traceback."""
        return error(500, UNKNOWN_FAILURE)

    return Guard(app, key, max_requests, callers=callers or Callers())


def error(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """OpenAI's form of an error."""
    return JSONResponse(_error(status, message), status, headers)


def _error(status: int, message: str) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


class Failed(Exception):
    """The engine could not finish a request."""


class Running:
    """A request in the engine: its sequences, and their answers so far."""

    def __init__(self, served: Served, asked: Asked):
        """Hands the sequences to the engine. Raises Full or Closing."""
        self._served, self._asked = served, asked
        name, tokenizer = ((served.name, served.tokenizer), *served.adapters.items())[asked.adapter]
        self._head = chat.head(name, asked.stream) if asked.is_chat else completions.Head(name)
        loop, self._events = asyncio.get_running_loop(), asyncio.Queue[tuple[int, Event]]()
        self._prompts = [prompt for prompt in asked.prompts for _ in range(asked.n)]
        ends = frozenset(tokenizer.borders.stops)
        stop_tokens = asked.stop_tokens | (frozenset() if asked.ignore_eos else ends)
        # No end is chosen before `min_tokens`, even where ends are ignored later.
        adjustment = replace(asked.adjustment, ends=asked.stop_tokens | ends)

        def deliver_to(index: int):
            def deliver(event: Event) -> None:
                with contextlib.suppress(RuntimeError):  # the event loop has ended, so nobody waits
                    loop.call_soon_threadsafe(self._events.put_nowait, (index, event))

            return deliver

        self._requests = [
            Request(
                prompt=prompt,
                sampling=asked.sampling.of(index),
                max_new_tokens=asked.max_tokens,
                deliver=deliver_to(index),
                stop_tokens=stop_tokens,
                adjustment=adjustment,
                n_top=asked.n_top or 0,
                score_prompt=asked.echo and asked.n_top is not None,
                adapter=asked.adapter,
                pictures=asked.pictures,
            )
            for index, prompt in enumerate(self._prompts)
        ]
        self._choices = [Choice(tokenizer, asked, prompt) for prompt in self._prompts]
        served.engine.submit(self._requests)

    async def pieces(self) -> AsyncGenerator[dict[str, Any], None]:
        """Choices in OpenAI's form, piece by piece as they come. Raises Failed if the engine gives up.

        The rows are free afterwards, whether the last token has come or the client has closed the connection.
        """
        open_ones = set(range(len(self._choices)))
        try:
            for index, choice in enumerate(self._choices):
                if choice.echoed and self._asked.n_top is None:
                    yield completions.choice(index, choice.echoed, None, None)
            while open_ones:
                index, event = await self._events.get()
                if index not in open_ones:
                    continue
                if isinstance(event, Ended) and event.reason == "error":
                    raise Failed(event.error)
                text, logprobs, reason, stop = self._choices[index].take(event)
                if reason:
                    open_ones.remove(index)
                    self._served.engine.cancel([self._requests[index]])
                yield completions.choice(index, text, logprobs, reason, stop)
        finally:
            self._served.engine.cancel(self._requests)

    async def stream(self) -> AsyncIterator[str]:
        """Server-sent events. A failure is an event too, because the status was sent before."""
        try:
            if self._asked.is_chat:
                for index in range(len(self._choices)):
                    yield _event(completions.answer(self._head, [chat.opening(index)], None))
            async with contextlib.aclosing(self.pieces()) as pieces:
                async for piece in pieces:
                    usage = self._usage_of(piece["index"]) if self._asked.continuous_usage else None
                    choice = chat.delta(piece) if self._asked.is_chat else piece
                    yield _event(completions.answer(self._head, [choice], usage))
        except Failed as failed:
            yield _event(_error(503, str(failed)))
            return
        except Exception:
            logger.exception("a stream has failed")
            yield _event(_error(500, UNKNOWN_FAILURE))
            return
        if self._asked.include_usage:
            yield _event(completions.answer(self._head, [], self._usage()))
        yield "data: [DONE]\n\n"

    async def whole(self, http: HttpRequest) -> Response:
        """One answer at the end, unless the client closes the connection before."""
        gathering = asyncio.ensure_future(self._gather())
        hung_up = asyncio.ensure_future(_hung_up(http))
        await asyncio.wait([gathering, hung_up], return_when=asyncio.FIRST_COMPLETED)
        hung_up.cancel()
        if not gathering.done():
            gathering.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gathering
            return Response(status_code=STATUS_GONE)
        try:
            choices = gathering.result()
        except Failed as failed:  # 500 if only this request failed, 503 if the engine did
            return error(500 if self._served.engine.alive else 503, str(failed))
        choices = list(map(chat.message, choices)) if self._asked.is_chat else choices
        return JSONResponse(completions.answer(self._head, choices, self._usage()))

    async def _gather(self) -> list[dict[str, Any]]:
        merged = [completions.choice(index, "", None, None) for index in range(len(self._choices))]
        async with contextlib.aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                whole = merged[piece["index"]]
                whole["text"] += piece["text"]
                whole["finish_reason"], whole["stop_reason"] = piece["finish_reason"], piece["stop_reason"]
                if piece["logprobs"]:
                    lists = whole["logprobs"] or {name: [] for name in piece["logprobs"]}
                    whole["logprobs"] = {name: lists[name] + more for name, more in piece["logprobs"].items()}
        return merged

    def _usage_of(self, index: int) -> dict[str, int]:
        """Token counts of one sequence, so far."""
        return completions.usage(len(self._prompts[index]), self._choices[index].n_new)

    def _usage(self) -> dict[str, int]:
        n_prompt = sum(map(len, self._asked.prompts))
        return completions.usage(n_prompt, sum(choice.n_new for choice in self._choices))


async def _hung_up(http: HttpRequest) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"
