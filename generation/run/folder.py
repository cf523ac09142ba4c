"""The folder of a run: the requests, the plan, and whether another job may continue the run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...datasets import InputError, checksums
from ...datasets.files import TEMPORARY, refuse_unless_damaged, remove_temporary, sha256
from ..requests import GenerationRequest
from .planned import Planned

FORMAT, VERSION = "diantu-run", 1
LOCK = "run.lock"
RUN, PLAN, REQUESTS = "run.json", "plan.jsonl", "requests.jsonl"
# Files that a job leaves in a new folder if it is killed before its plan is complete.
_BEFORE_RUN = (LOCK, PLAN, REQUESTS, *(name + TEMPORARY for name in (RUN, PLAN, REQUESTS)), *checksums.LEFT_BEHIND)
# Values below this key may differ between two jobs of the same run, with a warning that pictures may differ slightly.
_VERSIONS = "versions"


def open_plan(
    root: Path, requests: Sequence[GenerationRequest], config: Mapping[str, Any]
) -> tuple[list[Planned], Mapping[str, Any]] | None:
    """Opens the plan of the run in a folder.

    Args:
        root: the folder.
        requests: the requests of this job.
        config: all that decides the pictures beside the requests, as JSON values.

    Returns:
        The plan and the content of `run.json`; None if the folder has no run yet.

    Raises:
        InputError: if the folder holds something else, or a run of other requests or another configuration.
    """
    if not (root / RUN).exists():
        if any(path.name not in _BEFORE_RUN for path in root.iterdir()):
            raise InputError(f"{root} is not empty and holds no run; give a new folder or the folder of a run")
        return None
    try:
        noted = json.loads(_checked(root, RUN).decode("utf-8"))
        if noted["format"] != FORMAT or noted["version"] > VERSION:
            raise InputError(
                f"{root / RUN} has the format {noted['format']} {noted['version']}, and diantu reads {FORMAT} up to "
                f"{VERSION}; install a newer diantu"
            )
        theirs = [json.loads(line) for line in _lines(_checked(root, REQUESTS))]
        data = _checked(root, PLAN)
        if sha256(data) != noted["plan_sha256"]:
            raise ValueError(f"{PLAN} has changed since it was written")
        plan = [Planned.from_json(json.loads(line)) for line in _lines(data)]
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        refuse_unless_damaged(error, root / RUN)
        raise InputError(f"the run in {root} is damaged ({error}); give another folder") from error
    _refuse_other(root, theirs, _plain([request.to_json() for request in requests]))
    _refuse_other_config(root, noted["config"], _plain(config))
    remove_temporary(root)
    checksums.settle(root)
    return plan, noted


def write_plan(
    root: Path,
    requests: Sequence[GenerationRequest],
    config: Mapping[str, Any],
    plan: Sequence[Planned],
    facts: Mapping[str, Any],
) -> Mapping[str, Any]:
    """Writes a new run into its folder. `run.json` comes last: with it, the run exists.

    Args:
        root: the folder.
        requests: the requests of the run.
        config: all that decides the pictures beside the requests.
        plan: the decisions.
        facts: further facts about the run.

    Returns:
        The content of `run.json`.
    """
    checksums.write_checked(root, REQUESTS, _jsonl(request.to_json() for request in requests))
    data = _jsonl(picture.to_json() for picture in plan)
    checksums.write_checked(root, PLAN, data)
    facts = {**facts, "plan_sha256": sha256(data), "checksums": True}
    noted = _plain({"format": FORMAT, "version": VERSION, "config": config, **facts})
    checksums.write_checked_json(root, RUN, noted)
    return noted


def changed_versions(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Returns the packages whose versions differ from those in the plan, each as `torch 2.6 → 2.7`."""
    before, now = (dict(_leaves(config, only_versions=True)) for config in (theirs, _plain(ours)))
    return [
        f"{path.rpartition('.')[2]} {before.get(path)} → {now.get(path)}"
        for path in sorted({*before, *now})
        if before.get(path) != now.get(path)
    ]


def _refuse_other(root: Path, theirs: Sequence[Any], ours: Sequence[Any]) -> None:
    if len(theirs) != len(ours):
        raise _other(root, f"of {len(theirs)} requests", f"{len(ours)}")
    for number, (one, other) in enumerate(zip(theirs, ours, strict=True), start=1):
        for path in _differing(one, other):
            raise _other(root, *(f"{path} {_of(side, path)} in request {number}" for side in (one, other)))


def _refuse_other_config(root: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    for path in _differing(theirs, ours):
        raise _other(root, *(f"{path} {_of(side, path)}" for side in (theirs, ours)))


def _other(root: Path, theirs: str, ours: str) -> InputError:
    return InputError(
        f"the run in {root} was planned with {theirs}, this job has {ours}; give the same to go on, or another folder"
    )


def _differing(one: Any, other: Any) -> list[str]:
    before, now = dict(_leaves(one)), dict(_leaves(other))
    return [path for path in {**before, **now} if before.get(path) != now.get(path)]


def _of(value: Any, path: str) -> str:
    leaf = dict(_leaves(value)).get(path)
    shown = "none" if leaf is None else json.dumps(leaf, ensure_ascii=False)
    return shown if len(shown) <= 100 else f"{shown[:99]}…"


def _leaves(value: Any, path: str = "", *, only_versions: bool = False) -> Iterator[tuple[str, Any]]:
    """Yields the values of nested objects by their paths: only those of versions, or all others."""
    if not isinstance(value, Mapping):
        yield path, value
        return
    for name, inner in value.items():
        below = f"{path}.{name}" if path else name
        if name == _VERSIONS:
            if only_versions:
                yield from _leaves(inner, below)
        elif isinstance(inner, Mapping):
            yield from _leaves(inner, below, only_versions=only_versions)
        elif not only_versions:
            yield below, inner


def _plain(value: Any) -> Any:
    """Returns values as JSON gives them back: lists instead of tuples."""
    return json.loads(json.dumps(value))


def _checked(root: Path, name: str) -> bytes:
    try:
        return checksums.read_checked(root, name)
    except checksums.DamagedError as error:
        raise ValueError(f"{name} {error}") from error


def _jsonl(values: Any) -> bytes:
    return b"".join((json.dumps(value, ensure_ascii=False) + "\n").encode() for value in values)


def _lines(data: bytes) -> list[bytes]:
    return [line for line in data.split(b"\n") if line]
