"""A `TextGenerator` that asks a server with OpenAI's interface, vLLM or ours.

`open_source` gives it, or a model on this machine. `serve.bench` uses `connect` and `translated` too.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_jax.config import Weights
from llm_jax.decode.options import Sampling
from serve.text.config import Message, Piece, Settings, TextGenerator, is_url

if TYPE_CHECKING:
    import openai

MOST_TEXTS = 128  # prompts in one request, the limit of our servers


def open_source(
    where: str,
    key_file: Path | None,
    step: int | None = None,
    n_texts: int = 1,
    adapter: Path | None = None,
    name: str | None = None,
    weights: Weights = "auto",
) -> TextGenerator:
    """A server if `where` is a URL, else a model on the JAX decoder.

    Args:
        where: URL, folder of a run, Hugging Face directory, or owner/name on the hub.
        key_file: for a server: the file with its API key.
        step: for a run: the checkpoint's step; None: the newest intact one.
        n_texts: how many texts are continued in one batch.
        adapter: for a model: a LoRA run or PEFT's directory, merged into its weights.
        name: for a server: which of its models; None: the first that it lists, which is the base of its adapters.
        weights: for a model: the number format of its weights.

    Raises:
        ImportError: `where` is a URL and the openai package is not installed.
        FileNotFoundError, ValueError, OSError: as `load_model` and `Remote`.
    """
    if is_url(where):
        if weights != "auto":
            raise ValueError(
                f"--weights {weights} is about a model on this machine; {where} is a server: leave it out, or give it "
                "to `serve api`"
            )
        return Remote(where, key_file, name)
    from serve.models import load_model
    from serve.text.local import Local

    return Local(load_model(where, step, False, adapter, weights), n_texts, consumes=True)


class Remote:
    """A `TextGenerator` that asks a server through the openai package.

    Raises:
        PermissionError: the server refuses the key.
        ConnectionError: no server answers.
        ValueError: the server has no model, or none of this name, or answers with an error.
    """

    def __init__(self, url: str, key_file: Path | None, name: str | None = None):
        self.url = url.rstrip("/").removesuffix("/v1")
        self._client = connect(self.url, key_file)
        with translated(self.url):
            models = self._client.models.list().data
        if not models:
            raise ValueError(f"{self.url} serves no model")
        model = models[0] if name is None else next((one for one in models if one.id == name), None)
        if model is None:
            raise ValueError(f"{self.url} serves no model {name!r}; it has {', '.join(one.id for one in models)}")
        self.name = model.id
        self._chats: bool | None = None  # not known yet
        self.context: int | None = getattr(model, "max_model_len", None)

    def sampling(self, otherwise: Sampling) -> Sampling:
        """See `TextGenerator`."""
        return otherwise

    def stream(self, text: str, settings: Settings) -> Generator[str, None, None]:
        """See `TextGenerator`."""
        for _, new in self._request(text, settings):
            yield new

    def stream_all(self, texts: Sequence[str], settings: Settings) -> Generator[Piece, None, None]:
        """See `TextGenerator`. Sends requests of up to 128 texts, one after the other.

        vLLM samples every prompt of a request with the same seed. `serve api` and the decoder add the prompt's number.
        """
        for start in range(0, len(texts), MOST_TEXTS):
            some = list(texts[start : start + MOST_TEXTS])
            for index, new in self._request(some, settings, first=start):
                yield Piece(["" if number != start + index else new for number in range(len(texts))], None)

    @property
    def chats(self) -> bool:
        """See `Chatting`. No interface tells this, so the first call sends a message and asks for one token."""
        if self._chats is None:
            try:
                for _ in self.reply([{"role": "user", "content": "Hi"}], Settings(Sampling(0.0), 1)):
                    pass
                self._chats = True
            except ValueError as error:
                if "chat template" not in str(error):
                    raise
                self._chats = False
        return self._chats

    def reply(self, messages: Sequence[Message], settings: Settings) -> Generator[str, None, None]:
        """See `Chatting`. Only the server knows the prompt's length, so an answer gets at most half of the context."""
        most = settings.max_new_tokens if self.context is None else min(settings.max_new_tokens, self.context // 2)
        request = arguments(self.name, "", replace(settings, max_new_tokens=max(1, most)))
        request["messages"] = messages
        del request["prompt"]
        create: Any = self._client.chat.completions.create
        with translated(self.url):
            answer = create(stream=True, **request)
            with answer:
                for piece in answer:
                    for choice in piece.choices:
                        yield choice.delta.content or ""

    def _request(
        self, prompt: str | list[str], settings: Settings, first: int = 0
    ) -> Generator[tuple[int, str], None, None]:
        """(number of the prompt, new text) as it arrives. `first` is the number of the first prompt among all texts."""
        with translated(self.url):
            answer = self._client.completions.create(stream=True, **arguments(self.name, prompt, settings, first))
            with answer:
                for piece in answer:
                    for choice in piece.choices:
                        yield choice.index, choice.text


def arguments(model: str, prompt: str | list[str], settings: Settings, first: int = 0) -> dict[str, Any]:
    """Settings as arguments of `client.completions.create`; `first` is the number of the first prompt."""
    extra = {name: value for name in ("top_k", "min_p") if (value := getattr(settings.sampling, name))}
    if settings.stops:
        # By default vLLM omits special tokens from the text, and could not find a stop text that spells one.
        extra["skip_special_tokens"] = False
    return {
        "model": model,
        "prompt": prompt,
        "max_tokens": settings.max_new_tokens,
        "temperature": settings.sampling.temperature,
        "top_p": settings.sampling.top_p,
        "stop": list(settings.stops) or None,
        "seed": settings.sampling.of(first).seed,
        "extra_body": extra or None,
    }


def connect(url: str, key_file: Path | None, timeout: float = 600) -> "openai.OpenAI":
    """A client with the key of `serve.door.key`. It sends nothing yet.

    Raises:
        ImportError: the openai package is not installed.
        FileNotFoundError, ValueError, PermissionError: as `key.for_client`.
    """
    try:
        import openai
    except ImportError:
        raise ImportError(
            "talking to a server needs the openai package: `uv sync --extra serve`, or `pip install 'llm-jax[serve]'`"
        ) from None
    from serve.door import key

    return openai.OpenAI(base_url=f"{url}/v1", api_key=key.for_client(key_file), timeout=timeout, max_retries=2)


class translated:
    """A context in which the openai package's errors become PermissionError, ConnectionError or ValueError.

    Each message is one line with the server's address and the cure.
    """

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
                f"--max-new-tokens. {self._url} says: {_message(error)}"
            ) from None
        if isinstance(error, openai.APIStatusError):
            raise ValueError(f"{self._url} answers {error.status_code}: {_message(error)}") from None
        if isinstance(error, openai.APIError):
            raise ConnectionError(f"{self._url} ended its answer early: {error.message}") from None


def _message(error: "openai.APIStatusError") -> str:
    """The server's message, without the text that the openai package adds."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return str(message or error.message)
