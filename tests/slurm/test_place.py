"""Which process this is and which GPUs it takes, from the environment that srun gives a task (recorded from 22.05)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_jax.command_line import place as places
from llm_jax.command_line.place import check_devices, expand_counts, here, local_gpus, visible_gpus
from train.cluster.devices import _heartbeat_seconds

# Task 3 of `srun --nodes=2 --ntasks-per-node=2` in a job with --gpus-per-node=2.
TASK = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "SLURMD_NODENAME": "n2",
    "SLURM_GPUS_ON_NODE": "2",
}


def test_task_knows_its_place():
    place = here(TASK)
    assert place is not None
    assert (place.process, place.processes, place.local_process, place.local_processes) == (3, 4, 1, 2)
    assert (place.node, place.nodes, place.gpus_on_node, place.restarts) == (1, 2, 2, 0)
    assert not place.is_first


def test_two_steps_and_two_starts_of_a_job_have_other_names():
    names = {here({**TASK, **change}).attempt for change in ({}, {"SLURM_STEP_ID": "1"}, {"SLURM_RESTART_COUNT": "1"})}
    assert len(names) == 3


def test_outside_of_a_step_there_is_no_place():
    assert here({}) is None
    assert here({"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}) is None


def test_several_tasks_without_srun_are_refused():
    with pytest.raises(ValueError, match=r"4 tasks, but srun did not start this process.*put srun before python"):
        here({"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "4"})


@pytest.mark.parametrize(("text", "counts"), [("2(x3),1", [2, 2, 2, 1]), ("4", [4]), ("1,2(x2)", [1, 2, 2])])
def test_run_length_lists_are_expanded(text, counts):
    assert expand_counts(text) == counts


@pytest.mark.parametrize(
    ("variable", "count"), [("0,1,2", 3), ("GPU-5ebe,GPU-77aa", 2), ("", 0), ("NoDevFiles", 0), ("-1", 0)]
)
def test_gpus_are_counted_by_what_cuda_is_told(variable, count, tmp_path):
    (tmp_path / "nvidia0").touch()
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": variable}, tmp_path) == count


def test_gpus_are_counted_by_their_device_files_where_cuda_is_told_nothing(tmp_path):
    for name in ("nvidia0", "nvidia11", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert visible_gpus({}, tmp_path) == 2


def task(tasks: int, local: int, gpus: int | None):
    more = {} if gpus is None else {"SLURM_GPUS_ON_NODE": str(gpus)}
    place = {"SLURM_STEP_NUM_TASKS": str(tasks), "SLURM_STEP_TASKS_PER_NODE": str(tasks), "SLURM_NODEID": "0"}
    base = {key: value for key, value in TASK.items() if key != "SLURM_GPUS_ON_NODE"}
    return here({**base, **place, "SLURM_PROCID": str(local), "SLURM_LOCALID": str(local), **more})


def test_one_process_per_gpu_takes_its_own():
    assert [local_gpus(task(4, i, 4), visible=4) for i in range(4)] == [[0], [1], [2], [3]]


def test_one_process_per_node_takes_all_gpus():
    """jax#16788: JAX's own detection takes GPU SLURM_LOCALID = 0 alone."""
    assert local_gpus(task(1, 0, 8), visible=8) is None


def test_gpus_that_slurm_has_hidden_from_the_others_are_taken_as_shown():
    """jax#23452, jax#28194: under --gpus-per-task each task sees one GPU, as number 0."""
    assert [local_gpus(task(4, i, 4), visible=1) for i in range(4)] == [None] * 4


def test_two_processes_share_four_gpus_in_twos():
    assert [local_gpus(task(2, i, 4), visible=4) for i in range(2)] == [[0, 1], [2, 3]]


def test_tasks_that_do_not_divide_the_gpus_are_refused_with_the_line_to_change():
    with pytest.raises(ValueError, match=re.escape(f"the srun line of {places.SCRIPT}, --ntasks-per-node must be 1")):
        local_gpus(task(3, 0, 4), visible=4)


def test_as_many_devices_as_given_pass():
    check_devices(task(4, 0, 4), "gpu", 1)
    check_devices(task(1, 0, 4), "gpu", 4)
    check_devices(task(2, 0, None), "cpu", 1)


