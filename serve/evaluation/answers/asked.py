"""A model of the harness whose answers are kept as they come and shared out among processes and devices.

The harness asks for everything at once. Requests are divided into units, which are computed together: batches of our
decoder, single requests of other models. Which unit a request is in, and which process computes a unit, depends on the
requests alone. So the figures do not depend on the number of processes and devices, nor on where an evaluation was
killed: our decoder runs the same batches.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from serve.evaluation.answers.journal import Journal, key
from serve.evaluation.answers.processes import Others, Place
from serve.evaluation.answers.progress import Progress

NAMES = {
    "loglikelihood": "log-likelihoods",
    "loglikelihood_rolling": "documents",
    "generate_until": "continuations",
}


class Unit(NamedTuple):
    """Requests that one device answers together."""

    numbers: Sequence[int]  # of the requests, in the list that was asked
    work: float  # in any measure, for the estimate of the time left
    run: Callable[[int], Sequence[Any]]  # number of the device → answers


class Asked(LM):
    """The model `inner`, as one of `Place.processes`."""

    def __init__(self, inner: LM, name: str, journal: Journal, place: Place, others: Others) -> None:
        super().__init__()
        self.inner, self._name, self._journal, self._place, self._others = inner, name, journal, place, others

    @property
    def tokenizer_name(self) -> str:
        return self.inner.tokenizer_name

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return self.inner.apply_chat_template(chat_history, add_generation_prompt)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        return [(answer[0], bool(answer[1])) for answer in self._ask("loglikelihood", requests)]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        return self._ask("loglikelihood_rolling", requests)

    def generate_until(self, requests: list[Instance]) -> list[str]:
        return self._ask("generate_until", requests)

    def compute_share(self, kind: str, requests: Sequence[Instance]) -> list[str]:
        """Answers this process's share of the requests, and keeps the answers.

        Returns:
            The journal's key of every request.
        """
        arguments = [one.args for one in requests]
        seen: Counter[str] = Counter()
        keys = []
        for one in arguments:
            plain = key(self._name, kind, one)
            keys.append(key(self._name, kind, one, seen[plain]) if seen[plain] else plain)
            seen[plain] += 1
        divide = getattr(self.inner, "units", None)
        units: list[Unit] = divide(kind, arguments) if divide else _single(arguments)
        mine = units[self._place.process :: self._place.processes]
        mine = [unit for unit in mine if not all(keys[number] in self._journal for number in unit.numbers)]
        n_requests, work = sum(len(unit.numbers) for unit in mine), sum(unit.work for unit in mine)
        found = sum(name in self._journal for name in keys)
        progress = Progress(f"{self._name}, {NAMES[kind]}", n_requests, work, found)
        try:
            if not mine:
                return keys
            if divide:
                self._run(mine, keys, progress)
            else:
                self._ask_inner(kind, [requests[unit.numbers[0]] for unit in mine], mine, keys, progress)
        finally:
            progress.close()
        return keys

    def _ask(self, kind: str, requests: list[Instance]) -> list[Any]:
        """Answers of all processes."""
        keys = self.compute_share(kind, requests)
        missing = set(keys)

        def is_complete() -> bool:
            self._journal.refresh()
            missing.difference_update([name for name in missing if name in self._journal])
            return not missing

        self._others.wait(is_complete, f"{self._name}'s {NAMES[kind]}")
        return [self._journal[name] for name in keys]

    def _run(self, units: Sequence[Unit], keys: Sequence[str], progress: Progress) -> None:
        """Runs the units, one at a time on each device."""
        stop, lock = threading.Event(), threading.Lock()
        n_devices = min(getattr(self.inner, "n_devices", 1), len(units))

        def work_on(device: int) -> None:
            for unit in units[device::n_devices]:
                if stop.is_set():
                    return
                answers = unit.run(device)
                with lock:
                    self._journal.add([keys[number] for number in unit.numbers], answers)
                    progress.add(len(unit.numbers), unit.work)

        if n_devices == 1:
            work_on(0)
            return
        with ThreadPoolExecutor(n_devices) as pool:
            try:
                for done in [pool.submit(work_on, device) for device in range(n_devices)]:
                    done.result()
            finally:
                stop.set()

    def _ask_inner(
        self, kind: str, requests: list[Instance], units: Sequence[Unit], keys: Sequence[str], progress: Progress
    ) -> None:
        """Asks a model of the harness, which reports each answer to its `cache_hook`."""
        waiting: defaultdict[str, list[Unit]] = defaultdict(list)
        for unit, request in zip(reversed(units), reversed(requests), strict=True):
            waiting[key("", kind, request.args)].append(unit)

        def keep(unit: Unit, answer: Any) -> None:
            self._journal.add([keys[number] for number in unit.numbers], [answer])
            progress.add(1, unit.work)

        class Hook:
            """Stands in for the harness's `CacheHook`."""

            def add_partial(self, attribute: str, request: Sequence[Any], answer: Any) -> None:
                units = waiting.get(key("", kind, request)) if attribute == kind else None
                if units:
                    keep(units.pop(), answer)

        model: Any = self.inner
        model.set_cache_hook(Hook())
        answers = getattr(model, kind)(requests)
        for unit, answer in zip(units, answers, strict=True):
            if keys[unit.numbers[0]] not in self._journal:  # a model that reports nothing
                keep(unit, answer)


def _single(arguments: Sequence[tuple[Any, ...]]) -> list[Unit]:
    """A unit for each request, the longest first."""
    lengths = [sum(len(part) for part in one if isinstance(part, str)) for one in arguments]
    order = sorted(range(len(arguments)), key=lambda number: -lengths[number])

    def never(_: int) -> Sequence[Any]:
        raise AssertionError("a model without units is asked for all requests at once")

    return [Unit([number], 1.0 + lengths[number], never) for number in order]
