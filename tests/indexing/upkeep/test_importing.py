"""Imports of what other tools wrote, also where it is odd."""

from __future__ import annotations

import json
import random
from itertools import chain
from pathlib import Path
from typing import Any

import foreign_tables
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing import rounds
from galleries import DIM, SPEC, unit

from diantu.datasets import InputError
from diantu.datasets.checksums import sealed, unsealed
from diantu.datasets.conditions import identifier
from diantu.datasets.files import sha256_of_file
from diantu.datasets.values import as_text
from diantu.indexing.store.columns import Columns
from diantu.indexing.store.filters import Filters
from diantu.indexing.store.layout import metadata_path
from diantu.indexing.store.manifest import read_manifest
from diantu.indexing.store.parts import read_failures
from diantu.indexing.store.snapshot import Snapshot
from diantu.indexing.store.tables import COLUMNS
from diantu.indexing.upkeep.importing import import_vectors
from diantu.search import Gallery


def write(root: Path, table: pa.Table, emb_ND: np.ndarray | None = None, number: str = "0") -> Path:
    """A part as `clip-retrieval inference` writes it."""
    for name in ("img_emb", "metadata"):
        (root / name).mkdir(parents=True, exist_ok=True)
    np.save(root / "img_emb" / f"img_emb_{number}.npy", unit(1, len(table)) if emb_ND is None else emb_ND)
    pq.write_table(table, root / "metadata" / f"metadata_{number}.parquet")
    return root


def imported(root: Path, table: pa.Table) -> list[dict[str, Any]]:
    """The rows that an import makes of a table, without missing values."""
    import_vectors(write(root / "theirs", table), root / "gallery", SPEC)
    rows = pq.read_table(metadata_path(root / "gallery", 0)).to_pylist()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        ({"width": [float("nan")]}, {}),
        ({"width": [""]}, {"table_width": ""}),
        ({"width": ["384"], "height": [384.0]}, {"width": 384, "height": 384}),
        ({"width": [38.5], "height": [-1]}, {"table_width": 38.5, "table_height": -1}),
        ({"WIDTH": [4000], "width": [384]}, {"width": 384, "table_WIDTH": 4000}),
        ({"WIDTH": [4000]}, {"width": 4000}),
        ({"caption": [["x", None, "y", "x"]]}, {"caption": "x", "captions": ["x", "y"]}),
        ({"caption": [5]}, {"caption": "5"}),
        ({"caption": [None], "TEXT": ["a"]}, {"caption": "a"}),
        ({"key": [0], "image_path": ["a/b.jpg"]}, {"key": "0", "image_path": "a/b.jpg"}),
        ({"key": [None], "image_path": ["a/b.jpg"]}, {"key": "b", "image_path": "a/b.jpg"}),
        ({"image_path": [1]}, {"key": "1", "image_path": "1"}),
        ({"metadata": [{"licence": "CC0", "width": 384}]}, {"licence": "CC0", "width": 384}),
        ({"metadata": ['{"length": 220, "caption": "json"}'], "caption": ["own"]},
         {"table_length": 220, "caption": "own", "table_caption": "json"}),
        ({"width": ["384"], "height": ["1_000"]}, {"width": 384, "table_height": "1_000"}),
        ({"metadata": ["[1, 2]"]}, {"metadata": "[1, 2]"}),
        ({"metadata": ["{ no JSON"]}, {"metadata": "{ no JSON"}),
        ({"score": [3], "shard": ["s"], "Brightness": [7]}, {"table_score": 3, "table_shard": "s",
                                                             "table_Brightness": 7}),
    ],
)  # fmt: skip
def test_odd_columns_are_kept(tmp_path: Path, columns: dict[str, list[Any]], row: dict[str, Any]) -> None:
    assert imported(tmp_path, pa.table(columns)) == [{"key": "00000_00000000", **row}]


@pytest.mark.fuzz
def test_any_columns_can_be_imported_and_filtered(tmp_path: Path) -> None:
    rng = random.Random(3)
    names = ("a", "A", "width", "length", "score", "caption", "TEXT", "url", "key", "metadata", "选", "a.b", "")
    for number in range(rounds(5)):
        num_rows = rng.randrange(1, 4)
        columns = [(rng.choice(names), foreign_tables.random_column(rng, num_rows)) for _ in range(4)]
        table = pa.Table.from_arrays([column.array for _, column in columns], names=[name for name, _ in columns])
        root = tmp_path / str(number)
        rows = imported(root, table)
        for name, column in columns:
            for row, value in zip(rows, column.values or [], strict=column.values is not None):
                lists = [each for each in row.values() if isinstance(each, list)]  # captions: their items are texts
                held = {as_text(held).strip() for held in [*row.values(), *chain.from_iterable(lists)]}
                items = value if isinstance(value, list) else [value]
                if name == "metadata" and isinstance(value, str) and value.startswith("{"):
                    items = list(json.loads(value).values())  # an object's fields become columns
                blank = value in (None, "", [])
                assert (
                    blank
                    or value in list(row.values())  # a width of -0.0 is 0
                    or as_text(value).strip() in held
                    or all(item in (None, "") or as_text(item) in held for item in items)
                ), (columns, row)
        columns_of_gallery = Columns(Snapshot.read(root / "gallery"))
        filters = Filters(columns_of_gallery)
        for name in (name for name in columns_of_gallery.names if name not in COLUMNS):
            filters.rows(f"{identifier(name)} IS NOT NULL")


