"""Answers are written as they come, so that an evaluation that was killed goes on without asking twice.

`OUT/answers/` has a file for each process. Its first line says what was asked for (`settings`). Each further line holds
answers that were computed together, with a hash of each request. A process writes its own file only and reads those of
the others, which may have been more or fewer before.
A line that was cut short is left out, and what it held is asked again.
"""

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import filelock

from llm_jax.files.faults import naming
from llm_jax.files.json_files import parse_json
from serve.evaluation.answers import settings as settings_of

FORMAT = {"format": "llm-jax answers", "version": 1}
FOLDER = "answers"


def key(model: str, kind: str, request: Sequence[Any], occurrence: int = 0) -> str:
    """A hash of what is asked. `occurrence` numbers equal requests, whose answers may differ where one samples."""
    text = json.dumps([model, kind, request, occurrence], ensure_ascii=True, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


class Journal:
    """The answers of one evaluation, on disk and in memory."""

    def __init__(self, folder: Path, settings: dict[str, Any], process: int = 0, restart: bool = False) -> None:
        """Reads what is there. `restart` (of the first process) removes it.

        Raises:
            ValueError: it belongs to an evaluation with other settings; names the first that differs.
        """
        self.folder, self._settings = folder, json.loads(json.dumps(settings, default=str))
        self._path = folder / f"{process}.jsonl"
        self._alone = filelock.FileLock(folder / f".{process}.lock", thread_local=False)
        self._answers: dict[str, Any] = {}
        self._read_to: dict[Path, int] = {}
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        if restart:
            shutil.rmtree(folder, ignore_errors=True)
        self.refresh()
        self.found = len(self._answers)  # answers of an earlier start

    def __contains__(self, name: str) -> bool:
        return name in self._answers

    def __getitem__(self, name: str) -> Any:
        return self._answers[name]

    def add(self, names: Sequence[str], answers: Sequence[Any]) -> None:
        """Keeps answers, in one line: after a kill all of them are there, or none."""
        with self._lock:
            self._write({"keys": list(names), "answers": list(answers)})
            self._answers.update(zip(names, answers, strict=True))

    def refresh(self) -> None:
        """Reads what all processes have written since the last time."""
        with self._lock:
            for path in sorted(self.folder.glob("*.jsonl")):
                if self._file is None or path != self._path:
                    self._read(path)

    def remove(self) -> None:
        """Removes the folder: the evaluation is complete."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
            self._alone.release()

    def _read(self, path: Path) -> None:
        if not path.exists():
            return
        start = self._read_to.get(path, 0)
        with naming(path, "read"), path.open("rb") as file:
            file.seek(start)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read_to[path] = start + len(whole)
        for number, line in enumerate(whole.splitlines()):
            try:
                entry = parse_json(line, f"{path}:", "", dict)
                if start == 0 and number == 0:
                    settings_of.refuse_another(self.folder, entry.get("settings"), self._settings)
                    continue
                self._answers.update(zip(entry["keys"], entry["answers"], strict=True))
            except settings_of.AnotherEvaluation:
                raise
            except (ValueError, KeyError, TypeError):
                if start == 0 and number == 0:
                    raise ValueError(
                        f"{path} is no file of answers (its first line is damaged): remove it with --restart"
                    ) from None

    def _write(self, entry: dict[str, Any]) -> None:
        with naming(self._path):
            if self._file is None:
                self._file = self._opened()
            self._file.write(json.dumps(entry).encode() + b"\n")
            self._file.flush()

    def _opened(self) -> BinaryIO:
        """The process's file, at the end of its last whole line; a new file begins with the settings.

        Raises:
            RuntimeError: another process is writing it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._alone.acquire(timeout=0)
        except filelock.Timeout:
            raise RuntimeError(
                f"{self._path} is being written by another process, which computes the same evaluation: wait for it, "
                "or give another --out"
            ) from None
        self._read(self._path)
        file = self._path.open("ab")
        if whole := self._read_to.get(self._path, 0):
            os.truncate(self._path, whole)
        else:
            file.truncate(0)
            file.write(json.dumps({**FORMAT, "settings": self._settings}).encode() + b"\n")
        return file
