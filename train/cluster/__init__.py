"""Everything that knows of SLURM: training runs on it, and nothing else in the project has to.

    (place       where this process stands among the tasks of its job step: `llm_jax.command_line.place`)
    rendezvous   how the processes of a step find each other
    job          what a run and its batch script tell each other
    site         slurm/site.env: partition, account, modules of this cluster
    submit       `train submit`: renders a script of slurm/, shows it, hands it to sbatch
    queue        what squeue, sacct and scontrol say of a job
    status       `train status`: the queue's word and the run's metrics, joined
    jupyter      `train jupyter`: JupyterLab on a compute node

The first three are used by `train pretrain`, the others are commands.
"""
