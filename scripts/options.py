"""Command-line options from a function: one option per parameter of a `run` function, described by its docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

# Types as jsonargparse names them → what to give.
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "one text", "NoneType": ""}
# How a switch is written: `--json` on the command line, `json: true` in a configuration file.
_SWITCH: dict[str, Any] = {"type": bool, "nargs": "?", "const": True}


class UsageError(Exception):
    """The options cannot be used; the message says why."""


def parse_options(run: Callable[..., int], program: str, options: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """Reads the options of a function from a command line.

    A parameter may end in an underscore where its name would hide another one: `json_` is the option `--json`.

    Args:
        run: the function; its docstring describes every parameter.
        program: how the command is called, for its help.
        options: what stands behind that on the command line.

    Returns:
        The function's keyword arguments, and whether `--debug` was given.

    Raises:
        UsageError: if an option is unknown, lacks its value, or has one of another type.
        SystemExit: after `--help` or `--print_config`.
    """
    from jsonargparse import ArgumentError

    try:
        values = _parser(run, program).parse_args(_merged(options, run)).as_dict()
    except ArgumentError as error:
        raise UsageError(_sentence(error.message or str(error))) from error
    except TypeError as error:  # raised by some versions of jsonargparse instead of ArgumentError
        raise UsageError(_sentence(str(error))) from error
    return {name: values[name.rstrip("_")] for name in inspect.signature(run).parameters}, values["debug"]


def _sentence(message: str) -> str:
    """What jsonargparse complains about, in the terms of the command line."""
    if "item assignment" in message:  # a text in a configuration file where a list is expected
        return "a list in a configuration file must be written in brackets, for example source: [a.tar, b.tar]"
    match = re.match(r'Parser key "(\w+)":\s*(.*)', message, re.DOTALL)
    if not match:
        return message
    option, complaint = _option(match[1]), match[2]
    kinds = [_KINDS.get(name, name) for name in re.findall(r"Expected an? <class '(\w+)'>", complaint)]
    given = re.search(r"(?:Got|Given) value: (.*)", complaint)
    return f"{option} is {given[1]}; give {' or '.join(filter(None, kinds))}" if given else f"{option}: {complaint}"


def _parser(run: Callable[..., int], program: str) -> ArgumentParser:
    from docstring_parser import parse
    from jsonargparse import ArgumentParser

    docstring = parse(run.__doc__ or "")
    described = {
        parameter.arg_name: " ".join((parameter.description or "").split()).rstrip(".")
        for parameter in docstring.params
    }
    hints = get_type_hints(run)
    description = " ".join(filter(None, (docstring.short_description, docstring.long_description)))
    parser = ArgumentParser(prog=program, description=description, exit_on_error=False)
    parser.add_argument(
        "--config", action="config", help="a YAML file of options; options after it override its values"
    )
    parser.add_argument("--debug", **_SWITCH, default=False, help="show tracebacks and debug messages")
    for name, parameter in inspect.signature(run).parameters.items():
        kind = hints[name]
        how = _SWITCH if kind is bool else {"type": str, "nargs": "+"} if kind == list[str] else {"type": kind}
        required = parameter.default is parameter.empty
        default = {"required": True} if required else {"default": parameter.default}
        parser.add_argument(_option(name), **how, **default, help=described[name])
    return parser


def _merged(options: Sequence[str], run: Callable[..., int]) -> list[str]:
    """`--encoder a --encoder b` as `--encoder a b`: argparse would silently keep only the last one."""
    lists = {_option(name) for name, kind in get_type_hints(run).items() if kind == list[str]}
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


def _option(parameter: str) -> str:
    return f"--{parameter.rstrip('_').replace('_', '-')}"
