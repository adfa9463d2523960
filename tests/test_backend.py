"""How a process of ours is started: huge pages."""

import os
import sys

import pytest

from llm_jax import backend


@pytest.fixture
def started(monkeypatch, tmp_path):
    """Commands that would have taken this process's place; the system leaves huge pages to the program."""
    commands = []
    monkeypatch.setattr(os, "execv", lambda path, arguments: commands.append((path, arguments)))
    monkeypatch.setattr(backend, "HUGE_PAGES", tmp_path / "enabled")
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "train", "digits"])
    backend.HUGE_PAGES.write_text("always [madvise] never\n")
    return commands


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "glibc.malloc.hugetlb=1"),
        ("glibc.malloc.arena_max=2", "glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1"),
    ],
)
def test_the_same_command_starts_anew_once(before, after, started, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", before)
    backend.use_huge_pages()
    assert started == [(sys.executable, [sys.executable, "-m", "train", "digits"])]
    assert os.environ["GLIBC_TUNABLES"] == after
    backend.use_huge_pages()  # as the new process does
    assert len(started) == 1


def test_a_users_own_setting_stays(started, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")
    backend.use_huge_pages()
    assert not started


@pytest.mark.parametrize("enabled", ["[always] madvise never", "always madvise [never]", None])
def test_nothing_starts_anew_where_it_would_change_nothing(enabled, started, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "")
    if enabled is None:
        backend.HUGE_PAGES.unlink()
    else:
        backend.HUGE_PAGES.write_text(enabled)
    backend.use_huge_pages()
    assert not started
