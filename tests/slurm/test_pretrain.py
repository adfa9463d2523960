"""Training under a real SLURM: the same losses as without it, and nothing lost or repeated whatever happens to a job."""

import numpy as np
import pytest

pytestmark = pytest.mark.slurm

TWO_BY_TWO = "--nodes=2 --ntasks-per-node=2"


def submit(project, run, *flags: str, layout: str = TWO_BY_TWO):
    return project.submit("pretrain", *run.flags, *flags, flags=layout)


def test_two_nodes_of_two_processes_give_the_losses_of_one_process(project, run_of, new_run):
    run = run_of("four", "--steps", "12", "--eval-every", "6", "--checkpoint-every", "6")
    log = submit(project, run).complete()
    alone = new_run("alone", "--steps", "12", "--eval-every", "6", "--checkpoint-every", "6")
    alone.finish()
    print(log)
    for ours, theirs in zip(run.record(), alone.record(), strict=True):
        assert ours["step"] == theirs["step"]
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-5)
    np.testing.assert_allclose(run.record()[-1]["val_loss"], alone.record()[-1]["val_loss"], rtol=1e-5)
