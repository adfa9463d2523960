"""The front door shared by `python -m train` and `python -m serve`.

A package lists its commands as `name → (module, one line of help)`. The listing is printed without importing any of
these modules, so `--help` is fast. A command's module is imported only when the command is called, and tyro builds its
flags from the module's `Options` dataclass. A module has

    Options             a frozen dataclass: every flag, its default, and (as field docstring) its meaning and unit
    main(options)       the work; returns the exit status
    parse(arguments)    optional: builds Options itself, where the defaults depend on a positional argument

A user's mistake raises an exception whose message says what to do. It is printed in one line, and the exit status is 2.
`LLM_JAX_DEBUG=1` shows the traceback instead. An error of the operating system (a full disk, a read-only folder, too
many open files), also one that a library raises, is printed with its path and the cure. A second line says which
results are safe (`llm_jax.files.faults`).

Ctrl-C ends a command with status 130, or with its module's EXIT_INTERRUPTED; a second Ctrl-C ends it at once
(`llm_jax.command_line.interrupts`). A module that has HANDLES_INTERRUPTS handles Ctrl-C itself.
"""

import contextlib
import difflib
import importlib
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from llm_jax.command_line import interrupts
from llm_jax.files import faults

Commands = Mapping[str, tuple[str, str]]

EXIT_PIPE = 141  # 128 + SIGPIPE, as in shells
USER_ERRORS = (ValueError, OSError, ImportError, RuntimeError)


def run(program: str, summary: str, commands: Commands, arguments: Sequence[str] | None = None) -> int:
    """Runs the command that `arguments` names first, with the rest as its flags; returns the exit status."""
    logging.basicConfig(format="%(levelname)s: %(message)s")  # on stderr, beside the errors
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        return _guarded(lambda: _print_listing(program, summary, commands))
    name, rest = arguments[0], arguments[1:]
    if name not in commands:
        close = difflib.get_close_matches(name, commands, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"one of: {', '.join(commands)}"
        return _fail(f"unknown command {name!r}; {hint}")
    status = interrupts.EXIT_INTERRUPTED
    try:
        module = importlib.import_module(commands[name][0])
        status = getattr(module, "EXIT_INTERRUPTED", status)
        watched = contextlib.nullcontext() if hasattr(module, "HANDLES_INTERRUPTS") else interrupts.watched()
        with watched:
            return _guarded(lambda: module.main(_parse(module, f"{program} {name}", rest)), status)
    except KeyboardInterrupt:
        return _interrupted(status)


def _guarded(work: Callable[[], int], interrupted: int = interrupts.EXIT_INTERRUPTED) -> int:
    """Runs `work`, prints its error if it raises one, and returns the exit status."""
    try:
        status = work()
        with faults.naming("the standard output"):
            sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        interrupts.heard()
        return _interrupted(interrupted)
    except BrokenPipeError as error:
        if error.filename is not None or error.strerror is None:
            return _fail(str(error))
        # The reader of our output (`head`, a pager) has closed the pipe.
        _drop_output()
        return EXIT_PIPE
    except Exception as error:
        is_known = isinstance(error, USER_ERRORS) or faults.found_in(error) is not None
        if os.environ.get("LLM_JAX_DEBUG") or not is_known:
            raise
        return _fail(_described(error))


def _described(error: Exception) -> str:
    """The error in one line and, for a fault of the operating system, a second line that says what is safe."""
    fault = faults.found_in(error)
    if fault is None:
        return faults.describe(error)
    if fault.filename == faults.UNKNOWN:
        try:
            sys.stdout.flush()
            if os.isatty(1) is False and sys.stdout is sys.__stdout__:
                os.write(1, b"\n")
        except OSError:  # the file that could not be written is the standard output
            return str(faults.FileFault(fault.errno, "the standard output"))
    return "\n".join([faults.describe(error), *getattr(error, "__notes__", [])])


def _interrupted(status: int) -> int:
    print("interrupted", file=sys.stderr)
    return status


def _drop_output() -> None:
    """Sends what is left in the buffer to the null device; otherwise Python reports an error when it exits."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parse(module, program: str, arguments: list[str]):
    if hasattr(module, "parse"):
        return module.parse(arguments)
    import tyro

    return tyro.cli(module.Options, args=arguments, prog=program, description=module.__doc__)


def _print_listing(program: str, summary: str, commands: Commands) -> int:
    width = max(map(len, commands))
    print(f"{summary}\n\nusage: {program} COMMAND [options]      {program} COMMAND --help\n")
    for name, (_, help_line) in commands.items():
        print(f"  {name:<{width}}  {help_line}")
    return 0


def _fail(message: str) -> int:
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()
    print(f"error: {message}", file=sys.stderr)
    return 2
