"""A process that is not the first computes its share of the answers: all that the harness will ask, and no figures."""

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from serve.evaluation import choices_log
from serve.evaluation.answers.asked import Asked
from serve.evaluation.answers.processes import OtherProcessError
from serve.evaluation.asking import Asking
from serve.evaluation.results import Candidate


def compute(
    candidate: Candidate,
    model: Asked,
    tasks: dict[str, Any],
    limit: int | None,
    log: choices_log.Log | None,
    asking: Asking,
) -> None:
    """Computes this process's share of one model's answers on all tasks.

    Raises:
        ConnectionError: a server stops answering.
    """
    with naming_the_server(candidate):
        for kind, requests in requests_of(tasks["tasks"].values(), limit, asking.of_task(model)).items():
            model.compute_share(kind, requests)
        if log is None:
            return
        for task in tasks["tasks"].values():
            if task.OUTPUT_TYPE == "multiple_choice":
                model.compute_share("loglikelihood", choices_log.alone(task, log.neutral))


def requests_of(tasks: Iterable[Any], limit: int | None, more: dict[str, Any]) -> dict[str, list[Any]]:
    """What the harness asks, by the method that it calls, in its order; `more` as `Asking.of_task` returns it."""
    requests: defaultdict[str, list[Any]] = defaultdict(list)
    for task in tasks:
        task.build_all_requests(limit=limit, rank=0, world_size=1, **more)
        for request in task.instances:
            requests[request.request_type] += [request] * request.repeats
    return requests


@contextlib.contextmanager
def naming_the_server(candidate: Candidate) -> Iterator[None]:
    """What fails in the middle of an evaluation of a server is the server's failure.

    Raises:
        ConnectionError: names it.
    """
    try:
        yield
    except OtherProcessError:
        raise
    except Exception as error:
        if candidate.backend != "server":
            raise
        raise ConnectionError(
            f"{candidate.source} stopped answering, or refused a request ({type(error).__name__}: {error}): a "
            "server must give the log-probabilities of a prompt's tokens (`echo`), as vLLM and `serve api` do"
        ) from error
