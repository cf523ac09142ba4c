"""COCO's captions: one JSON file with `images` and `annotations` → rows of a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..text import parse_json


def parse_json_table(text: str) -> list[dict[str, Any]]:
    """The rows of a JSON file: a list of objects, or COCO's captions.

    An image of COCO has one row for each of its annotations, at least one: the image's fields, `caption`, and the name
    of the licence in place of its number. Format: https://cocodataset.org/#format-data

    Raises:
        ValueError: if it is neither.
    """
    data = parse_json(text)
    if isinstance(data, list) and all(isinstance(row, dict) for row in data):
        return data
    if isinstance(data, dict) and all(isinstance(data.get(name), list) for name in ("images", "annotations")):
        return list(_rows(data))
    raise ValueError("it holds neither a list of objects, nor `images` and `annotations` as COCO has them")


def _rows(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    captions: dict[Any, list[Any]] = {}
    for annotation in filter(_is_object, data["annotations"]):
        if annotation.get("caption") is not None:
            captions.setdefault(_id(annotation.get("image_id")), []).append(annotation["caption"])
    given = data.get("licenses")
    licences = {
        _id(each.get("id")): each.get("name") for each in filter(_is_object, given if isinstance(given, list) else [])
    }
    for image in filter(_is_object, data["images"]):
        fields = {name: value for name, value in image.items() if name not in ("id", "caption")}
        if (licence := licences.get(_id(image.get("license")))) is not None:
            fields["license"] = licence
        for caption in captions.get(_id(image.get("id")), [image.get("caption")]):
            yield {**fields, "caption": caption}


def _id(value: Any) -> Any:
    """A number or a text; anything else is no id."""
    return value if isinstance(value, (int, str)) else None


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)
