"""Command-line options from a function: one option per parameter of a `run` function, described by its docstring."""

from __future__ import annotations

import argparse
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
_TEXTS = (str, str | None)
_NO_TEXT = "YAML reads the value as"
_QUOTED = re.compile(r"\A[-+.\d]|[\x85\u2028\u2029]")


class UsageError(Exception):
    """The options cannot be used; the message says why."""


def parse_options(run: Callable[..., int], program: str, options: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """Reads the options of a function from a command line.

    A parameter may end in an underscore where its name would hide another one: `json_` is the option `--json`. Options
    of type `str`, `str | None` and `list[str]` keep the text that was given, which is never read as YAML.

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
    if complaint.startswith(_NO_TEXT):
        return f"{option} in the configuration file: {complaint}"
    kinds = [_KINDS.get(name, name) for name in re.findall(r"Expected an? <class '(\w+)'>", complaint)]
    given = re.search(r"(?:Got|Given) value: (.*)", complaint)
    return f"{option} is {given[1]}; give {' or '.join(filter(None, kinds))}" if given else f"{option}: {complaint}"


def _parser(run: Callable[..., int], program: str) -> ArgumentParser:
    from docstring_parser import parse
    from jsonargparse import ArgumentParser, set_dumper

    set_dumper("yaml", _dumped)
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
        required = parameter.default is parameter.empty
        default = {"required": True} if required else {"default": parameter.default}
        parser.add_argument(_option(name), **_how(hints[name]), **default, help=described[name])
    return parser


def _how(kind: Any) -> dict[str, Any]:
    """How jsonargparse reads an option of a type.

    It reads values of type hints as YAML, where `#sunset` is empty and `null` is nothing. A function takes the text.
    """
    if kind in (bool, bool | None):
        return _SWITCH
    if kind == list[str]:
        return {"type": _text, "nargs": "+", "action": _Gathered}
    return {"type": _text if kind in _TEXTS else kind}


def _text(value: object) -> str | None:
    """A text as it was given on the command line, or as YAML reads it in a configuration file."""
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"{_NO_TEXT} {value!r}, not as a text; put the text in quotes")


def _dumped(values: dict[str, Any]) -> str:
    """Options as YAML for `--print_config`, from which `--config` reads the same values."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes texts that PyYAML writes plainly but jsonargparse reads as numbers (`1e3`), or not at all."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if _QUOTED.search(value) else None)

    Dumper.add_representer(str, text)
    return yaml.dump(values, Dumper=Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False)


class _Gathered(argparse.Action):
    """`--texts a --texts b` is the list of both. It replaces a list from a configuration file."""

    _gathered: list[str] | None = None

    def __call__(
        self, parser: object, namespace: argparse.Namespace, values: Any, option_string: object = None
    ) -> None:
        del parser, option_string
        self._gathered = [*(self._gathered or ()), *values]
        setattr(namespace, self.dest, self._gathered)


def _merged(options: Sequence[str], run: Callable[..., int]) -> list[str]:
    """The command line with every text joined to its option, as in `--text=-5`, so that it may begin with a hyphen.

    Lists come last, one option for each text: `--encoder a b` becomes `--encoder=a --encoder=b`.
    """
    hints = get_type_hints(run)
    lists = {_option(name) for name, kind in hints.items() if kind == list[str]}
    texts = {_option(name) for name, kind in hints.items() if kind in _TEXTS}
    gathered: list[str] = []
    others: list[str] = []
    current = ""  # the option whose values follow
    for option in options:
        name = option.partition("=")[0]
        is_value = not option.startswith("--") and option != "-h"
        if is_value and current in lists:
            if gathered[-1] == current:
                gathered.pop()
            gathered.append(f"{current}={option}")
            continue
        if is_value and current in texts and others[-1] == current:
            others[-1] = f"{current}={option}"
            continue
        (gathered if name in lists else others).append(option)
        if not is_value:
            current = option
    return [*others, *gathered]


def _option(parameter: str) -> str:
    return f"--{parameter.rstrip('_').replace('_', '-')}"
