"""A row packed of several texts is computed as if each text stood alone, by every way to compute attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import opinionated

from llm_jax.config import DecoderConfig, Execution, llama
from llm_jax.kernels.attention_in_pieces import attend_in_pieces
from llm_jax.kernels.cudnn_attention import attend_by_cudnn
from llm_jax.layers.attention import causal_attend
from llm_jax.layers.loss import token_losses
from llm_jax.models import decoder

SIZES = {"vocab_size": 50, "context_length": 160, "d_model": 16, "n_heads": 2, "n_layers": 2}
MODELS = {
    "learned positions": DecoderConfig(**SIZES),
    "rotary positions": llama(**SIZES, n_kv_heads=1, mlp_width=24),
}
LENGTHS = (60, 1, 40, 49)  # and ten tokens of padding
TOKENS = np.random.default_rng(0).integers(0, 50, (1, 161))
SEGMENTS = np.repeat(np.arange(5), (*LENGTHS, 10))[None]


@pytest.mark.parametrize("attend", [causal_attend, attend_in_pieces, attend_by_cudnn])
@pytest.mark.parametrize("name", MODELS)
def test_the_loss_of_a_packed_row_is_the_sum_of_its_parts_and_so_is_its_gradient(name, attend):
    config, plan = MODELS[name], decoder.make_plan(Execution(dtype="float32"))
    plan = plan._replace(kernels=plan.kernels._replace(causal_attend=attend))
    params = opinionated(config, 3.0)

    def loss(params, tokens, segments=None):
        hidden, _ = decoder.forward(params, tokens[:, :-1], config, plan, segments_BT=segments)
        return token_losses(hidden, params.head_VD, tokens[:, 1:], config.vocab_size)

    def packed(params):
        return loss(params, jnp.asarray(TOKENS), jnp.asarray(SEGMENTS))[0, :150].sum()

    def apart(params):
        starts = np.cumsum((0, *LENGTHS))
        parts = [TOKENS[:, start : start + n + 1] for start, n in zip(starts, LENGTHS, strict=False)]
        return sum(loss(params, jnp.asarray(part)).sum() for part in parts)

    (found, gradients), (expected, expected_gradients) = (jax.value_and_grad(f)(params) for f in (packed, apart))
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4), gradients, expected_gradients)
    assert abs(float(loss(params, jnp.asarray(TOKENS))[0, :150].sum()) - float(expected)) > 1e-3, (
        "naive packing differs"
    )
