"""Programs for a GPU: how they are read, and (where JAX has CUDA: `-m cuda`, no GPU needed) what XLA makes of ours."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

PROGRAM = """
%fused_rows (p.0: bf16[100,8], p.1: s32[4]) -> f32[4,8] {
  %p.0 = bf16[100,8]{1,0} parameter(0)
  %p.1 = s32[4]{0} parameter(1)
  %b.2 = bf16[100,8]{1,0} bitcast(%p.0)
  %g.3 = bf16[4,8]{1,0} gather(%b.2, %p.1), offset_dims={1}
  ROOT %c.4 = f32[4,8]{1,0} convert(%g.3)
}

%fused_put (p.5: f32[64,8], p.6: f32[1,8], p.7: s32[]) -> f32[64,8] {
  %p.5 = f32[64,8]{1,0} parameter(0)
  %p.6 = f32[1,8]{1,0} parameter(1)
  %p.7 = s32[] parameter(2)
  ROOT %d.8 = f32[64,8]{1,0} dynamic-update-slice(%p.5, %p.6, %p.7, %p.7)
}

%body (state: (s32[], f32[64,8])) -> (s32[], f32[64,8]) {
  %state = (s32[], f32[64,8]) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %x = f32[64,8]{1,0} get-tuple-element(%state), index=1
  %row = f32[1,8]{1,0} slice(%x), slice={[0:1], [0:8]}
  %put = f32[64,8]{1,0} fusion(%x, %row, %i), kind=kLoop, calls=%fused_put
  ROOT %out = (s32[], f32[64,8]) tuple(%i, %put)
}

ENTRY %main (a: bf16[100,8], ids: s32[4], w: f32[8,16], s: (s32[], f32[64,8])) -> f32[4,16] {
  %a = bf16[100,8]{1,0} parameter(0)
  %ids = s32[4]{0} parameter(1)
  %w = f32[8,16]{1,0} parameter(2)
  %s = (s32[], f32[64,8]) parameter(3)
  %rows = f32[4,8]{1,0} fusion(%a, %ids), kind=kLoop, calls=%fused_rows, metadata={op_name="jit(f)/take"}
  %loop = (s32[], f32[64,8]) while(%s), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  ROOT %dot = f32[4,16]{1,0} dot(%rows, %w), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}
"""


def test_kernels_are_counted_with_the_bytes_they_move_and_the_turns_of_their_loops():
    from hlo import Program

    found = {kernel.name: kernel for kernel in Program(PROGRAM).kernels()}
    assert set(found) == {"rows", "row", "put", "dot"}
    assert found["rows"].bytes == 4 * 8 * 2 + 4 * 4 + 4 * 8 * 4  # four gathered rows, their numbers, the result
    assert found["put"].bytes == 8 * 4 + 4 + 8 * 4  # a row in, its place, the row in its place
    assert (found["put"].times, found["put"].loops) == (5, 1)
    assert (found["dot"].kind, found["dot"].flops, found["dot"].times) == ("product", 2 * 4 * 16 * 8, 1)
    assert found["dot"].bytes == 4 * (4 * 8 + 8 * 16 + 4 * 16)


def compiled_step(config: str, folder: Path) -> str:
    """The text of a model's training step on one GPU."""
    return compiled(
        f"""
import argparse, gpu_compiled
options = argparse.Namespace(batch=64, micro_batches=2, loss_chunks=4)
step, arguments = gpu_compiled.training_step({config}, options)
text, _ = gpu_compiled.compiled(step, arguments, {{}}, gpu_compiled.one("H100"))
""",
        folder,
    )


def compiled(program: str, folder: Path) -> str:
    """`text`, which the program makes in a process of its own, where JAX looks for CUDA."""
    program = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "benchmarks")!r}]
