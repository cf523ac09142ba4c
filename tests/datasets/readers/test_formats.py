"""The table of readers: a row of metadata → the reader of its shard → the bytes of the image."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import jpeg, write_tar

from diantu.datasets import Entry, Place, ShardError, Span, find_shards, locate, read_span, scan


def place_of(shard: str, entry: Entry) -> Place:
    """What a gallery stores of an entry."""
    return Place(shard=shard, offset=entry.image.offset, length=entry.image.length, image_path=entry.image_path)


def write_parquet(path: Path) -> Path:
    pq.write_table(pa.table({"a/b": [jpeg(i) for i in range(3)]}), path)
    return path


def write_folder(path: Path) -> Path:
    path.mkdir()
    for i in range(3):
        (path / f"{i}.jpg").write_bytes(jpeg(i))
    return path


def write_images_tar(path: Path) -> Path:
    return write_tar(path, [(f"{i}.jpg", jpeg(i)) for i in range(3)])


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.tar", write_images_tar),
        ("A.TAR", write_images_tar),
        ("a.parquet", write_parquet),
        ("A.Parquet", write_parquet),
        ("photos", write_folder),
        ("photos.2024", write_folder),
        ("photos.tar", write_folder),
        ("photos.tar.gz", write_folder),
        ("photos.parquet", write_folder),
    ],
)
def test_the_stored_columns_lead_back_to_the_image(tmp_path: Path, name: str, write) -> None:
    (shard,) = find_shards(str(write(tmp_path / name)))
    entries = list(scan(shard).entries)
    assert [read_span(locate(place_of(shard.uri, entry))) for entry in entries] == [jpeg(i) for i in range(3)]
    assert [read_span(pickle.loads(pickle.dumps(entry.image))) for entry in entries] == [jpeg(i) for i in range(3)]


@pytest.mark.parametrize("uri", ["memory://bucket/photos", "memory://bucket/2024.tar"])
def test_remote_folders_lead_back_to_the_image(uri: str) -> None:
    import fsspec

    fsspec.filesystem("memory").pipe_file(f"{uri}/sub/x.jpg", jpeg(1))
    (shard,) = find_shards(uri)
    (entry,) = scan(shard).entries
    assert read_span(locate(place_of(shard.uri, entry))) == jpeg(1)


def test_a_tar_without_the_ending_of_one_leads_back_to_the_image(tmp_path: Path) -> None:
    write_images_tar(tmp_path / "shard")
    (found,) = find_shards(str(write_images_tar(tmp_path / "a.tar")))
    entry = next(iter(scan(found).entries))
    assert read_span(locate(place_of(str(tmp_path / "shard"), entry))) == jpeg(0)


def test_a_row_of_an_unknown_shard_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.rar").write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match=r"no installed reader can read .*a\.rar"):
        locate(Place(shard=str(tmp_path / "a.rar"), offset=None, length=None, image_path="x.jpg"))


@pytest.mark.parametrize("member", ["image/7", "image/x", "other/0", ""])
def test_a_cell_that_does_not_exist_is_an_os_error(tmp_path: Path, member: str) -> None:
    path = write_parquet(tmp_path / "a.parquet")
    with pytest.raises(OSError, match=r"a\.parquet has no "):
        read_span(Span(uri=str(path), member=member, format="parquet"))


def test_a_span_past_the_end_of_its_file_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"12345")
    with pytest.raises(OSError, match="ends at byte 5, 2 bytes too soon"):
        read_span(Span(uri=str(tmp_path / "a.tar"), offset=3, length=4))


def test_a_member_needs_the_format_of_its_reader() -> None:
    with pytest.raises(ValueError, match="must name the format of its reader"):
        Span(uri="a.zip", member="x.jpg")


def test_imported_rows_have_no_shard_to_scan() -> None:
    from diantu.datasets import Shard

    with pytest.raises(ShardError, match="were imported as vectors"):
        scan(Shard(uri="/img_emb_0.npy", format="imported", size_bytes=0))
