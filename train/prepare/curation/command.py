"""Curate FineWeb-like parquet files: filter, remove near-duplicates, tokenize, write token shards and a manifest.

Meant for more text than one machine can prepare. datatrove runs the stages on this machine (--executor local) or as a
chain of SLURM job arrays (--executor slurm). Needs the extra `curate`.
"""

from train.prepare.curation.config import CurationConfig

Options = CurationConfig


def main(options: Options) -> int:
    """Runs or submits the stages; the exit status is 0."""
    from train.prepare.curation.stages import curate

    return curate(options)
