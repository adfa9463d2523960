"""A compact Llama in PyTorch, as one would write it for speed: the opponent of `train_step.py`, and nothing else.

Scaled-dot-product attention with grouped heads, one product for q, k and v and one for gate and up.
"""

import torch
from pytorch_gpt import initialise
from torch import Tensor, nn
from torch.nn import functional

from llm_jax.config import DecoderConfig


class Block(nn.Module):
    def __init__(self, config: DecoderConfig):
        super().__init__()
        width, self.head = config.d_model, config.d_head
        self.sizes = [config.n_heads * self.head, config.kv_heads * self.head, config.kv_heads * self.head]
        self.norm_1, self.norm_2 = (nn.RMSNorm(width, eps=config.norm_epsilon) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, sum(self.sizes), bias=False), nn.Linear(self.sizes[0], width, bias=False)
        self.gate_up = nn.Linear(width, 2 * config.d_hidden, bias=False)
        self.down = nn.Linear(config.d_hidden, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, _ = x.shape
        parts = self.qkv(self.norm_1(x)).split(self.sizes, dim=-1)
        q, k, v = (part.view(batch, length, -1, self.head).transpose(1, 2) for part in parts)
        mixed = functional.scaled_dot_product_attention(
            rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True, enable_gqa=self.sizes[0] != self.sizes[1]
        )
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, -1))
        gate, up = self.gate_up(self.norm_2(x)).chunk(2, dim=-1)
        return x + self.down(functional.silu(gate) * up)


class CompactLlama(nn.Module):
    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.tokens = nn.Embedding(config.padded_vocab_size, config.d_model)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.n_layers)])
        self.norm = nn.RMSNorm(config.d_model, eps=config.norm_epsilon)
        self.head = nn.Linear(config.d_model, config.padded_vocab_size, bias=False)
        if config.tied_head:
            self.head.weight = self.tokens.weight
        self.apply(initialise)
        frequencies = config.rotary_theta ** -(torch.arange(0, config.d_head, 2) / config.d_head)
        angles = torch.arange(config.context_length)[:, None] * frequencies
        self.cos, self.sin = nn.Buffer(angles.cos()), nn.Buffer(angles.sin())

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        x, length = self.tokens(tokens), tokens.shape[1]
        for block in self.blocks:
            x = block(x, self.cos[:length], self.sin[:length])
        logits = self.head(self.norm(x))
        return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)