from llm_jax.config import DecoderConfig
{program}
open({str(folder / "step.hlo")!r}, "w").write(text)
"""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    if "cannot compile for CUDA" in done.stderr:
        pytest.skip("JAX without CUDA: `uv sync --extra cuda12`")
    assert done.returncode == 0, done.stderr[-3000:]
    return (folder / "step.hlo").read_text()


@pytest.fixture(scope="module")
def step_for_a_gpu(tmp_path_factory) -> str:
    return compiled_step("DecoderConfig(n_layers=2)", tmp_path_factory.mktemp("gpt2"))


@pytest.mark.cuda
def test_cudnn_takes_a_llama_s_grouped_heads_without_copies_of_the_keys(tmp_path):
    config = (
        'DecoderConfig(n_layers=2, n_kv_heads=4, norm="rms", positions="rotary", gated_mlp=True, activation="silu", '
        'attention_bias="none", mlp_bias=False)'
    )
    calls = [line for line in compiled_step(config, tmp_path).splitlines() if "__cudnn$fmha" in line]
    assert len(calls) == 4  # forward and backward in both layers
    for call in calls:
        assert "bf16[32,12,1024,64]" in call or "bf16[32,1024,12,64]" in call  # queries, or their gradient
        assert "bf16[32,4,1024,64]" in call or "bf16[32,1024,4,64]" in call  # keys


@pytest.mark.cuda
def test_attention_is_cudnns_both_ways_in_every_layer(step_for_a_gpu):
    targets = re.findall(r'custom_call_target="(__cudnn\$fmha\w*)"', step_for_a_gpu)
    assert sorted(targets) == ["__cudnn$fmhaSoftmax"] * 2 + ["__cudnn$fmhaSoftmaxBackward"] * 2


@pytest.mark.cuda
def test_products_add_biases_and_apply_gelu_as_they_write(step_for_a_gpu):
    epilogues = re.findall(r'"epilogue":"(\w+)"', step_for_a_gpu)
    assert epilogues.count("BIAS_GELU_AUX") == 2
    assert epilogues.count("BIAS") == 2 * 5  # queries, keys, values, attention's output, the MLP's


@pytest.mark.cuda
def test_no_float32_logits_are_in_memory(step_for_a_gpu):
    from hlo import Program, arrays

    logits = 32 * 256 * 50304
    sizes = {
        (kind, math.prod(dims))
        for kernel in Program(step_for_a_gpu).kernels()
        for kind, dims in arrays(kernel.shape)
        if 50304 in dims
    }
    assert ("bf16", logits) in sizes
    assert not any(kind == "f32" and size >= logits for kind, size in sizes)


@pytest.mark.cuda
def test_the_stream_is_never_turned_around(step_for_a_gpu):
    """A token's numbers lie side by side in every array as large as the stream that a kernel writes."""
    from hlo import Program

    stream = 32 * 1024 * 768
    for kernel in Program(step_for_a_gpu).kernels():
        for kind, dims, layout in re.findall(r"\b(bf16|f32)\[([\d,]+)\]\{([\d,]+)\}", kernel.shape):
            shape = [int(d) for d in dims.split(",")]
            if math.prod(shape) >= stream and kernel.kind == "pass" and 50304 not in shape:
                innermost = shape[int(layout.split(",")[0])]
                assert innermost in (64, 768, 3 * 768, 4 * 768), (kernel.name, kind, shape, layout)


@pytest.mark.cuda
@pytest.mark.parametrize("mesh", [(8, 1, 1), (1, 8, 1)], ids=["data", "fsdp"])
def test_many_gpus_gather_weights_but_never_the_activations_of_the_others(mesh, tmp_path):
    """An operation that XLA's partitioner does not know would get the rows of all GPUs on each of them."""
    program = f"""
import dataclasses, described
from train.pretrain import presets
model = DecoderConfig(2048, context_length=256, d_model=256, n_heads=4, n_layers=2)
config = dataclasses.replace(presets.gpt2_124m(), model=model, batch_tokens=256 * 64, micro_batch=4)
text = described.step(config, "H100", *{mesh})[0].as_text()
"""
    gathers = re.findall(r"= (.*?) all-gather(?:-start)?\(", compiled(program, tmp_path))
    assert bool(gathers) == (mesh[1] > 1)
    assert not any("[32,256,256]" in shapes for shapes in gathers)  # eight times the 4 rows of one GPU


@pytest.mark.cuda
def test_the_estimate_of_a_steps_memory_is_within_a_tenth_of_what_xla_needs(tmp_path):
    """Of a GPT-2, of one that is computed anew, of a Llama, and of a GPT-2 over eight GPUs."""
    program = """
import json, training_memory
numbers = (0, 1, 14, 7)
runs = [training_memory.SETTINGS[number] for number in numbers]
ratios = [training_memory.compared(training_memory.configured(name, changes, 2), mesh, "H100")["ratio"]
          for name, mesh, changes in runs]
text = json.dumps(ratios)
"""
    ratios = json.loads(compiled(program, tmp_path))
    assert len(ratios) == 4
    assert all(0.9 < ratio < 1.1 for ratio in ratios), ratios
