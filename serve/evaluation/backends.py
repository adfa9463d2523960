"""Opens the model that the command line names, as a model of the harness.

a run                  our decoder (jax), or transformers on its export (hf)
a Hugging Face folder  the same; also owner/name on the hub
http://…               a server with OpenAI's completions API, ours or vLLM (server)
"""

import json
import logging
import os
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lm_eval.api.model import LM
from lm_eval.api.registry import get_model

from llm_jax.checkpoint import layout
from llm_jax.config import Weights
from llm_jax.runs import CHECKPOINTS, EXPORT, batch_tokens, is_run
from llm_jax.tokenizer import is_there
from serve.door import key
from serve.evaluation.results import Candidate

HF_CURE = "install them: `uv pip install 'lm-eval[hf]'`, or evaluate with --backend jax"
SERVER_TIMEOUT = 300  # seconds for one request

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Access:
    """Settings for opening a model: number format, batch size, tokenizer and key."""

    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    batch_size: int = 8
    tokenizer: str | None = None
    secret: str | None = None  # a server's key
    weights: Weights = "auto"  # of our decoder: their number format


def candidates(
    source: str,
    backend: Literal["jax", "hf"],
    step: int | None,
    every_checkpoint: bool,
    adapter: Path | None = None,
) -> list[Candidate]:
    """One model, or every checkpoint in a run's folder. `adapter` is merged into each that is no server.

    Raises:
        ValueError: `step` is given, and `source` is not a run.
        FileNotFoundError: the run has no such checkpoint.
    """
    if adapter is not None:
        found = candidates(source, backend, step, every_checkpoint)
        return [
            one if one.backend == "server" else replace(one, name=f"{one.name} + {adapter.name}", adapter=str(adapter))
            for one in found
        ]
    if source.startswith(("http://", "https://")):
        url = source.rstrip("/").removesuffix("/v1")
        return [Candidate(url.split("://")[1], url, "server")]
    path = Path(source)
    if not is_run(path):
        if step is not None:
            raise ValueError(f"{source} is not a run, so it has no step {step}")
        return [Candidate(path.name, source, backend)]
    steps = layout.committed_steps(path / CHECKPOINTS) if every_checkpoint else [step]
    chosen = [layout.choose(path / CHECKPOINTS, one)[0] for one in steps]
    per_step = _tokens_per_step(path)
    return [
        Candidate(f"{path.name}@{one}", source, backend, one, one * per_step if per_step else None) for one in chosen
    ]


@contextmanager
def opened(candidate: Candidate, access: Access) -> Iterator[LM]:
    """Yields the opened model. Temporary exports are removed at the end.

    Raises:
        FileNotFoundError, ValueError: the model cannot be loaded.
        ImportError: a package of the backend is not installed.
        ConnectionError: the server does not answer.
    """
    with ExitStack() as stack:
        if candidate.backend == "jax":
            yield _open_jax(candidate, access)
        elif candidate.backend == "hf":
            yield _without_progress_bars(_open_hf(_directory(candidate, stack), access))
        else:
            yield _without_progress_bars(_open_server(candidate, access))


def _open_jax(candidate: Candidate, access: Access) -> LM:
    from llm_jax.config import Execution
    from llm_jax.models import decoder
    from serve.evaluation.jax_lm import JaxLM
    from serve.models import load_model

    # The whole vocabulary, because the other backends keep it and log-likelihoods must be equal.
    step = candidate.step if candidate.is_run else None
    model = load_model(candidate.source, step, True, candidate.adapter, access.weights)
    plan = decoder.make_plan(Execution(dtype=access.dtype))
    return JaxLM(model.params, model.config, model.tokenizer, plan, model.weights)


