"""`diantu <command> …`: finds the command, reads its options, and turns errors into one sentence."""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

# Command → what it does, in the order of the work. Their modules are imported when asked for: --help must be quick.
COMMANDS = {
    "demo": "the whole flow on the bundled photographs",
    "download": "a table of URLs (LAION, COYO …) → shards of images",
    "embed": "shards of images → a gallery",
    "import": "vectors that clip-retrieval wrote → a gallery",
    "status": "what of a gallery is done, left out and left to do",
    "index": "build a gallery's index and measure it",
    "delete": "delete rows by a condition or by their keys",
    "compact": "a gallery with deleted rows → a new one without them",
    "dedup": "find near-duplicates over a whole gallery",
    "search": "ask a gallery by text, picture or vector",
    "evaluate": "how good a gallery's answers are",
    "generate": "prompts and references → pictures",
}
# Advice, retries and progress bars of these libraries are for people who work with them directly.
_QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
# How a switch is written: `--json` on the command line, `json: true` in a configuration file.
_FLAG: dict[str, Any] = {"type": bool, "nargs": "?", "const": True}
_DONE, _FAILED, _BAD_USAGE, _INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits: 0 done, 1 failed, 2 bad usage."""
    sys.exit(_main(list(sys.argv[1:] if arguments is None else arguments)))


def _main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return _DONE if arguments else _BAD_USAGE
    if arguments[0] == "--version":
        print(f"diantu {version('diantu')}")
        return _DONE
    command, *options = arguments
    if command not in COMMANDS:
        return _say(f"{command!r} is no command of diantu; give one of: {', '.join(COMMANDS)}", _BAD_USAGE)
    return _run(command, options)


def _run(command: str, options: list[str]) -> int:
    from jsonargparse import ArgumentError

    from ..datasets.errors import InputError

    name = f"{command}_" if iskeyword(command) else command
    module = importlib.import_module(f".commands.{name}", __package__)
    try:
        values = _parser(command, module).parse_args(_merged(options, module)).as_dict()
    except ArgumentError as error:
        sentence = " ".join(str(error.message or error).split())
        return _say(f"{sentence} (see: diantu {command} --help)", _BAD_USAGE)
    except TypeError as error:  # jsonargparse's, for a configuration file of another shape than it expects
        advice = "in a configuration file, lists such as source and encoder are written [a, b]"
        return _say(f"the options cannot be understood ({error}); {advice} (see: diantu {command} --help)", _BAD_USAGE)
    values.pop("config", None)
    debug = values.pop("debug")
    _set_up_logging(debug)
    signal.signal(signal.SIGTERM, _end_like_interrupted)
    try:
        return module.run(**values) or _DONE
    except KeyboardInterrupt:
        return _say("stopped; the same command goes on from here", _INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has seen enough, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except Exception as error:  # the last place where an error can become a sentence
        if debug:
            raise
        if isinstance(error, InputError):
            return _say(str(error), _BAD_USAGE)
        if isinstance(error, OSError):
            return _say(f"{error} (--debug shows where)", _FAILED)
        reason = " ".join(str(error).split())
        return _say(f"{type(error).__name__}: {reason} (this should not happen; --debug shows where)", _FAILED)


def _parser(command: str, module: Any) -> ArgumentParser:
    """The options of a command: its `run` function's parameters, described by its docstring."""
    from docstring_parser import parse
    from jsonargparse import ArgumentParser

    docstring = parse(module.run.__doc__)
    described = {parameter.arg_name: " ".join((parameter.description or "").split()) for parameter in docstring.params}
    hints = get_type_hints(module.run)
    parser = ArgumentParser(prog=f"diantu {command}", description=docstring.short_description, exit_on_error=False)
    parser.add_argument("--config", action="config", help="a YAML file of options; those given after it override it")
    parser.add_argument("--debug", **_FLAG, default=False, help="show tracebacks, and more of what is done")
    for name, parameter in inspect.signature(module.run).parameters.items():
        kind = hints[name]
        how = _FLAG if kind is bool else {"type": str, "nargs": "+"} if kind == list[str] else {"type": kind}
        required = parameter.default is parameter.empty
        default = {"required": True} if required else {"default": parameter.default}
        parser.add_argument(f"--{name.replace('_', '-')}", **how, **default, help=described[name])
    return parser


def _merged(options: list[str], module: Any) -> list[str]:
    """`--encoder a --encoder b` as `--encoder a b`: argparse would let the last one win, in silence."""
    lists = {f"--{name.replace('_', '-')}" for name, kind in get_type_hints(module.run).items() if kind == list[str]}
    gathered: dict[str, list[str]] = {}
    others: list[str] = []
    current = others
    for option in options:
        name, equals, value = option.partition("=")
        if option.startswith("--"):
            current = gathered.setdefault(name, []) if name in lists else others
            if name in lists:
                current += [value] if equals else []
                continue
        current.append(option)
    return [*others, *(part for name, values in gathered.items() for part in (name, *values))]


def _end_like_interrupted(signum: int, frame: object) -> None:
    """SIGTERM ends a job as Ctrl-C does: what is being written is finished, nothing is left half done."""
    del signum, frame
    raise KeyboardInterrupt


def _set_up_logging(debug: bool) -> None:
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    logging.getLogger("diantu").setLevel(logging.DEBUG if debug else logging.INFO)
    warnings.filterwarnings("ignore", module="PIL")  # what is odd about a file is in the failures
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


def _say(sentence: str, code: int) -> int:
    print(f"diantu: {sentence}", file=sys.stderr)
    return code


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = (f"  {name:<{width}}  {what}" for name, what in COMMANDS.items())
    return "\n".join(
        [
            "usage: diantu <command> [options]",
            "",
            "Turns shards of images into a searchable gallery, and feeds what it finds to an image generator.",
            "",
            *lines,
            "",
            "diantu <command> --help tells its options; --version the version.",
        ]
    )


if __name__ == "__main__":
    main()
