"""What the page says, in its two languages."""

from __future__ import annotations

from typing import TypedDict

# The first one is the default.
LANGUAGES = {"en": "English", "zh": "中文"}


class Words(TypedDict):
    """The texts of the page in one language; `{…}` is filled in."""

    rows: str
    how: str
    text: str
    upload: str
    path: str
    text_help: str
    text_example: str
    upload_help: str
    path_help: str
    options: str
    k: str
    min_zscore: str
    min_zscore_help: str
    where: str
    where_help: str
    none: str
    found: str
    failed: str
    weak: str
    similar: str
    back: str


WORDS: dict[str, Words] = {
    "en": {
        "rows": "{count} images",
        "how": "Search by",
        "text": "Text",
        "upload": "Upload",
        "path": "Image path",
        "text_help": "What do you look for?",
        "text_example": "an old castle by the sea",
        "upload_help": "Drop an image here, or choose one",
        "path_help": "The path of an image on this machine",
        "options": "Options",
        "k": "Number of hits",
        "min_zscore": "Smallest zscore",
        "min_zscore_help": "From about 4 on, only real matches are left. 0 shows all.",
        "where": "Condition",
        "where_help": "SQL over the metadata, for example: width >= 512",
        "none": "No image of the gallery matches.",
        "found": "{count} hits in {ms:.0f} ms",
        "failed": "This search is not possible:",
        "weak": "The image cannot be shown:",
        "similar": "More like this",
        "back": "Back to the search",
    },
    "zh": {
        "rows": "{count} 张图片",
        "how": "搜索方式",
        "text": "文字",
        "upload": "上传图片",
        "path": "图片路径",
        "text_help": "想找什么图？",
        "text_example": "海边的古堡",
        "upload_help": "把图片拖到这里，或点击选择",
        "path_help": "本机上的图片路径",
        "options": "更多选项",
        "k": "结果数量",
        "min_zscore": "最低 zscore",
        "min_zscore_help": "调到 4 左右，只剩真正匹配的图；0 表示全部显示。",
        "where": "过滤条件",
        "where_help": "针对元数据的 SQL 条件，例如：width >= 512",
        "none": "图库里没有符合的图片。",
        "found": "{count} 条结果，用时 {ms:.0f} 毫秒",
        "failed": "无法完成这次搜索：",
        "weak": "图片无法显示：",
        "similar": "找相似的",
        "back": "返回搜索",
    },
}
