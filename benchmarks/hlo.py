"""Reads a program that XLA has compiled for a GPU: which kernels run, how often, what each moves and multiplies.

A kernel's bytes are those of its operands and results, each once. An operand of which only slices or gathered rows are
read counts with those, a result that is written in place with the part that is written. Left out: what caches save or
lose, and kernels so small that starting them takes longer than their work.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

SIZES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
ARRAY = re.compile(rf"\b({'|'.join(SIZES)})\[([\d,]*)\]")
COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*?) ([\w\-]+)\((.*)$")
NO_WORK = {"parameter", "tuple", "get-tuple-element", "constant", "bitcast", "after-all", "iota", "partition-id"}
SLICES = {"slice", "dynamic-slice", "gather"}


@dataclass(frozen=True)
class Instruction:
    name: str
    shape: str
    operation: str
    rest: str  # operands and attributes
    is_root: bool

    @property
    def operands(self) -> list[str]:
        return re.findall(r"%([\w.\-]+)", self.rest.split("), ")[0])

    def called(self, attribute: str) -> str | None:
        found = re.search(rf"\b{attribute}=%?([\w.\-]+)", self.rest)
        return found and found[1]

    @property
    def bytes(self) -> int:
        return sum(math.prod(dims) * SIZES[kind] for kind, dims in arrays(self.shape))


@dataclass(frozen=True)
class Kernel:
    name: str
    kind: str  # "product", "attention", "copy" or "pass": everything else, which reads and writes
    loops: int  # how many loops it stands in
    times: int
    bytes: int  # each time
    flops: int  # each time, of products
    shape: str
    source: str = field(repr=False)  # where in the Python program it comes from


def arrays(shape: str) -> list[tuple[str, list[int]]]:
    """Formats and dimensions in a shape.

    >>> arrays("(f32[2,3]{1,0}, s32[])")
    [('f32', [2, 3]), ('s32', [])]
    """
    return [(kind, [int(d) for d in dims.split(",") if d]) for kind, dims in ARRAY.findall(shape)]


class Program:
    """A compiled program's text, taken apart."""

    def __init__(self, text: str):
        self.computations: dict[str, list[Instruction]] = {}
        here: list[Instruction] = []
        for line in text.splitlines():
            if found := COMPUTATION.match(line):
                here = self.computations.setdefault(found[2], [])
                self.entry = found[2] if found[1] else getattr(self, "entry", found[2])
            elif found := INSTRUCTION.match(line):
                here.append(Instruction(found[2], found[3], found[4], found[5], bool(found[1])))

    def kernels(self, computation: str | None = None, times: int = 1, loops: int = 0) -> Iterator[Kernel]:
        """All that run, those in loops with the number of turns that XLA knows (1 where it knows none)."""
        instructions = self.computations[computation or self.entry]
        bytes_of = {instruction.name: instruction.bytes for instruction in instructions}
        for one in instructions:
            if one.operation == "while":
                turns = re.search(r'known_trip_count":\{"n":"(\d+)"', one.rest)
                yield from self.kernels(one.called("body"), times * int(turns[1] if turns else 1), loops + 1)
            elif one.operation == "call":
                yield from self.kernels(one.called("to_apply"), times, loops)
            elif one.operation not in NO_WORK and not one.operation.endswith("-done"):
                source = re.search(r'op_name="([^"]*)"', one.rest)
                kind, flops = self._kind(one), self._flops(one, instructions)
                moved = self._bytes(one, bytes_of)
                yield Kernel(one.name, kind, loops, times, moved, flops, one.shape, source[1] if source else "")

    def _inner(self, one: Instruction) -> list[Instruction]:
        name = one.called("calls")
        return self.computations.get(name, []) if name else []

    def _kind(self, one: Instruction) -> str:
        if "fmha" in one.rest:
            return "attention"
        if any(_is_product(inner) for inner in (one, *self._inner(one))):
            return "product"
        return "copy" if one.operation.startswith("copy") else "pass"

    def _flops(self, one: Instruction, around: list[Instruction]) -> int:
        if "fmha" in one.rest:
            return _attention_flops(one)
        inner = self._inner(one)
        return sum(_product_flops(p, inner) for p in inner if _is_product(p)) or (
            _product_flops(one, around) if _is_product(one) else 0
        )

    def _bytes(self, one: Instruction, bytes_of: dict[str, int]) -> int:
        if one.operation == "dynamic-update-slice":
            return 2 * bytes_of[one.operands[1]]
        if one.operation in SLICES:
            return 2 * one.bytes
        read = [bytes_of.get(name, 0) for name in one.operands]
        written = one.bytes
        if inner := self._inner(one):
            written = _written(inner, written)
            parameters = [i for i in inner if i.operation == "parameter"]
            for parameter in parameters:
                number = int(re.match(r"\d+", parameter.rest)[0])  # type: ignore[index]
                if number < len(read):
                    read[number] = min(read[number], _read(parameter, inner))
        return sum(read) + written


def _attention_flops(one: Instruction) -> int:
    """Of causal attention, half of the scores: two products forwards, five backwards (one makes the scores again)."""
    (_, (*_, length, width)), *_ = arrays(one.shape)
    rows = math.prod(arrays(one.shape)[0][1]) // (length * width)
    return rows * length**2 * width * (5 if "Backward" in one.rest else 2)


def _is_product(one: Instruction) -> bool:
    return one.operation == "dot" or (one.operation == "custom-call" and "__cublas" in one.rest)


def _product_flops(one: Instruction, around: list[Instruction]) -> int:
    """2·M·N·K: the result's numbers, times the length that is summed over."""
    (_, result), *_ = arrays(one.shape)
    left = next(i for i in around if i.name == one.operands[0])
    (_, dims), *_ = arrays(left.shape)
    if one.operation == "dot":
        found = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", one.rest)
        summed = [int(d) for d in found[1].split(",")] if found else []
    else:
        config = json.loads(re.search(r"backend_config=(\{.*\})", one.rest)[1])  # type: ignore[index]
        numbers = config["gemm_backend_config"]["dot_dimension_numbers"]
        summed = [int(d) for d in numbers["lhs_contracting_dimensions"]]
    return 2 * math.prod(result) * math.prod(dims[d] for d in summed)


def _read(parameter: Instruction, inner: list[Instruction]) -> int:
    """Bytes of an operand that a fusion reads: of slices and gathered rows only those, else all."""
    width = SIZES[arrays(parameter.shape)[0][0]] if arrays(parameter.shape) else 0
    users: dict[str, list[Instruction]] = {}
    for one in inner:
        for operand in set(one.operands):
            users.setdefault(operand, []).append(one)
    total, waiting, seen = 0, [parameter], set()
    while waiting:
        here = waiting.pop()
        if here.is_root or here.operation in ("reduce", "dot", "custom-call"):
            return parameter.bytes
        for user in users.get(here.name, []):
            if user.operation in SLICES and user.operands[0] == here.name:
                total += sum(math.prod(dims) for _, dims in arrays(user.shape)) * width
            elif user.operation == "dynamic-update-slice" and user.operands[0] == here.name:
                continue  # written in place
            elif user.name not in seen:
                seen.add(user.name)
                waiting.append(user)
    return total


def _written(inner: list[Instruction], whole: int) -> int:
    """Bytes of results: of those updated in place the part that is new."""
    by_name = {one.name: one for one in inner}
    for one in inner:
        if one.operation == "dynamic-update-slice":
            update = by_name.get(one.operands[1])
            whole -= one.bytes - (update.bytes if update else 0)
    return max(whole, 0)