@pytest.mark.parametrize(
    ("place", "platform", "found", "message"),
    [
        (task(1, 0, 8), "gpu", 1, "sees 1 GPUs; SLURM gave the node 8 for 1 tasks, which makes 8"),
        (
            task(4, 2, 4),
            "gpu",
            4,
            "process 2 on node n2 sees 4 GPUs; .* which makes 1: ask for them with --gpus-per-node",
        ),
        (task(1, 0, 8), "cpu", 1, "gave node n2 8 GPUs, but JAX sees none: set LLM_JAX_EXTRAS=cuda12"),
        (task(3, 0, 4), "gpu", 1, "4 GPUs for 3 tasks: submit slurm/pretrain.sbatch with --ntasks-per-node=4"),
    ],
)
def test_other_devices_than_given_are_refused_with_what_to_change(place, platform, found, message):
    with pytest.raises(ValueError, match=message):
        check_devices(place, platform, found)


WITHOUT = {"SLURM_RESTART_COUNT": "1", "SLURM_NTASKS": "4", "SLURM_NNODES": "2", "SLURM_JOB_ID": "7"}
VARIABLES = {**TASK, **WITHOUT}


@given(
    st.sets(st.sampled_from(sorted(VARIABLES))),
    st.dictionaries(
        st.sampled_from([*VARIABLES, "SLURM_HET_SIZE", "SLURM_JOB_ID_HET_GROUP_0", "SLURM_NTASKS_HET_GROUP_1"]),
        st.sampled_from(["", "0", "1", "2", "9", "-1", "x", "2(x2)", "2(x", "(x3)", "1,,2", "²"]),
        max_size=3,
    ),
)
def test_any_subset_of_the_variables_is_understood_or_refused_by_name(left_out, changed):
    environment = {name: value for name, value in VARIABLES.items() if name not in left_out} | changed
    try:
        place = here(environment)
    except ValueError as error:
        assert re.search(r"SLURM_[A-Z]+", str(error))  # noqa: PT017
        return
    if place is not None:
        assert 0 <= place.process < place.processes
        assert 0 <= place.local_process < place.local_processes <= place.processes
        assert 0 <= place.node < place.nodes


@pytest.mark.parametrize("missing", sorted(TASK))
def test_what_is_missing_and_cannot_be_known_is_named(missing):
    environment = {name: value for name, value in TASK.items() if name != missing}
    if missing in ("SLURMD_NODENAME", "SLURM_GPUS_ON_NODE"):  # the step goes on without
        assert here(environment) is not None
        return
    with pytest.raises(ValueError, match=f"{missing} is not set"):
        here(environment)


def test_a_step_of_one_task_or_on_one_node_is_known_without_the_list():
    step = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}
    assert here(step).local_processes == 1
    place = here({**step, "SLURM_PROCID": "2", "SLURM_NTASKS": "4", "SLURM_NNODES": "1"})
    assert (place.local_process, place.local_processes, place.nodes) == (2, 4, 1)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SLURM_HET_SIZE", "2"), ("SLURM_NTASKS_HET_GROUP_1", "2"), ("SLURM_PACK_SIZE", "3")],
)
def test_a_heterogeneous_job_is_refused_by_name(variable, value):
    for environment in (TASK, {"SLURM_JOB_ID": "7"}):
        with pytest.raises(ValueError, match=f"heterogeneous job.*{variable}"):
            here({**environment, variable: value})


@pytest.mark.parametrize("value", ["two", "-1", "4.0", "a100:4", "٤"])
def test_a_malformed_number_of_gpus_is_refused_by_name(value):
    with pytest.raises(ValueError, match=f"SLURM_GPUS_ON_NODE is '{value}'; expected a number"):
        here({**TASK, "SLURM_GPUS_ON_NODE": value})


@pytest.mark.parametrize(("value", "gpus"), [("", None), ("0", 0), ("8", 8)])
def test_a_number_of_gpus_is_read(value, gpus):
    place = here({**TASK, "SLURM_GPUS_ON_NODE": value})
    assert place is not None
    assert place.gpus_on_node == gpus


@pytest.mark.parametrize("value", ["soon", "0", "-5", "1.5"])
def test_a_malformed_heartbeat_is_refused_by_name(value):
    with pytest.raises(ValueError, match=f"LLM_JAX_HEARTBEAT_SECONDS is '{value}'"):
        _heartbeat_seconds({"LLM_JAX_HEARTBEAT_SECONDS": value})
