"""What a fine-tuning has changed: greedy answers to all held-out prompts, and perplexity on another text.

    python benchmarks/finetuned.py --base /path/to/smollm2-135m-instruct --run runs/identity --contains Nova
    python benchmarks/finetuned.py --base … --run … --text wikitext-2.test.txt --windows 32

Perplexity is exp(mean loss per token) over the first windows of 512 tokens, each read without what stands before it.
"""

import argparse
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

WINDOW = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--run", required=True, type=Path)
    parser.add_argument("--contains", nargs="*", default=[], help="words that are counted in the answers")
    parser.add_argument("--tokens", type=int, default=32, help="of an answer")
    parser.add_argument("--prompts", type=int, default=20, help="held-out prompts that are answered, at most")
    parser.add_argument("--shown", type=int, default=5, help="answers that are printed")
    parser.add_argument("--text", type=Path, help="a text for the perplexity")
    parser.add_argument("--windows", type=int, default=32)
    options = parser.parse_args()
    from llm_jax import hf

    for name, source in (("before", options.base), ("after", options.run)):
        model = hf.open_model(source)
        print(f"── {name}: {source}")
        answers = answer(model, options)
        for word in options.contains:
            print(f"{word!r} is in {sum(word in text for text in answers)} of {len(answers)} answers")
        if options.text:
            print(f"perplexity of {options.text.name}: {perplexity(model, options):.3f}", flush=True)


def answer(model: Any, options: argparse.Namespace) -> list[str]:
    """Greedy answers to the run's held-out prompts."""
    from llm_jax.config import Execution
    from llm_jax.decode.loop import generate, prepare
    from llm_jax.decode.options import Sampling
    from llm_jax.models import decoder
    from train.finetune.data.prepared import open_prepared
    from train.finetune.inputs import DATA, prompt_of

    data, plan = open_prepared(options.run / DATA), decoder.make_plan(Execution())
    prompts = [prompt_of(data, "val", number) for number in range(min(options.prompts, data.count("val")))]
    stops, params = model.tokenizer.borders.stops, prepare(model.params, plan)
    found = generate(params, prompts, model.config, plan, Sampling(temperature=0.0), options.tokens, stops)
    texts = [model.tokenizer.decode(ids).strip() for ids in found]
    for prompt, text in list(zip(prompts, texts, strict=True))[: options.shown]:
        print(f"  {' '.join(model.tokenizer.decode(prompt).split())[-60:]!r} → {' '.join(text.split())!r}")
    return texts


def perplexity(model: Any, options: argparse.Namespace) -> float:
    from llm_jax.config import Execution
    from llm_jax.models import decoder
    from llm_jax.scoring.likelihood import scorer

    ids = model.tokenizer.encode_array(options.text.read_text()[: options.windows * WINDOW * 8])
    windows = ids[: options.windows * WINDOW].reshape(-1, WINDOW).astype(np.int32)
    call = scorer(model.params, model.config, decoder.make_plan(Execution()))
    total = [np.asarray(call(windows[i : i + 4]).log_probability_BT) for i in range(0, len(windows), 4)]
    return math.exp(-float(np.concatenate(total).mean(dtype=np.float64)))


if __name__ == "__main__":
    main()
