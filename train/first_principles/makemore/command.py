"""makemore: learn from a file of lines how lines are made, and make more of them.

From counting pairs of characters to a Transformer, on one split, so that every model's loss can be compared with every
other's. Without --data the lines are words that come with Python: those of its Unicode character names. The run's
folder holds loss.png, diagnostics.png (activations, gradients, dead units, updates), samples.txt and summary.json.
"""

from train.first_principles.makemore.config import MakemoreConfig

Options = MakemoreConfig


def main(options: Options) -> int:
    from llm_jax import backend

    backend.configure()
    from train.first_principles.makemore.run import run

    return run(options)
