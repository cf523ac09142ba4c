/** What stands above the hits where nothing is searched for: how many images there are, and words to begin with. */

import { byId, el } from "../base/dom.js";
import { icon } from "../base/icons.js";
import { currentLanguage, t } from "../base/i18n.js";
import * as api from "../service/api.js";
import { go, now } from "../state/history.js";
import { isFiltered, isQuery } from "../state/state.js";

const LONGEST = 28; // characters of a caption that is offered as a query
const OFFERED = 5, READ = 12;

let offered = null; // {key, texts}

export function showIntro(state, gallery, results) {
  const root = byId("intro");
  root.hidden = isQuery(state) || isFiltered(state) || gallery.rows === 0;
  if (root.hidden) return;
  const key = `${gallery.name} ${currentLanguage()} ${state.seed}`;
  if (root.dataset.key !== key) {
    root.dataset.key = key;
    root.replaceChildren(
      el("h2", { text: t("count", { count: gallery.rows }) }),
      el("p", { text: t("invitation") }),
      el("div", { class: "offers" }),
    );
    offered = null;
  }
  if (results?.count && offered !== key) {
    offered = key;
    offer(root.querySelector(".offers"), gallery, results);
  }
}

/** Short captions of the first rows, in the language of the page where the gallery has them in it. */
async function offer(root, gallery, results) {
  const own = `caption_${currentLanguage()}`;
  const hits = Array.from({ length: Math.min(READ, results.count) }, (_, index) => results.item(index)).filter(Boolean);
  let texts = hits.map((hit) => hit.caption);
  if (gallery.columns.some(({ name }) => name === own)) {
    const answer = await api.rows(gallery.name, hits.map(({ row }) => row), [own]).catch(() => ({ rows: [] }));
    texts = answer.rows.map(({ metadata }) => metadata[own]);
  }
  const short = [...new Set(texts.filter((text) => typeof text === "string" && text.trim() && text.length <= LONGEST))].slice(0, OFFERED);
  root.replaceChildren(
    ...short.map((text) => el("button", { type: "button", text, dir: "auto", on: { click: () => go({ text }) } })),
    el("button", { type: "button", class: "shuffle", title: t("shuffle"), "aria-label": t("shuffle"), on: { click: () => go({ seed: now().seed + 1 }) } }, icon("shuffle")),
  );
}
