"""`diantu <command> …`: finds the command, reads its options, calls it, and turns errors into one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

# Command → what it does, in the order of the work. A command's module is imported only when that command is called, and
# modules of this file only when they are needed, so that `diantu --help` is quick.
COMMANDS = {
    "demo": "run everything once on 184 bundled photographs",
    "download": "download the images of a table of URLs (LAION, COYO …) into shards",
    "embed": "compute the embeddings of shards or folders of images: makes a gallery",
    "import": "make a gallery of embeddings that clip-retrieval computed",
    "status": "show what of a gallery is done, failed and left to do",
    "index": "build, tune and measure a gallery's index",
    "delete": "delete rows by a condition or by their keys",
    "compact": "copy a gallery without its deleted rows",
    "dedup": "find near-duplicate images in a gallery",
    "search": "search a gallery by text, image or vector",
    "serve": "serve galleries over HTTP, with a page for people",
    "page": "search a gallery on a small page in the browser",
    "bench-encoder": "measure how fast the runtimes encode images on this machine",
    "evaluate": "measure how good and how fast a gallery's searches are",
    "generate": "generate pictures from prompts and reference images",
}
# Advice, retries and progress bars of these libraries are for people who work with them directly.
_QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
_DONE, _FAILED, _BAD_USAGE, _INTERRUPTED, _TERMINATED = 0, 1, 2, 130, 143


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits: 0 done, 1 failed, 2 bad usage, 130 interrupted (Ctrl-C), 143 terminated (SIGTERM)."""
    if arguments is not None:
        sys.exit(_main(list(arguments)))
    code = _main(sys.argv[1:])
    _ignore_sigterm()
    sys.exit(code)


def _main(arguments: list[str]) -> int:
    try:
        return _dispatch(arguments)
    except KeyboardInterrupt as error:  # while modules were imported or options read
        return _stopped(error)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return _DONE if arguments else _BAD_USAGE
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"diantu {version('diantu')}")
        return _DONE
    command, *options = arguments
    if command not in COMMANDS:
        return _say(f"{command!r} is not a command of diantu; give one of: {', '.join(COMMANDS)}", _BAD_USAGE)
    return call(_run_of(command), f"diantu {command}", options)


def _run_of(command: str) -> Callable[..., int]:
    from importlib import import_module
    from keyword import iskeyword

    name = f"{command}_" if iskeyword(command) else command.replace("-", "_")
    return import_module(f".commands.{name}", __package__).run


def call(run: Callable[..., int], program: str, options: Sequence[str]) -> int:
    """Calls a function with the options of a command line, and turns errors into one sentence on stderr.

    Commands and benchmarks both start here.

    Args:
        run: the function; its parameters are the options, which its docstring describes.
        program: how the program is called, for its help and its messages.
        options: the command line behind that.

    Returns:
        The exit code: 0 done, 1 failed, 2 bad usage, 130 interrupted, 143 terminated, or what `run` returned.
    """
    from .options import UsageError, parse_options

    try:
        values, debug = parse_options(run, program, options)
    except UsageError as error:
        return _say(f"{error} (see: {program} --help)", _BAD_USAGE)
    set_up_logging(debug)
    _end_on_sigterm()
    try:
        code = run(**values) or _DONE
        sys.stdout.flush()  # here an error can still be told
        return code
    except KeyboardInterrupt as error:
        return _stopped(error)
    except BrokenPipeError:  # whoever reads our output has closed it, as `| head` does
        _drop_output()
        return _FAILED
    except Exception as error:  # the outermost level: every error becomes a sentence here
        if debug:
            _print_traceback(error)
        return _failed(error)


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a job as Ctrl-C does."""


def _stopped(error: KeyboardInterrupt) -> int:
    code = _TERMINATED if isinstance(error, _Terminated) else _INTERRUPTED
    return _say("stopped; run the same command again to continue", code)


def _failed(error: Exception) -> int:
    """Says in one sentence why a command has failed, and returns the exit code."""
    import errno

    from ..datasets.errors import FileError, InputError, JobError
    from ..datasets.files import file_error

    if isinstance(error, InputError):
        return _say(str(error), _BAD_USAGE)
    if isinstance(error, OSError):
        # What diantu writes are files with names, so a full disk without one is that of `diantu … > file`.
        is_output = error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT)
        error = file_error(error, "standard output" if is_output else None, "written" if is_output else "used")
        _drop_output()
    if isinstance(error, FileError | JobError):
        return _say(str(error), _FAILED)
    if isinstance(error, MemoryError):
        return _say("there is not enough memory; free some, or use smaller batches", _FAILED)
    return _say(f"{type(error).__name__}: {error} (this is a bug in {_place(error)}; --debug shows more)", _FAILED)


def _print_traceback(error: Exception) -> None:
    """Prints where an error comes from. What it quotes of strangers cannot reach the terminal as escape codes."""
    import traceback

    from ..datasets.display import lines

    print(lines("".join(traceback.format_exception(error)).rstrip()), file=sys.stderr)


def _drop_output() -> None:
    """Prevents that Python writes to standard output once more at its end, and fails again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _place(error: BaseException) -> str:
    """The file and line that raised an error: it may belong to a package that extends diantu."""
    import traceback

    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{os.path.basename(last.filename)}, line {last.lineno}"


def _end_on_sigterm() -> None:
    """Makes SIGTERM end a job as Ctrl-C does: files that are being written are completed or removed."""
    import signal

    def interrupt(signum: int, frame: object) -> None:
        del signum, frame
        raise _Terminated

    signal.signal(signal.SIGTERM, interrupt)


def _ignore_sigterm() -> None:
    """For the end of a process: its exit code is known, and libraries that clean up must not change it."""
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def set_up_logging(debug: bool) -> None:
    """Sends messages to stderr: our own from INFO on (DEBUG if asked for), those of other libraries from WARNING on."""
    import logging
    import warnings

    from ..datasets.display import TerminalFormatter

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TerminalFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.captureWarnings(True)
    logging.getLogger("diantu").setLevel(logging.DEBUG if debug else logging.INFO)
    warnings.filterwarnings("ignore", module="PIL")  # what is wrong with a file is recorded with the failures
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


def _say(sentence: str, code: int) -> int:
    from ..datasets.display import one_line

    print(f"diantu: {one_line(' '.join(sentence.split()))}", file=sys.stderr)
    return code


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = (f"  {name:<{width}}  {what}" for name, what in COMMANDS.items())
    return "\n".join(
        [
            "usage: diantu <command> [options]",
            "",
            "Search your own images by text, image or vector, and generate pictures from what the search finds.",
            "",
            *lines,
            "",
            "diantu <command> --help shows the options of a command; diantu --version shows the version.",
        ]
    )


if __name__ == "__main__":
    main()
