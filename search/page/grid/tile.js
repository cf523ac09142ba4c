/** One hit: its image in a box of the right shape and colour from the start, and what can be done with it. */

import { el } from "../base/dom.js";
import { icon } from "../base/icons.js";
import { number, t } from "../base/i18n.js";
import { thumbnailUrl } from "../service/api.js";
import { now } from "../state/history.js";
import { toUrl } from "../state/url.js";

const SIZES = [320, 512, 768, 1024, 1536, 2048];

/** The size of a thumbnail for a box in CSS pixels: one of few, so that the browser's cache serves other windows too. */
export function thumbnailSize(width, height) {
  const pixels = Math.max(width, height) * Math.min(devicePixelRatio, 2);
  return SIZES.find((size) => size >= pixels) ?? SIZES.at(-1);
}

/** The colour of a box whose image is still on its way: the image's own, subdued. */
export function tint({ dominant_hue: hue, brightness }) {
  if (!Number.isFinite(brightness)) return null;
  const light = Math.round(25 + 55 * brightness);
  return Number.isFinite(hue) ? `hsl(${hue} 22% ${light}%)` : `hsl(40 3% ${light}%)`;
}

/**
 * @param {object|null} hit null while it is on its way
 * @param {{gallery: string, zscores: boolean, isPicked: (row: number) => boolean}} context
 */
export function makeTile(hit, index, width, height, { gallery, isPicked }) {
  const place = { role: "listitem", "aria-posinset": index + 1, "aria-setsize": -1 };
  if (!hit) return el("div", { class: "tile box", ...place });
  const caption = hit.caption || hit.key;
  const image = el("img", {
    src: thumbnailUrl(gallery, hit, thumbnailSize(width, height)), alt: caption, decoding: "async", draggable: "true",
    on: { load: () => tile.classList.add("loaded"), error: () => tile.classList.add("gone") },
  });
  const picked = isPicked(hit.row);
  const tile = el("div", { class: `tile${picked ? " picked" : ""}`, ...place, data: { index, row: hit.row } },
    el("a", { href: toUrl({ ...now(), row: hit.row }), draggable: "false", "aria-label": `${index + 1}. ${caption}` },
      image,
      el("span", { class: "caption", "aria-hidden": "true" },
        el("span", { text: caption, dir: "auto" }),
        hit.folded > 0 && el("span", { class: "mark", text: `+${number(hit.folded)}`, title: t("folded", { count: hit.folded }) }),
        Number.isFinite(hit.zscore) && el("span", { class: "mark", text: `${number(hit.zscore, 1)} σ` }),
      ),
    ),
    button("pick", "check", t("pick"), { "aria-pressed": String(picked) }),
    button("like", "like", t("like")),
  );
  const color = tint(hit.metadata);
  if (color) tile.style.backgroundColor = color;
  if (image.complete && image.naturalWidth) tile.classList.add("loaded", "at-once");
  return tile;
}

const button = (name, drawing, label, attributes = {}) =>
  el("button", { type: "button", class: name, "aria-label": label, title: label, tabindex: "-1", ...attributes }, icon(drawing));
