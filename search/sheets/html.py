"""The style and the frame of all HTML pages that diantu writes."""

from __future__ import annotations

from string import Template

# All of it is nested in one class, so that it touches nothing else where hits are shown inside another page.
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
.score { display: flex; justify-content: space-between; font-variant-numeric: tabular-nums; font-size: .85rem; }
.bar { height: 3px; margin: .3rem 0 .4rem; background: var(--line); border-radius: 2px; }
.bar i { display: block; height: 100%; background: var(--bar); border-radius: 2px; } }
"""


_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style
html { color-scheme: light dark; }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1.25rem; }</style></head><body class=diantu>
<h1>$title</h1>
$sections
</body></html>
""")