@pytest.mark.parametrize("dtype", ["float32", "float64", ">f4", "int8"])
def test_vectors_of_any_numbers_become_unit_vectors(tmp_path: Path, dtype: str) -> None:
    given = np.arange(1, 4 * DIM + 1).reshape(4, DIM).astype(dtype)
    done = import_vectors(write(tmp_path / "c", pa.table({"n": [0, 1, 2, 3]}), given), tmp_path / "g", SPEC)
    assert (done.num_converted, done.num_empty) == (1, 0)
    expected = given.astype(float) / np.linalg.norm(given.astype(float), axis=1, keepdims=True)
    np.testing.assert_allclose(Gallery.open(tmp_path / "g").vectors(range(4)), expected, atol=1e-3)


def test_very_large_and_very_small_vectors_keep_their_direction(tmp_path: Path) -> None:
    given = np.asfortranarray(unit(2, 3).astype(np.float64) * np.array([[1e300], [1e-300], [1]]))
    import_vectors(write(tmp_path / "c", pa.table({"n": [0, 1, 2]}), given), tmp_path / "g", SPEC)
    np.testing.assert_allclose(Gallery.open(tmp_path / "g").vectors(range(3)), unit(2, 3), atol=1e-3)


def test_rows_without_a_direction_are_left_out_and_listed(tmp_path: Path) -> None:
    given = unit(3, 5)
    given[1], given[3, 2] = 0, np.inf
    table = pa.table({"key": list("abcde"), "caption": list("ABCDE")})
    assert import_vectors(write(tmp_path / "c", table, given), tmp_path / "g", SPEC).num_empty == 2
    gallery = Gallery.open(tmp_path / "g")
    hits = gallery.search(vector=-given[0], k=5)
    assert sorted((hit.key, hit.caption) for hit in hits) == [("a", "A"), ("c", "C"), ("e", "E")]
    assert gallery.search(vector=given[4], k=1)[0].key == "e"
    assert [failure["key"] for failure in read_failures(tmp_path / "g", 0)] == ["b", "d"]


def test_rows_that_an_older_import_kept_as_zeros_are_never_found(tmp_path: Path) -> None:
    import_vectors(write(tmp_path / "c", pa.table({"key": list("abcd")}), unit(4, 4)), tmp_path / "g", SPEC)
    path = tmp_path / "g" / "img_emb" / "img_emb_00000.npy"
    emb_ND = np.load(path)
    emb_ND[0], emb_ND[2] = 0, np.nan
    path.unlink()
    np.save(path, emb_ND)
    record = tmp_path / "g" / "parts" / "00000.json"
    fields, _ = unsealed(record.read_bytes())
    fields["files"]["img_emb/img_emb_00000.npy"]["sha256"] = sha256_of_file(path)
    record.write_bytes(sealed(fields))
    gallery = Gallery.open(tmp_path / "g")
    query = -(emb_ND[1] + emb_ND[3]).astype(np.float32)
    for options in ({}, {"diversity": 0.9}, {"where": "key <= 'd'"}, {"effort": "exact"}):
        assert sorted(hit.key for hit in gallery.search(vector=query, k=3, **options)) == ["b", "d"]


@pytest.mark.parametrize("numbers", [("1", "01"), ("run_a_0", "run_b_0")])
def test_two_files_with_one_number_are_refused_by_name(tmp_path: Path, numbers: tuple[str, str]) -> None:
    for number in numbers:
        write(tmp_path / "c", pa.table({"n": [1]}), number=number)
    with pytest.raises(InputError, match="have the same number") as error:
        import_vectors(tmp_path / "c", tmp_path / "g", SPEC)
    assert all(f"img_emb_{number}.npy" in str(error.value) for number in numbers)
    assert not (tmp_path / "g").exists()


def test_files_that_cannot_be_used_are_refused_in_one_sentence(tmp_path: Path) -> None:
    root = write(tmp_path / "c", pa.table({"n": [1]}))
    vectors, metadata = root / "img_emb" / "img_emb_0.npy", root / "metadata" / "metadata_0.parquet"
    whole = metadata.read_bytes()
    for values in (np.zeros((1, DIM), "V2"), np.zeros((1, DIM), complex), np.array([[None] * DIM], object)):
        np.save(vectors, values)
        with pytest.raises(InputError, match=r"img_emb_0\.npy (holds values of|is not an \.npy file)"):
            import_vectors(root, tmp_path / "g", SPEC)
    np.save(vectors, unit(0, 1))
    metadata.write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"metadata_0\.parquet cannot be read as a parquet file"):
        import_vectors(root, tmp_path / "g", SPEC)
    metadata.write_bytes(whole)
    (root / "img_emb" / "img_emb.npy").write_bytes(b"")
    with pytest.raises(InputError, match="has no number"):
        import_vectors(root, tmp_path / "g", SPEC)
    (root / "img_emb" / "img_emb.npy").rename(root / "img_emb" / "._img_emb_0.npy")
    assert import_vectors(root, tmp_path / "g", SPEC).num_rows == 1
    assert read_manifest(tmp_path / "g").num_rows == 1