def _directory(candidate: Candidate, stack: ExitStack) -> str:
    """A Hugging Face directory (or hub name) of the candidate.

    A run, and a model with an adapter, is exported to a temporary folder first.
    """
    if not (candidate.is_run or candidate.adapter):
        return candidate.source
    from llm_jax import hf

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llm-jax-export-")))
    if candidate.adapter:
        from serve.models import load_model

        step = candidate.step if candidate.is_run else None
        model = load_model(candidate.source, step, whole=True, adapter=candidate.adapter)
        return str(hf.export(model.params, model.config, model.tokenizer, folder / EXPORT, model.name).out)
    return str(hf.export_run(Path(candidate.source), folder / EXPORT, candidate.step).out)


def _open_hf(directory: str, access: Access) -> LM:
    try:
        import torch

        make: Any = get_model("hf")
    except ImportError as error:
        raise ImportError(f"--backend hf needs torch, transformers and accelerate ({error}); {HF_CURE}") from None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return make(directory, dtype=access.dtype, device=device, batch_size=access.batch_size)


def _without_progress_bars(model: Any) -> LM:
    """The same model, without progress bars if stderr is not a terminal."""

    def silent(answer: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments, **named: answer(*arguments, **named | {"disable_tqdm": True})

    if not sys.stderr.isatty():
        # The harness passes `disable=False` to tqdm, which overrides TQDM_DISABLE.
        for name in ("loglikelihood", "loglikelihood_rolling", "generate_until", "_loglikelihood_tokens"):
            setattr(model, name, silent(getattr(model, name)))
    return model


def _open_server(candidate: Candidate, access: Access) -> LM:
    make: Any = get_model("local-completions")
    served = ask_models(candidate.source, access.secret)
    tokenizer = access.tokenizer or served.get("root") or ""
    if not access.tokenizer and not (tokenizer and is_there(Path(tokenizer))):
        raise ValueError(
            f"{candidate.source} serves {served['id']!r}, whose tokenizer is not on this machine: "
            "give --tokenizer HF_DIR"
        )
    # Not in the model's arguments, because the harness prints those.
    header = {"Authorization": f"Bearer {access.secret}"} if access.secret else {}
    return make(
        base_url=f"{candidate.source}/v1/completions",
        model=served["id"],
        tokenizer=tokenizer,
        tokenizer_backend="huggingface",
        max_length=served.get("max_model_len") or 1024,
        batch_size=access.batch_size,
        max_retries=2,
        timeout=SERVER_TIMEOUT,
        header=header,
    )


def ask_models(url: str, secret: str | None) -> dict[str, Any]:
    """The first entry of `/v1/models`.

    Raises:
        ConnectionError: no server with OpenAI's interface answers.
    """
    request = urllib.request.Request(
        f"{url}/v1/models", headers={"Authorization": f"Bearer {secret}"} if secret else {}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["data"][0]
    except urllib.error.HTTPError as error:
        hint = "give its key with --key-file or LLM_JAX_API_KEY" if error.code in (401, 403) else "is it the right URL?"
        raise ConnectionError(f"{url}/v1/models answers {error.code} {error.reason}: {hint}") from None
    except (OSError, urllib.error.URLError) as error:
        reason = getattr(error, "reason", error)
        raise ConnectionError(
            f"no server answers at {url} ({reason}): start one with `python -m serve vllm HF_DIR`, or check the port"
        ) from None
    except (ValueError, KeyError, IndexError, TypeError):
        raise ConnectionError(
            f"{url}/v1/models answers, but not as an OpenAI-style server does: check the URL"
        ) from None


def read_key(path: Path | None) -> str | None:
    """The key to send, from the same places as for `serve chat`, or None.

    Raises:
        FileNotFoundError, ValueError, PermissionError: as `key.for_client`.
    """
    exists = path is not None or key.VARIABLE in os.environ or key.default_file().is_file()
    return key.for_client(path) if exists else None


def _tokens_per_step(run: Path) -> int | None:
    try:
        return batch_tokens(run)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # a run without this entry is evaluated too, but the plot has no tokens seen for it
