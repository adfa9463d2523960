"""One training step of GPT-2 or Llama, ready to be timed: ours, Hugging Face's model, and a compact one in PyTorch.

All get the same shapes, number format and tokens, AdamW with clipping at 1, and accumulate the same micro-batches.
PyTorch is imported only by the sides that need it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from llm_jax import backend
from llm_jax.config import DecoderConfig, Execution
from llm_jax.models import decoder
from train.optim.config import OptimizerConfig
from train.optim.optimizer import make_optimizer
from train.pretrain.step import init_state, make_train_step

LEARNING_RATE = 1e-4
NO_TOKENS = {"use_cache": False, "bos_token_id": 0, "eos_token_id": 0}
# transformers' name of a setting → ours, and what is set to a value.
GPT2_NAMES = {
    "vocab_size": "padded_vocab_size",
    "n_positions": "context_length",
    "n_embd": "d_model",
    "n_layer": "n_layers",
    "n_head": "n_heads",
}
GPT2_FIXED = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0} | NO_TOKENS
LLAMA_NAMES = {
    "vocab_size": "padded_vocab_size",
    "max_position_embeddings": "context_length",
    "hidden_size": "d_model",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "num_key_value_heads": "kv_heads",
    "head_dim": "d_head",
    "intermediate_size": "d_hidden",
    "rms_norm_eps": "norm_epsilon",
    "tie_word_embeddings": "tied_head",
}
LLAMA_FIXED = {"attention_bias": False, "mlp_bias": False} | NO_TOKENS


@dataclass(frozen=True)
class Work:
    """What a step computes."""

    model: DecoderConfig
    batch: int  # sequences, all micro-batches together
    length: int  # tokens in a sequence
    micro_batches: int = 1
    loss_chunks: int = 1

    @property
    def tokens(self) -> int:
        return self.batch * self.length

    def draw(self) -> np.ndarray:
        """Tokens and, shifted by one, their targets: (B, T+1)."""
        generator = np.random.default_rng(0)
        return generator.integers(0, self.model.vocab_size, (self.batch, self.length + 1), dtype=np.int32)

    def flops(self, convention: Any) -> float:
        """FLOPs of a step at this length (a model's own count is at full context)."""
        full = self.model.flops_per_token(convention)
        heads = self.model.n_heads * self.model.d_head
        per_position = (12 if convention == "nanogpt" else 6) * self.model.n_layers * heads
        return self.tokens * (full - per_position * (self.model.context_length - self.length))


@dataclass
class Side:
    step: Callable[[], float]  # takes one step, returns its loss
    compile_seconds: float
    first_loss: float
    peak_bytes: int | None  # as the compiler plans it (ours) or the device counted it (PyTorch on a GPU)


def ours(work: Work, optimizer_name: Any = "adamw") -> Side:
    config = OptimizerConfig(optimizer=optimizer_name)
    optimizer = make_optimizer(config, decoder.dimension_letters(work.model))
    plan = decoder.make_plan(Execution(loss_chunks=work.loss_chunks))
    step = jax.jit(
        make_train_step(work.model, plan, optimizer, work.micro_batches),
        donate_argnums=0,
        compiler_options=backend.step_options(plan.platform),
    )
    state = jax.jit(lambda key: init_state(key, work.model, optimizer))(jax.random.key(0))
    tokens, lr = jax.device_put(work.draw()), np.float32(LEARNING_RATE)
    begun = time.perf_counter()
    compiled = step.lower(state, tokens, lr).compile()
    seconds = time.perf_counter() - begun
    memory: Any = compiled.memory_analysis()
    total = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes

    def take() -> float:
        nonlocal state
        state, measured = compiled(state, tokens, lr)
        jax.block_until_ready(state)
        return float(measured.loss)

    return Side(take, seconds, take(), total - memory.alias_size_in_bytes)


def hugging_face(work: Work, compiled: bool = False) -> Side:
    import transformers
    from torch.nn import functional

    network: Any
    if work.model.positions == "learned":
        network = transformers.GPT2LMHeadModel(transformers.GPT2Config(**_settings(work.model, GPT2_NAMES, GPT2_FIXED)))
    else:
        config = transformers.LlamaConfig(**_settings(work.model, LLAMA_NAMES, LLAMA_FIXED))
        network = transformers.LlamaForCausalLM(config)

    def loss_of(tokens, targets):
        logits = network(tokens).logits
        return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())

    return _pytorch(work, network, loss_of, compiled)


def _settings(model: DecoderConfig, names: Mapping[str, str], fixed: Mapping[str, Any]) -> dict[str, Any]:
    return {theirs: getattr(model, ours) for theirs, ours in names.items()} | dict(fixed)


def compact_pytorch(work: Work, compiled: bool = False) -> Side:
    if work.model.positions == "learned":
        from pytorch_gpt import CompactGPT as Compact
    else:
        from pytorch_llama import CompactLlama as Compact

    network = Compact(work.model)
    return _pytorch(work, network, network, compiled)


def _pytorch(work: Work, network: Any, loss_of: Any, compiled: bool) -> Side:
    import torch
    from pytorch_gpt import device, in_groups

    where = device()
    on_gpu = where.type == "cuda"
    network.to(where).train()
    constants = OptimizerConfig()
    optimizer = torch.optim.AdamW(
        in_groups(network, constants.weight_decay),
        lr=LEARNING_RATE,
        betas=(constants.beta_1, constants.beta_2),
        eps=constants.adam_epsilon,
        fused=True,
    )
    if compiled:
        loss_of = torch.compile(loss_of)
    tokens = torch.from_numpy(work.draw().astype(np.int64)).to(where)
    rows = tokens.view(work.micro_batches, -1, work.length + 1)

    def take() -> float:
        total = torch.zeros((), device=where)
        for micro_batch in rows:
            with torch.autocast("cuda", torch.bfloat16, enabled=on_gpu):
                loss = loss_of(micro_batch[:, :-1], micro_batch[:, 1:]) / work.micro_batches
            loss.backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(network.parameters(), constants.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(total)

    begun = time.perf_counter()
    first_loss = take()
    seconds = time.perf_counter() - begun
    return Side(take, seconds if compiled else 0.0, first_loss, torch.cuda.max_memory_allocated() if on_gpu else None)
