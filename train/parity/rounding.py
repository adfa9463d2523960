"""Simulates the rounding errors of a smaller format in a float64 run, to measure how much rounding explains.

Inside `Rounding`, every operation of PyTorch (forward, backward and in the optimizer) is followed by a random error of
the size that float32 or bfloat16 would have made there. The difference to the exact float64 result is the yardstick of
`train.parity.verdict`. It grows with depth, with the length of the sums and with the conditioning of the weights,
because the errors pass through all of them.

The size of each error is that of the simplest algorithm. With u the unit roundoff, one rounding has an error of u/√3
of its result (root mean square). A sum that adds n terms one after another rounds each partial sum s_k. For terms of
mean μ and standard deviation σ, E[s_k²] = k²μ² + kσ², so the variance of the total's error is at most

    u²/3 · Σ_k (k²μ² + kσ²)  ≤  u²·n/6 · (total² + Σ terms²)

Higham & Mary 2019 prove the same √n growth as a bound that holds with high probability; Wilkinson's bound n·u assumes
that all errors have the same sign. Libraries sum in blocks and fuse multiplications with additions, so their errors are
well below: the yardstick is an upper estimate for any order of summation. In bfloat16, sums are accumulated in float32,
and the statistics of norms, softmax and loss are computed in float32.

Some models cast to float32 whatever their format is: Llama does so for norms, softmax and the angles of rotary
positions. A float64 run would lose digits there, so inside `Float64` such a cast keeps float64. `Rounding` remembers
which tensors were cast. An operation on cast tensors alone gets float32's errors. An operation that also takes another
tensor gets the format's errors, because PyTorch's type promotion gives the result that format.

A `TorchDispatchMode` intercepts all operations, so a new model needs no change here. Left out: underflow and overflow.
"""

import math
import random
from dataclasses import dataclass

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from train.parity.verdict import UNIT_ROUNDOFF

# Operations that copy numbers and therefore do not round.
EXACT = {
    *("arange", "cat", "clone", "copy_", "clamp", "constant_pad_nd", "embedding", "empty_like", "fill_", "gather"),
    *("index", "lift_fresh", "masked_fill", "neg", "ones_like", "new_zeros", "scalar_tensor", "slice_backward"),
    *("select_backward", "stack", "where", "zero_", "zeros", "zeros_like", "_unsafe_view", "_to_copy"),
    *("embedding_renorm_", "scatter", "full", "full_like", "index_put_", "_reshape_copy", "max", "amax"),
}
# Sums of products. Applied to the squares of its arguments, such an operation gives the sum of the squared terms.
SUMS = {"mm", "bmm", "addmm", "baddbmm", "mv", "dot", "sum", "embedding_dense_backward", "convolution"}
# Operations that divide by a sum of positive numbers (a variance, the total of a softmax), always taken in float32.
STATISTICS = {
    *("native_layer_norm", "native_layer_norm_backward", "_softmax", "_softmax_backward_data", "_log_softmax"),
    *("_log_softmax_backward_data", "nll_loss_forward", "nll_loss_backward", "linalg_vector_norm", "mean", "norm"),
}
MASKING = {"add", "masked_fill", "where"}  # whose results may hold −∞
POOL = 1 << 20  # random numbers that are drawn once and reused
ELEMENTARY = {"tanh", "erf", "exp", "log", "pow", "rsqrt", "sigmoid", "sin", "cos"}
ELEMENTARY_ROUNDINGS = 4  # a library's tanh or exp is accurate to about two units in the last place
# These subtract numbers of the size of their first argument, so their error is relative to it and not to the result.
CANCELLING = {"gelu", "gelu_backward", "silu", "silu_backward", "tanh_backward", "sigmoid_backward"}


@dataclass(frozen=True)
class Format:
    """Unit roundoffs of a number format: of a stored result, and of the partial sums on the way to it."""

    name: str
    store: float
    accumulate: float


FLOAT32 = Format("float32", UNIT_ROUNDOFF["float32"], UNIT_ROUNDOFF["float32"])
BFLOAT16 = Format("bfloat16", UNIT_ROUNDOFF["bfloat16"], UNIT_ROUNDOFF["float32"])
FORMATS = {format.name: format for format in (FLOAT32, BFLOAT16)}


