"""Rating models from votes: ours beside evalica (a library in Rust), the same votes, in turns.

Both compute one Bradley–Terry fit, Elo in file order, and the bootstrap of the fit. evalica's bootstrap is timed for a
few replicates (percentile intervals, which cost least) and multiplied. The whole analysis of `serve arena` is ours
alone.

    uv sync --group rivals
    python benchmarks/arena.py --out benchmarks/results/arena.json
"""

import importlib.util
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from measuring import in_turns, machine, medians, save, show

from serve.arena import analysis, resampling, strength, tables
from serve.arena.config import Settings
from serve.arena.votes import Votes

SAMPLE = 10  # replicates of evalica that are timed


@dataclass(frozen=True)
class Options:
    votes: int = 100_000
    models: int = 200
    bootstraps: int = 1000
    repeats: int = 3
    out: Path | None = None
    """JSON file for the results."""


def main(options: Options) -> None:
    votes = simulated(options)
    counts = tables.tabulate(tables.cells(votes), options.models)
    theta = strength.fit(counts.points)
    ours = {
        "Bradley–Terry": lambda: strength.fit(tables.tabulate(tables.cells(votes), options.models).points),
        "Elo": lambda: strength.elo(votes),
    }
    sides = {f"{name}, ours": call for name, call in ours.items()}
    has_evalica = importlib.util.find_spec("evalica") is not None
    if has_evalica:
        sides |= {f"{name}, evalica": call for name, call in of_evalica(votes).items()}
    seconds = medians(in_turns(sides, options.repeats))
    seconds["bootstraps, ours"] = timed(lambda: resampling.bradley_terry(votes, theta, options.bootstraps))
    if has_evalica:
        # Its bootstrap begins with one fit to all votes.
        sample = timed(lambda: evalica_bootstraps(votes, SAMPLE)) / (SAMPLE + 1)
        seconds[f"bootstraps, evalica (from {SAMPLE})"] = sample * options.bootstraps
    settings = Settings(bootstraps=options.bootstraps)
    seconds["whole analysis, ours"] = timed(lambda: analysis.analyse(votes, settings, "simulated"))
    title = f"{options.votes:,} votes, {options.models} models, {options.bootstraps:,} bootstraps"
    show(title, ["seconds"], [[name, f"{value:.3f}"] for name, value in seconds.items()])
    result = {"what": title, "seconds": seconds, "machine": machine()}
    if has_evalica:
        result |= {"evalica": metadata.version("evalica"), "largest difference of a share": difference(votes, theta)}
    save(options.out, result)


def simulated(options: Options) -> Votes:
    """Votes from Bradley–Terry with a tenth of ties."""
    random = np.random.default_rng(0)
    left = random.integers(0, options.models, options.votes)
    right = (left + random.integers(1, options.models, options.votes)) % options.models
    theta = random.normal(0, 1, options.models)
    won = random.random(options.votes) < 1 / (1 + np.exp(theta[right] - theta[left]))
    score = np.where(random.random(options.votes) < 0.1, 0.5, won)
    return Votes(tuple(f"model {i}" for i in range(options.models)), left, right, score)


def of_evalica(votes: Votes):
    """The same by evalica, from its own kind of lists."""
    import evalica

    x, y, winner = as_lists(votes)
    return {
        "Bradley–Terry": lambda: evalica.bradley_terry(x, y, winner),
        "Elo": lambda: evalica.elo(x, y, winner, k=4.0, initial=1000.0),
    }


def as_lists(votes: Votes):
    import evalica

    names = np.array(votes.models)
    winner = [{1.0: evalica.Winner.X, 0.0: evalica.Winner.Y}.get(one, evalica.Winner.Draw) for one in votes.score]
    return names[votes.left].tolist(), names[votes.right].tolist(), winner


def evalica_bootstraps(votes: Votes, replicates: int) -> None:
    import evalica

    x, y, winner = as_lists(votes)
    method: Any = evalica.bradley_terry
    evalica.bootstrap(method, x, y, winner, n_resamples=replicates, bootstrap_method="percentile", random_state=0)


def difference(votes: Votes, theta: np.ndarray) -> float:
    """Between the strengths of both, as shares that sum to 1."""
    import evalica

    theirs = evalica.bradley_terry(*as_lists(votes), tolerance=1e-12, limit=10_000).scores.reindex(list(votes.models))
    return float(np.abs(strength.shares(theta) - theirs.to_numpy() / theirs.sum()).max())


def timed(call) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
