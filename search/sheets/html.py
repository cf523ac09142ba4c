"""The style and the template of all HTML pages that diantu writes, and how texts, images and links go into them.

Pages are made of `Html` only. Its methods `format` and `join` escape everything that is not `Html` itself, so text of
users and strangers cannot become markup.
"""

from __future__ import annotations

import base64
import io
from string import Template
from typing import Any
from urllib.parse import urlsplit

from markupsafe import Markup, escape
from PIL import Image

from ...datasets import display

# All rules are nested in one class, so that they affect nothing else when hits are shown inside another page.
STYLE = """
.diantu { color-scheme: light dark; --line: #8884; --dim: #888; --bar: #2a7de1;
font: 15px/1.45 system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif;
h1 { font-size: 1.35rem; font-weight: 600; margin: 0 0 .25rem; }
section { margin: 2.25rem 0; }
section > header { display: flex; align-items: center; gap: .75rem; margin-bottom: .75rem; }
h2 { font-size: 1.1rem; font-weight: 600; margin: 0; } header img { height: 56px; border-radius: 6px; }
.dim { color: var(--dim); font-size: .85rem; } a { color: inherit; }
.hits { display: grid; grid-template-columns: repeat(auto-fill, minmax(160px, 1fr)); gap: 1rem; }
figure { margin: 0; border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
figure > img, figure > .gone { display: block; width: 100%; aspect-ratio: 4/3; object-fit: contain; background: #8881; }
figure > .gone { display: grid; place-items: center; color: var(--dim); font-size: .85rem; }
figcaption { padding: .5rem .6rem .6rem; overflow-wrap: anywhere; }
/* Long texts are cut, and each runs in its own direction; all of a text is in the tooltip or below the picture. */
h1, h2, .clip { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 4; overflow: hidden;
overflow-wrap: anywhere; unicode-bidi: plaintext; }
.score { display: flex; justify-content: space-between; font-variant-numeric: tabular-nums; font-size: .85rem; }
.bar { height: 3px; margin: .3rem 0 .4rem; background: var(--line); border-radius: 2px; }
.bar i { display: block; height: 100%; background: var(--bar); border-radius: 2px; } }
"""

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="$policy"><meta name="referrer" content="no-referrer">
<title>$title</title>
<style>$style
html { color-scheme: light dark; }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1.25rem; }</style></head><body class=diantu>
$body
</body></html>
""")
# A page shows the images inside it. It runs no code, loads nothing, and sends nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
THUMBNAIL = 320  # pixels of the long side: twice the size on the page, so that images are sharp on dense screens


class Html(Markup):
    """Markup. What `format` and `join` insert is escaped unless it is `Html`; controls become visible.

    >>> Html("<b title='{}'>{}</b>").format("it's", "a < b")
    Html("<b title='it&#39;s'>a &lt; b</b>")
    """

    @classmethod
    def escape(cls, s: Any, /) -> Html:
        """Returns a value as `Html`: a text is escaped."""
        return cls(escape(s if isinstance(s, Markup) else display.lines(s)))


def number(value: object, form: str) -> str:
    """Returns a number in a format of Python; anything else, which a file that was edited may hold, as text."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return format(value, form) if is_number else display.one_line(value)


def page(title: str, body: Html, *, style: str = "") -> str:
    """Returns a complete HTML page that loads nothing from elsewhere.

    Args:
        title: plain text, shown by the browser; the body has its own heading.
        body: its content.
        style: CSS rules beside `STYLE`.
    """
    return _PAGE.substitute(style=STYLE + style, policy=_POLICY, title=Html.escape(title), body=Html.escape(body))


def inline(image: Image.Image, size: int = THUMBNAIL) -> Html:
    """Returns an image as the quoted value of `src`, at most `size` pixels wide and high."""
    image = image.copy()
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=85)
    return Html(f"'data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}'")


def link(url: object, text: object) -> Html:
    """Returns a text that links to a URL. Only http and https become links, so that `javascript:` does not."""
    if not _is_web(url):
        return Html.escape(text)
    return Html("<a href='{}' rel='noreferrer noopener'>{}</a>").format(url, text)


def _is_web(url: object) -> bool:
    """Whether a value is a URL of the web. A URL with controls is not one, because browsers remove some of them."""
    if not isinstance(url, str) or display.one_line(url) != url or " " in url:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