class Float64(TorchDispatchMode):
    """Context manager for a float64 model: casts to float32 in the model's code keep float64."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return function(*args, **_kept_wide(function, kwargs or {}))


def _kept_wide(function, kwargs: dict) -> dict:
    return kwargs | {"dtype": torch.float64} if _casts_to_float32(function, kwargs) else kwargs


def _casts_to_float32(function, kwargs: dict) -> bool:
    return function.overloadpacket.__name__ == "_to_copy" and kwargs.get("dtype") is torch.float32


class Rounding(TorchDispatchMode):
    """Context manager: float64 results get random errors of `format`'s size. Casts are handled as in `Float64`."""

    def __init__(self, format: Format, seed: int) -> None:
        super().__init__()
        self._format = format
        self._random = random.Random(seed)
        # Uniform, as the error of one rounding is. Random slices of the pool are reused, because drawing is slow.
        pool = torch.rand(POOL, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self._pool = (pool - 0.5) * math.sqrt(12)  # variance 1; on the device of the last call
        self._float32 = WeakIdKeyDictionary()  # tensors that the model computes in float32 whatever the format is

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given, kwargs = kwargs or {}, _kept_wide(function, kwargs or {})
        name = function.overloadpacket.__name__
        is_float32 = _casts_to_float32(function, given) or self._are_float32(args)
        rounds = not function.is_view and name not in EXACT
        # Before the call, because an in-place operation overwrites its argument.
        squares = function(*map(_squared, args), **kwargs) if name in SUMS else None
        result = function(*args, **kwargs)
        for out in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(out, torch.Tensor) and out.dtype == torch.float64 and out.numel():
                if is_float32:
                    self._float32[out] = True
                if rounds:
                    deviation = self._deviation(name, args, out, squares, FLOAT32 if is_float32 else self._format)
                    error = deviation.mul_(self._noise(out.numel(), out.device).view(out.shape))
                    if name in MASKING:  # −∞ stays −∞
                        error.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
                    out.add_(error)
        return result

    def _are_float32(self, args: tuple) -> bool:
        """Whether all floating-point tensors among an operation's arguments were cast to float32."""
        flat = [x for arg in args for x in (arg if isinstance(arg, (tuple, list)) else (arg,))]
        numbers = [x for x in flat if isinstance(x, torch.Tensor) and x.is_floating_point()]
        return bool(numbers) and all(x in self._float32 or x.dtype == torch.float32 for x in numbers)

    def _noise(self, n: int, device: torch.device) -> torch.Tensor:
        """`n` random numbers of variance 1."""
        if n > POOL:
            return torch.cat([self._noise(min(POOL, n - start), device) for start in range(0, n, POOL)])
        self._pool = self._pool.to(device)
        first = self._random.randrange(POOL - n + 1)
        return self._pool[first : first + n]

    def _deviation(
        self, name: str, args: tuple, out: torch.Tensor, squares: torch.Tensor | None, format: Format
    ) -> torch.Tensor:
        """Standard deviation of the error of each element of `out`."""
        store, accumulate = format.store, format.accumulate
        if squares is not None:
            # The operands were rounded to the format too.
            variance = accumulate**2 * _terms(name, args, out) / 6 * (squares + out.square())
            return variance.add_(store**2 / 3 * (2 * squares + out.square())).sqrt_()
        if name in STATISTICS:
            # For n equal positive terms the bound above gives a relative error of √n·u/3; a whole row shares it.
            shared = 1.0 if name == "_log_softmax" else out.square() + out.square().mean(-1, keepdim=out.ndim > 0)
            deviation = (_terms(name, args, out) / 9 * shared + ELEMENTARY_ROUNDINGS * out.square()).sqrt()
            # Softmax of a masked entry, and its gradient, are exactly zero.
            return accumulate * (deviation * (out != 0) if name.startswith("_softmax") else deviation)
        roundings = ELEMENTARY_ROUNDINGS if name in ELEMENTARY | CANCELLING else 1
        size = args[0] if name in CANCELLING else out
        return store * math.sqrt(roundings / 3) * size.abs()


def _terms(name: str, args: tuple, out: torch.Tensor) -> float:
    """The number of terms in each of the operation's sums."""
    if name in ("mm", "bmm", "addmm", "baddbmm", "mv", "dot"):
        return args[-2].shape[-1]
    if name == "embedding_dense_backward":
        return args[1].numel()
    source = next(arg for arg in args if isinstance(arg, torch.Tensor))
    reduced = source.numel() / max(1, out.numel())
    return max(reduced, source.shape[-1]) if name in STATISTICS and source.ndim else reduced


def _squared(argument):
    is_number = isinstance(argument, torch.Tensor) and argument.is_floating_point()
    return argument.square() if is_number else argument
