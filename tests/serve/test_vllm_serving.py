"""`serve vllm` prints an example that the served model can answer."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from small_models import opinionated

from llm_jax import hf
from llm_jax.config import DecoderConfig
from llm_jax.tokenizer import CharacterTokenizer
from serve.door.listening import Door
from serve.vllm import environment as vllm_environment
from serve.vllm.config import VllmConfig
from serve.vllm.environment import Environment
from serve.vllm.serving import server_of


@pytest.mark.parametrize(("max_model_len", "most"), [(None, 16), (4, 4)])
def test_the_printed_example_fits_the_served_directory(tmp_path, monkeypatch, capsys, max_model_len, most):
    monkeypatch.setenv("LLM_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(vllm_environment, "find_for", lambda *_: Environment(Path("python"), "0", on_cpu=True))
    tokenizer = CharacterTokenizer(["x", "y", "z"])
    config = DecoderConfig(tokenizer.vocab_size, context_length=16, d_model=32, n_heads=1, n_layers=1)
    hf.export(opinionated(config, 1), config, tokenizer, tmp_path / "tiny", "card")
    server = server_of(VllmConfig(tmp_path / "tiny", door=Door(port=0, max_model_len=max_model_len)))
    prompt, n_tokens = server._request()
    assert set(prompt) <= set("xyz")
    assert 1 < len(tokenizer.encode(prompt)) + n_tokens <= most
    monkeypatch.setattr(server, "running", lambda *_: nullcontext())
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(RuntimeError, match="vLLM has ended"):  # there is none
        server.run("key", "$KEY", 1, 1)
    printed = capsys.readouterr().out
    assert f'"prompt": "{prompt}", "max_tokens": {n_tokens}' in printed
    assert f'prompt="{prompt}", max_tokens={n_tokens}' in printed
