"""`diantu delete`."""

from __future__ import annotations

import logging
from pathlib import Path

from ...datasets.conditions import WHERE_SECONDS
from ...datasets.encodings import decode_text
from ...datasets.errors import InputError
from ...datasets.files import open_regular
from ...datasets.text import split_lines
from .common import has_duplicates

log = logging.getLogger(__name__)

# How many unknown keys a warning names.
_SHOWN = 10


def run(
    gallery: str,
    where: str | None = None,
    keys: list[str] = [],  # noqa: B006 - read, never changed
    keys_file: str | None = None,
    dry_run: bool = False,
    where_timeout: float = WHERE_SECONDS,
) -> int:
    """Deletes rows: searches no longer find them, and embedding their shards again does not bring them back.

    Args:
        gallery: the gallery's folder; you may delete while another job runs in it.
        where: delete the rows that match this SQL condition over the metadata, for example 'punsafe > 0.5'.
        keys: delete the rows with these keys.
        keys_file: delete the rows whose keys are in this text file, one per line.
        dry_run: only count the rows; delete nothing.
        where_timeout: seconds that --where may take for each million rows.
    """
    from ...indexing.upkeep.deletion import delete

    given = [name for name, value in (("--where", where), ("--keys", keys), ("--keys-file", keys_file)) if value]
    if len(given) != 1:
        raise InputError(
            f"{' and '.join(given) or 'no rows'} given; say which rows to delete with exactly one of --where, --keys "
            "and --keys-file"
        )
    chosen = _read_keys(Path(keys_file)) if keys_file else keys
    done = delete(
        Path(gallery), where=where, keys=None if where else chosen, dry_run=dry_run, where_timeout=where_timeout
    )
    if done.unknown_keys:
        shown = ", ".join(done.unknown_keys[:_SHOWN]) + (", …" if len(done.unknown_keys) > _SHOWN else "")
        log.warning("%d of %d keys are not in the gallery: %s", len(done.unknown_keys), len(set(chosen)), shown)
    sentence = "%d rows would be deleted, %d are already; %d of %s would be left"
    if not dry_run:
        sentence = "%d rows deleted, %d were already; %d of %s are left"
    log.info(sentence, done.num_deleted, done.num_already, done.num_rows, gallery)
    if done.num_deleted and not dry_run and has_duplicates(Path(gallery)):
        log.info("a deleted image may have represented its near-duplicates; next: diantu dedup --gallery %s", gallery)
    return 0


def _read_keys(path: Path) -> list[str]:
    try:
        with open_regular(path) as file:
            lines = split_lines(decode_text(file.read()))
    except OSError as error:
        raise InputError(
            f"the file of keys {path} cannot be read ({error}); give a text file, one key per line"
        ) from error
    keys = [line for line in lines if line]
    if not keys:
        raise InputError(f"the file of keys {path} is empty; give one key per line")
    return keys
