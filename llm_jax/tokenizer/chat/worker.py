"""Runs chat templates: a request a line on standard input, an answer a line on standard output, in JSON.

A template is a program from the folder of a model. It runs in jinja2's sandbox, which keeps it from attributes of
Python's objects, in a process with a limit of memory and, for each request, of processor time: no limit inside Jinja
bounds nested loops, a power, or a text doubled forty times. The environment is transformers' own
(`_cached_compile_jinja_template`). Imports nothing of this project, so that it starts at once.
"""

import json
import resource
import signal
import sys
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.utils
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY = 1 << 29  # bytes of address space
SECONDS = 2.0  # of processor time for a request; the process is then killed
MOST_CHARACTERS = 1 << 23  # of an answer


class TooLong(Exception):
    """The text exceeds `MOST_CHARACTERS`."""


class Generation(Extension):
    """`{% generation %}…{% endgeneration %}`: marks what the assistant writes."""

    tags = {"generation"}  # noqa: RUF012  Jinja's own declaration

    def __init__(self, environment: jinja2.Environment):
        super().__init__(environment)
        self.blocks: list[str] = []
        self.spans: list[tuple[int, int]] = []

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Any) -> str:
        text, start = caller(), sum(map(len, self.blocks))
        self.spans.append((start, start + len(text)))
        return text


class Dictionary:
    """`dict`, without the attributes of the type."""

    def __call__(self, *arguments: Any, **named: Any) -> dict:
        return dict(*arguments, **named)

    def fromkeys(self, *arguments: Any) -> dict:
        return dict.fromkeys(*arguments)


class Namespace(jinja2.utils.Namespace):
    """`namespace` without attributes that Python itself uses."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise SecurityError(f"access to attribute {name!r} of a namespace is unsafe.")
        super().__setitem__(name, value)


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Jinja's own filter writes HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: Any) -> None:
    raise jinja2.TemplateError(str(message))


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


@lru_cache(maxsize=8)
def _compiled(template: str) -> tuple[jinja2.Template, Generation]:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals |= {
        "raise_exception": _raise_exception,
        "strftime_now": _strftime_now,
        "dict": Dictionary(),
        "namespace": Namespace,
    }
    (generation,) = (one for one in environment.extensions.values() if isinstance(one, Generation))
    return environment.from_string(template), generation


def _render(template: str, variables: dict[str, Any]) -> dict[str, Any]:
    compiled, generation = _compiled(template)
    generation.blocks, generation.spans, size = [], [], 0
    for block in compiled.generate(**variables):
        generation.blocks.append(block)
        size += len(block)
        if size > MOST_CHARACTERS:
            raise TooLong
    return {"text": "".join(generation.blocks), "spans": generation.spans}


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return _render(request["template"], request["variables"])
    except jinja2.TemplateSyntaxError as error:
        return {"error": f"line {error.lineno}: {error.message}", "kind": "syntax"}
    except SecurityError as error:
        return {"error": str(error), "kind": "security"}
    except TooLong:
        return {"error": f"its text is longer than {MOST_CHARACTERS:,} characters", "kind": "limit"}
    except MemoryError:
        return {"error": f"it takes more than {MEMORY >> 20:,} MiB of memory", "kind": "limit"}
    except RecursionError:
        return {"error": "it calls itself without end", "kind": "limit"}
    except jinja2.UndefinedError as error:
        return {"error": str(error), "kind": "failure"}
    except jinja2.TemplateError as error:
        return {"error": str(error), "kind": "refusal"}
    except Exception as error:  # a template can raise whatever Python's operators do
        return {"error": f"{type(error).__name__}: {error}", "kind": "failure"}


def main() -> None:
    with suppress(ValueError, OSError):  # a lower limit holds already
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends Ctrl-C to this process too
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        answer = json.dumps(_answer(json.loads(line)))
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(answer, flush=True)


if __name__ == "__main__":
    main()
