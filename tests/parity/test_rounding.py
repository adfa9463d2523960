"""The yardstick: float64 disturbed operation by operation errs as float32 really does, and grows as theory says."""

import math

import pytest
import torch
from torch.nn import functional as F

from train.parity.rounding import BFLOAT16, FLOAT32, Float64, Rounding

U = 2.0**-24


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def root_mean_square(x: torch.Tensor) -> float:
    return float(x.double().square().mean().sqrt())


def disturbance(function, *inputs: torch.Tensor, format=FLOAT32) -> float:
    """Root mean square of what the disturbance does to a function's value."""
    with Float64():
        exact = function(*inputs)
    draws = []
    for seed in range(8):
        with Rounding(format, seed):
            draws.append(function(*inputs) - exact)
    return root_mean_square(torch.stack(draws))


@pytest.mark.parametrize("n", [16, 256, 4096])
def test_a_dot_product_errs_like_the_sum_of_its_partial_sums_roundings(n):
    a, b = draw(64, n), draw(n, 64, seed=1)
    # Terms of mean 0: E[total²] = Σ terms² = n, and one rounding of the operands' and the result's format more.
    expected = U * math.sqrt(n / 6 * (n + n) + (2 * n + n) / 3)
    assert disturbance(torch.mm, a, b) == pytest.approx(expected, rel=0.05)


def test_the_error_of_a_plain_sum_is_really_that_large():
    terms = draw(400, 2000)
    running = torch.zeros(400, dtype=torch.float32)
    for column in terms.float().T:  # one term after another: the plainest algorithm
        running += column
    real = root_mean_square(running - terms.float().double().sum(1))
    assert 0.5 < disturbance(lambda x: x.sum(1), terms) / real < 2


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.layer_norm(x, x.shape[-1:]),
        lambda x: torch.softmax(x, -1),
        lambda x: F.gelu(x, approximate="tanh"),
        lambda x: torch.tanh(x) * x + 1,
        lambda x: x @ x.T,
    ],
    ids=["layer norm", "softmax", "GELU", "elementwise", "matrix product"],
)
def test_float32_stays_below_the_yardstick(function):
    x = draw(64, 96).float()
    real = root_mean_square(function(x) - function(x.double()))
    yardstick = disturbance(function, x.double())
    assert 0.02 * yardstick < real < 2 * yardstick


def test_the_disturbance_passes_through_the_backward_pass():
    def gradient(x: torch.Tensor) -> torch.Tensor:
        x = x.clone().requires_grad_()
        return torch.autograd.grad((torch.tanh(x @ x.T) ** 2).sum(), x)[0]

    x = draw(32, 48)
    real = root_mean_square(gradient(x.float()) - gradient(x))
    assert 0.05 < real / disturbance(gradient, x) < 3


def test_what_only_copies_is_left_alone():
    x = draw(8, 8)
    with Rounding(FLOAT32, 0):
        moved = torch.cat([x.T, x.reshape(8, 8)], 1)[:, 3:].transpose(0, 1).contiguous()
        picked = F.embedding(torch.tensor([3, 1]), x)
    assert torch.equal(moved, torch.cat([x.T, x], 1)[:, 3:].T)
    assert torch.equal(picked, x[[3, 1]])


def test_a_masked_score_stays_minus_infinity():
    mask = torch.zeros(4, 4, dtype=torch.float64).masked_fill(torch.ones(4, 4).triu(1).bool(), -math.inf)
    with Rounding(FLOAT32, 0):
        weights = torch.softmax(draw(4, 4) + mask, -1)
    assert torch.equal(weights == 0, mask == -math.inf)
    assert weights.isfinite().all()


def test_bfloat16_rounds_what_it_stores_and_sums_in_float32():
    a, b = draw(64, 1024), draw(1024, 64, seed=1)
    stored = 2.0**-8 * math.sqrt((2 * 1024 + 1024) / 3)
    assert disturbance(torch.mm, a, b, format=BFLOAT16) == pytest.approx(stored, rel=0.05)


def rms_norm(x: torch.Tensor) -> torch.Tensor:
    """As transformers writes Llama's: it casts to float32 whatever the model's format is."""
    wide = x.to(torch.float32)
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


def test_a_cast_to_float32_keeps_float64():
    x = draw(64, 96)
    exact = x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
    assert not torch.allclose(rms_norm(x), exact, rtol=1e-12)
    with Float64():
        assert torch.allclose(rms_norm(x), exact, rtol=1e-12)
        assert torch.softmax(x, -1, dtype=torch.float32).dtype == torch.float64


def test_what_a_model_casts_to_float32_errs_as_float32_in_bfloat16():
    def angles(x: torch.Tensor) -> torch.Tensor:
        return torch.cos(torch.arange(96).float() * x.float())

    x = draw(64, 96)
    for function in (rms_norm, angles, lambda x: torch.softmax(x, -1, dtype=torch.float32)):
        in_float32 = disturbance(function, x)
        assert in_float32 > 0
        assert disturbance(function, x, format=BFLOAT16) == pytest.approx(in_float32, rel=0.1)


def test_a_result_of_both_formats_errs_as_bfloat16():
    x, gain = draw(64, 96), draw(96, seed=1)
    in_bfloat16 = disturbance(lambda x: gain * rms_norm(x), x, format=BFLOAT16)
    assert in_bfloat16 == pytest.approx(2.0**-8 / math.sqrt(3) * root_mean_square(gain * rms_norm(x)), rel=0.1)


def test_the_same_seed_disturbs_in_the_same_way():
    def once() -> torch.Tensor:
        with Rounding(FLOAT32, 7):
            return draw(16, 16) @ draw(16, 16, seed=1)

    assert torch.equal(once(), once())
