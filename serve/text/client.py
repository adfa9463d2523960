"""Text continued by whoever can: a server with OpenAI's interface (vLLM or ours), or the JAX decoder here."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from llm_jax.decode.options import Sampling

if TYPE_CHECKING:
    import openai

    from serve.models import Model


@dataclass(frozen=True)
class Wish:
    """How to continue."""

    sampling: Sampling
    max_new_tokens: int
    stops: tuple[str, ...] = ()
    seeded: bool = True  # False: another continuation each time


def refuse_empty_stops(stops: Sequence[str]) -> None:
    """Raises ValueError: an empty text stands at the beginning of every answer, and would leave nothing of it."""
    if "" in stops:
        raise ValueError("stop must be a text that is not empty: leave --stop out to go on to the end")


class Completer(Protocol):
    """Something that continues text."""

    @property
    def name(self) -> str: ...

    def stream(self, text: str, wish: Wish) -> Generator[str, None, None]:
        """The continuation, as it comes. Raises ValueError for what is refused, OSError where nobody answers."""
        ...


def open_completer(where: str, key_file: Path | None) -> Completer:
    """A URL, or a model as `load_model` takes it. Raises as these do; ImportError without the openai package."""
    if where.startswith(("http://", "https://")):
        return Remote(where, key_file)
    from serve.models import load_model

    return Local(load_model(where))


class Local:
    """The JAX decoder."""

    def __init__(self, model: "Model"):
        from llm_jax.config import Execution
        from llm_jax.decode.loop import prepare
        from llm_jax.models import gpt

        self.name, self._config, self._tokenizer = model.name, model.config, model.tokenizer
        self._plan = gpt.make_plan(Execution())
        self._params = prepare(model.params, self._plan, n_rows=1)

    def stream(self, text: str, wish: Wish) -> Generator[str, None, None]:
        from llm_jax.decode.loop import stream
        from llm_jax.decode.prompts import encode_prompt
        from serve.text.continuation import Continuation

        tokenizer = self._tokenizer
        ids = encode_prompt(tokenizer, text)
        ends = tokenizer.borders.stops
        continuation = Continuation(tokenizer, wish.stops)
        for (new,) in stream(self._params, [ids], self._config, self._plan, wish.sampling, wish.max_new_tokens, ends):
            yield "".join(map(continuation.push, new))
            if continuation.stopped:
                return
        yield continuation.finish()


class Remote:
    """A server, through the openai package."""

    def __init__(self, url: str, key_file: Path | None):
        self.url = url.rstrip("/").removesuffix("/v1")
        self._client = connect(self.url, key_file)
        with translated(self.url):
            models = self._client.models.list().data
        if not models:
            raise ValueError(f"{self.url} serves no model")
        self.name = models[0].id
        self.context: int | None = getattr(models[0], "max_model_len", None)

    def stream(self, text: str, wish: Wish) -> Generator[str, None, None]:
        with translated(self.url):
            answer = self._client.completions.create(stream=True, **arguments(self.name, text, wish))
            with answer:
                for piece in answer:
                    for choice in piece.choices:
                        yield choice.text


def arguments(model: str, prompt: str, wish: Wish) -> dict[str, Any]:
    """A wish in the words of `client.completions.create`."""
    return {
        "model": model,
        "prompt": prompt,
        "max_tokens": wish.max_new_tokens,
        "temperature": wish.sampling.temperature,
        "top_p": wish.sampling.top_p,
        "stop": list(wish.stops) or None,
        "seed": wish.sampling.seed if wish.seeded else None,
        "extra_body": {name: value for name in ("top_k", "min_p") if (value := getattr(wish.sampling, name))} or None,
    }


def connect(url: str, key_file: Path | None, timeout: float = 600) -> "openai.OpenAI":
    """A client with the key of `serve.door.key`; nothing is sent yet."""
    try:
        import openai
    except ImportError:
        raise ImportError(
            "talking to a server needs the openai package: `uv sync --extra serve`, or `pip install 'llm-jax[serve]'`"
        ) from None
    from serve.door import key

    return openai.OpenAI(base_url=f"{url}/v1", api_key=key.for_client(key_file), timeout=timeout, max_retries=2)


class translated:
    """A context in which the openai package's errors become ours, in one line with a cure."""

    def __init__(self, url: str):
        self._url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        import openai

        if isinstance(error, openai.AuthenticationError):
            raise PermissionError(
                f"{self._url} refuses the key: use the server's own, from --key-file or LLM_JAX_API_KEY"
            ) from None
        if isinstance(error, openai.APIConnectionError):
            raise ConnectionError(f"no server answers at {self._url}: is it running, and is this its port?") from None
        if isinstance(error, openai.BadRequestError) and "context length" in error.message:
            raise ValueError(
                f"the prompt and the new tokens do not fit the model: shorten the prompt, or ask for fewer tokens with "
                f"--max-new-tokens. {self._url} says: {_words(error)}"
            ) from None
        if isinstance(error, openai.APIStatusError):
            raise ValueError(f"{self._url} answers {error.status_code}: {_words(error)}") from None
        if isinstance(error, openai.APIError):
            raise ConnectionError(f"{self._url} ended its answer early: {error.message}") from None


def _words(error: "openai.APIStatusError") -> str:
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return str(message or error.message)
