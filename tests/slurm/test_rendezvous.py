"""The processes of a step find each other by a file, whatever their nodes are called."""

import json
import socket
import threading
import time

import pytest

from llm_jax.command_line.place import Place
from train.cluster import rendezvous


def place(process: int, nodes: int = 2) -> Place:
    return Place("7", "0", 0, process, 2, 0, 1, process, nodes, f"nowhere-{process}.invalid", None)


def listen(address: str) -> socket.socket:
    return socket.create_server(("", int(address.rsplit(":", 1)[1])))


def test_others_find_the_first_process_though_its_node_does_not_resolve(tmp_path):
    announced = rendezvous.announce(tmp_path, place(0))
    with listen(announced.address):
        found = rendezvous.find(tmp_path, place(1), timeout=20)
    assert found.address.rsplit(":", 1)[1] == announced.address.rsplit(":", 1)[1]
    assert not found.address.startswith("nowhere")


def test_others_wait_until_it_is_announced_and_answers(tmp_path):
    found = []
    waiter = threading.Thread(target=lambda: found.append(rendezvous.find(tmp_path / "later", place(1), timeout=30)))
    waiter.start()
    time.sleep(0.3)
    announced = rendezvous.announce(tmp_path / "later", place(0))
    time.sleep(0.3)
    assert not found
    with listen(announced.address):
        waiter.join(timeout=20)
    assert found


def test_on_one_node_nobody_else_can_connect(tmp_path):
    announced = rendezvous.announce(tmp_path, place(0, nodes=1))
    assert announced.bind == announced.address
    assert announced.address.startswith("127.0.0.1:")


def test_two_steps_of_a_job_get_other_ports_and_files(tmp_path):
    other = Place("7", "1", 0, 0, 2, 0, 1, 0, 2, "n1", None)
    ports = set()
    for step in (place(0), other):
        ports.add(rendezvous.announce(tmp_path, step).address)
    assert len(list(tmp_path.iterdir())) == 2


def test_failure_of_the_first_process_reaches_the_others_at_once(tmp_path):
    rendezvous.announce_failure(tmp_path, place(0), "data/nothing: no such folder")
    with pytest.raises(RuntimeError, match="process 0 failed: data/nothing: no such folder"):
        rendezvous.find(tmp_path, place(1), timeout=30)


def test_first_process_that_never_comes_is_named_with_the_file_it_should_have_written(tmp_path):
    with pytest.raises(TimeoutError, match=r"rendezvous-7\.0-0\.json has not appeared.*JAX_COORDINATOR_ADDRESS"):
        rendezvous.find(tmp_path, place(1), timeout=0.3)


def test_addresses_that_do_not_answer_are_named(tmp_path):
    (tmp_path / "rendezvous-7.0-0.json").write_text(json.dumps({"addresses": ["127.0.0.1:1"]}))
    with pytest.raises(TimeoutError, match=r"none of its addresses answers \(127\.0\.0\.1:1\)"):
        rendezvous.find(tmp_path, place(1), timeout=0.3)


def test_file_is_gone_when_all_have_come(tmp_path):
    rendezvous.announce(tmp_path, place(0))
    rendezvous.clear(tmp_path, place(0))
    assert not list(tmp_path.iterdir())
