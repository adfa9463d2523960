"""The front door shared by `python -m train` and `python -m serve`.

A package lists its commands as `name → (module, one line of help)`. The listing is printed without importing any of
them, so `--help` answers at once; a command's own module is imported only when it is called, and tyro builds its flags
from the module's `Options` dataclass. A module offers

    Options             a frozen dataclass: every flag, its default, and (as field docstring) its meaning and unit
    main(options)       the work; returns the exit status
    parse(arguments)    optional: builds Options itself, where the defaults depend on a positional argument

A mistake of the user's is an exception with a message that says what to do: it is printed in one line and the exit
status is 2. `LLM_JAX_DEBUG=1` shows the traceback instead.
"""

import difflib
import importlib
import logging
import os
import sys
from collections.abc import Mapping, Sequence

Commands = Mapping[str, tuple[str, str]]

USER_ERRORS = (ValueError, OSError, ImportError, RuntimeError)


def run(program: str, summary: str, commands: Commands, arguments: Sequence[str] | None = None) -> int:
    """Finds the command named first in `arguments`, parses its flags, runs it; returns the exit status."""
    logging.basicConfig(format="%(levelname)s: %(message)s")  # on stderr, beside the errors
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        _print_listing(program, summary, commands)
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in commands:
        close = difflib.get_close_matches(name, commands, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"one of: {', '.join(commands)}"
        return _fail(f"unknown command {name!r}; {hint}")
    try:
        module = importlib.import_module(commands[name][0])
        return module.main(_parse(module, f"{program} {name}", rest))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except USER_ERRORS as error:
        if os.environ.get("LLM_JAX_DEBUG"):
            raise
        return _fail(str(error) or type(error).__name__)


def _parse(module, program: str, arguments: list[str]):
    if hasattr(module, "parse"):
        return module.parse(arguments)
    import tyro

    return tyro.cli(module.Options, args=arguments, prog=program, description=module.__doc__)


def _print_listing(program: str, summary: str, commands: Commands) -> None:
    width = max(map(len, commands))
    print(f"{summary}\n\nusage: {program} COMMAND [options]      {program} COMMAND --help\n")
    for name, (_, help_line) in commands.items():
        print(f"  {name:<{width}}  {help_line}")


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
