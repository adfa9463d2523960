"""What rounding does to a computation, measured instead of guessed: float64 with the errors of a smaller format.

Inside `Rounding` every operation PyTorch performs, forward and backward and in the optimizer, is followed by a random
error of the size that float32 (or bfloat16) would have made there. The difference to the undisturbed float64 result is
the yardstick of `train.parity.verdict`. It grows with depth, with the length of the sums and with the conditioning of
the weights, because it has passed through all of them.

The size of each error is that of the plainest algorithm. With u the unit roundoff, one rounding errs by u/√3 of its
result on average. A sum of n terms taken one after another rounds each partial sum s_k: for terms of mean μ and spread
σ, E[s_k²] = k²μ² + kσ², so the variance of the total is at most

    u²/3 · Σ_k (k²μ² + kσ²)  ≤  u²·n/6 · (total² + Σ terms²)

(Higham & Mary 2019 prove the same √n growth as a bound that holds with high probability; Wilkinson's n·u assumes that
all errors conspire.) Libraries sum in blocks and fuse multiply with add, so they stay well below: the yardstick is an
upper estimate for any order of summation, not a fit to one library. In bfloat16 sums are still accumulated in float32,
and statistics of norms, softmax and loss are float32 throughout.

Some models cast to float32 themselves, whatever their format is: Llama does so for norms, softmax and the angles of
rotary positions. A float64 run would lose its digits there, so inside `Float64` such a cast keeps float64. `Rounding`
remembers what was cast: an operation on such numbers alone errs as float32, whatever the format; one that takes another
operand, too, has a result in the format, as PyTorch's promotion gives where the other operand is no float32.

A `TorchDispatchMode` sees all operations, so a new model needs nothing here. Left out: underflow and overflow.
"""

import math
import random
from dataclasses import dataclass

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from train.parity.verdict import UNIT_ROUNDOFF

# Operations that copy, and so do not round.
EXACT = {
    *("arange", "cat", "clone", "copy_", "clamp", "constant_pad_nd", "embedding", "empty_like", "fill_", "gather"),
    *("index", "lift_fresh", "masked_fill", "neg", "ones_like", "new_zeros", "scalar_tensor", "slice_backward"),
    *("select_backward", "stack", "where", "zero_", "zeros", "zeros_like", "_unsafe_view", "_to_copy"),
    *("embedding_renorm_", "scatter", "full", "full_like", "index_put_", "_reshape_copy", "max", "amax"),
}
# Linear in each tensor argument: the same operation on the squares of its arguments is the sum of the squared terms.
SUMS = {"mm", "bmm", "addmm", "baddbmm", "mv", "dot", "sum", "embedding_dense_backward", "convolution"}
# A sum of positive numbers (a variance, a softmax's total) that divides or normalises the rest; always in float32.
STATISTICS = {
    *("native_layer_norm", "native_layer_norm_backward", "_softmax", "_softmax_backward_data", "_log_softmax"),
    *("_log_softmax_backward_data", "nll_loss_forward", "nll_loss_backward", "linalg_vector_norm", "mean", "norm"),
}
MASKING = {"add", "masked_fill", "where"}  # may hold −∞
POOL = 1 << 20  # random numbers
ELEMENTARY = {"tanh", "erf", "exp", "log", "pow", "rsqrt", "sigmoid", "sin", "cos"}
ELEMENTARY_ROUNDINGS = 4  # a library's tanh or exp is good to about two units in the last place
# These subtract numbers of the size of their first argument, so their error has that size and not the result's.
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
    """Context manager for a float64 model: what its code casts to float32 stays float64."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return function(*args, **_kept_wide(function, kwargs or {}))


def _kept_wide(function, kwargs: dict) -> dict:
    return kwargs | {"dtype": torch.float64} if _casts_to_float32(function, kwargs) else kwargs


def _casts_to_float32(function, kwargs: dict) -> bool:
    return function.overloadpacket.__name__ == "_to_copy" and kwargs.get("dtype") is torch.float32


class Rounding(TorchDispatchMode):
    """Context manager: float64 results carry errors of `format`, drawn from `seed`; casts are those of `Float64`."""

    def __init__(self, format: Format, seed: int) -> None:
        super().__init__()
        self._format = format
        self._random = random.Random(seed)
        # As spread as one rounding: evenly. Read from random places, for new numbers would take most of the time.
        pool = torch.rand(POOL, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self._pool = (pool - 0.5) * math.sqrt(12)  # variance 1; on the device that was asked last
        self._float32 = WeakIdKeyDictionary()  # the tensors that the model computes in float32 in every format

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given, kwargs = kwargs or {}, _kept_wide(function, kwargs or {})
        name = function.overloadpacket.__name__
        is_float32 = _casts_to_float32(function, given) or self._are_float32(args)
        rounds = not function.is_view and name not in EXACT
        # Before the call: an operation in place overwrites its argument.
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
        """Whether all tensors among an operation's arguments are numbers that were cast to float32."""
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
            # The operands, too, were rounded to the format on their way in.
            variance = accumulate**2 * _terms(name, args, out) / 6 * (squares + out.square())
            return variance.add_(store**2 / 3 * (2 * squares + out.square())).sqrt_()
        if name in STATISTICS:
            # n²/9 of a sum of equals is its whole square: a relative error of √n·u/3, shared by the row.
            shared = 1.0 if name == "_log_softmax" else out.square() + out.square().mean(-1, keepdim=out.ndim > 0)
            deviation = (_terms(name, args, out) / 9 * shared + ELEMENTARY_ROUNDINGS * out.square()).sqrt()
            # What a mask has put out of a softmax, and its gradient, is zero exactly.
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
