"""What a run leaves beside its figures: losses, pictures, the page of mistakes, and the embedded model."""

import json
from pathlib import Path
from typing import Any

from llm_jax.files import write
from llm_jax.hf import llava
from llm_jax.runs import LOSS_PLOT, METRICS, VISION_MODEL
from llm_jax.tokenizer.derived import with_template
from train.vision import drawing, page
from train.vision.data.words import ASKS, IMAGE

TEMPLATE = f"""\
{{%- for message in messages -%}}
{{%- if message['role'] == 'assistant' -%}}{{{{ {ASKS!r} + ' ' }}}}{{%- endif -%}}
{{%- if message['content'] is string -%}}{{{{ message['content'] | trim }}}}
{{%- else -%}}
{{%- for part in message['content'] -%}}
{{%- if part['type'] == 'image' -%}}{{{{ {IMAGE!r} }}}}
{{%- elif part['type'] == 'text' -%}}{{{{ part['text'] | trim }}}}{{%- endif -%}}
{{%- endfor -%}}
{{%- endif -%}}
{{%- if message['role'] == 'assistant' -%}}{{{{ eos_token }}}}{{%- endif -%}}
{{%- endfor -%}}
{{%- if add_generation_prompt -%}}{{{{ {ASKS!r} }}}}{{%- endif -%}}
"""
Record = dict[str, Any]


def write_all(folder: Path, record: Record, kept: dict[str, Any]) -> list[str]:
    """Writes the files and returns their names. The losses go to the metrics and leave the record."""
    drawing.losses(folder / LOSS_PLOT, record)
    write(folder / METRICS, "".join(json.dumps(line) + "\n" for line in _lines(record)))
    left = [LOSS_PLOT, METRICS]
    if not kept:
        return left
    test = next(iter(next(iter(kept.values())).way.task.world.tests.values()))
    page.write(folder / "mistakes.html", page.mistakes(kept, test))
    left.append("mistakes.html")
    if "early" in kept:
        one = kept["early"]
        record["ways"]["early"] |= drawing.drawn(folder / "drawings.png", one.way, one.params, test, record["seed"])
        left.append("drawings.png")
    if "embedded" in kept:
        one = kept["embedded"]
        drawing.attention(folder / "attention.png", one.way, one.params, test)
        tokenizer = with_template(one.way.task.words.tokenizer, TEMPLATE)
        llava.export(llava.Seeing(one.way.config, one.params, tokenizer), folder / VISION_MODEL)
        left += ["attention.png", f"{VISION_MODEL}/"]
    return left


def _lines(record: Record):
    """One line a step; takes the losses out of the record."""
    for name, way in record["ways"].items():
        for seed, stages in enumerate(way.pop("losses"), record["seed"]):
            for stage, losses in zip(way["stages"], stages, strict=True):
                for step, loss in enumerate(losses, 1):
                    yield {"way": name, "seed": seed, "stage": stage["stage"], "step": step, "train_loss": loss}
