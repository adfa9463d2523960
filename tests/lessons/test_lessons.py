"""Every lesson runs from top to bottom, on embedded data alone, with its exercises open and with them solved."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LESSONS = sorted((REPOSITORY / "lessons").glob("[0-9]*.py"))
LIMIT = 240  # seconds a lesson may take
NOT_IN_LESSONS = ("LLM_JAX_DATA", "LLM_JAX_SMOLLM2", "LLM_JAX_VLLM_PYTHON")  # lessons measure less without them


def functions_of(file: Path) -> dict[str, ast.FunctionDef]:
    return {n.name: n for n in ast.parse(file.read_text(encoding="utf8")).body if isinstance(n, ast.FunctionDef)}


def is_open(function: ast.FunctionDef) -> bool:
    last = function.body[-1]
    return isinstance(last, ast.Expr) and isinstance(last.value, ast.Constant) and last.value.value is ...


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> Path:
    """Where compiled programs are kept, so that no lesson is compiled twice."""
    return tmp_path_factory.mktemp("xla")


def play(lesson: Path, folder: Path, programs: Path, *flags: str) -> list[dict]:
    environment = {
        **{name: value for name, value in os.environ.items() if name not in NOT_IN_LESSONS},
        "MPLBACKEND": "Agg",
        "HF_HUB_OFFLINE": "1",
        "LLM_JAX_CACHE": str(folder),
        "JAX_NUM_CPU_DEVICES": "1",
        "JAX_COMPILATION_CACHE_DIR": os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(programs),
    }
    command = [sys.executable, "-W", "error", str(REPOSITORY / "tests/lessons/play.py"), str(lesson), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment, cwd=folder)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.long
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_with_exercises_open_every_check_fails_with_its_hint(lesson, tmp_path, programs):
    outcomes = play(lesson, tmp_path, programs)
    exercises = [name for name, function in functions_of(lesson).items() if is_open(function)]
    assert [outcome["exercise"] for outcome in outcomes] == exercises
    assert len(exercises) >= 3
    for outcome in outcomes:
        assert not outcome["passed"], outcome
        assert "not done yet" in outcome["message"], outcome
        assert "\n  Hint: " in outcome["message"], outcome


@pytest.mark.long
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_with_the_solutions_every_check_passes(lesson, tmp_path, programs):
    outcomes = play(lesson, tmp_path, programs, "--with-solutions")
    exercises = [name for name, function in functions_of(lesson).items() if is_open(function)]
    assert [outcome["exercise"] for outcome in outcomes] == exercises
    assert not [outcome["message"] for outcome in outcomes if not outcome["passed"]]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_lesson_asks_for_predictions_and_opens_as_a_notebook(lesson):
    text = lesson.read_text(encoding="utf8")
    assert text.count("prediction = None") >= 2
    assert "format_name: percent" in text
    assert "kernelspec" in text
