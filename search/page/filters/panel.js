/** The panel beside the hits: how they are chosen and ordered, and filters made from the gallery's columns. */

import { byId, el } from "../base/dom.js";
import { columnName, inEachLanguage, number, t } from "../base/i18n.js";
import { icon } from "../base/icons.js";
import { remember, remembered } from "../base/remember.js";
import { go, now, onState } from "../state/history.js";
import { zscoresApply } from "../state/request.js";
import { byColumn, INTERNAL } from "./columns.js";
import { choice, section, slider, toggle, words } from "./controls.js";

const WIDE = matchMedia("(min-width: 1000px)"); // beside the hits; otherwise over them
const NONE = -0.5; // the zscore slider's left end: everything is shown
const MOST = 8; // its right end
const SORTED = ["aspect", "width", "height", "brightness", "colorfulness", "contrast", "complexity"];

let gallery = null;
let ownChange = false; // the panel itself has changed the state: what it shows is right, and keeps the focus

export function startFilters() {
  const panel = byId("filters"), button = byId("filters-button");
  button.addEventListener("click", () => (panel.open ? close() : open()));
  panel.addEventListener("close", () => button.setAttribute("aria-expanded", "false"));
  panel.addEventListener("click", (event) => event.target === panel && !WIDE.matches && close());
  WIDE.addEventListener("change", () => {
    if (!panel.open) return;
    panel.close();
    if (WIDE.matches) open({ focus: false });
  });
  onState((state) => {
    if (!ownChange) draw(state);
    count(state);
  });
  inEachLanguage(() => draw(now()));
  if (WIDE.matches && remembered("filters")) open({ focus: false });
  count(now());
}

/** Shows the filters of another gallery, or of the same one with more columns. */
export function setFilterGallery(value) {
  gallery = value;
  draw(now());
}

function open({ focus = true } = {}) {
  const panel = byId("filters");
  if (WIDE.matches) {
    const before = document.activeElement;
    panel.show();
    if (!focus) before?.focus?.({ preventScroll: true });
    remember("filters", true);
  } else panel.showModal();
  byId("filters-button").setAttribute("aria-expanded", "true");
}

export function close() {
  byId("filters").close();
  remember("filters", null);
  byId("filters-button").focus();
}

function count(state) {
  const number = Object.keys(state.filters).length + (state.where.trim() ? 1 : 0) + (state.zscore !== null) + state.fold + (state.diversity > 0);
  const badge = byId("filters-button").querySelector(".count");
  badge.textContent = number || "";
  badge.hidden = number === 0;
}

/** Changes the state without drawing the panel again. */
function change(changes, options) {
  ownChange = true;
  go({ ...changes, row: null }, options);
  ownChange = false;
}

function setFilter(column, filter) {
  const filters = { ...now().filters };
  const empty = filter === null || filter.values?.length === 0 || filter.contains === "" || Object.keys(filter).length === 0;
  if (empty) delete filters[column];
  else filters[column] = filter;
  change({ filters });
}

function draw(state) {
  const panel = byId("filters");
  const top = panel.scrollTop;
  const open = new Set([...panel.querySelectorAll("details[open]")].map((details) => details.dataset.name));
  panel.replaceChildren(
    el("div", { class: "head" },
      el("h2", { text: t("filters") }),
      el("button", { type: "button", class: "text", text: t("reset"), on: { click: reset } }),
      el("button", { type: "button", class: "quiet", "aria-label": t("close"), title: t("close"), on: { click: close } }, icon("close")),
    ),
    ...(gallery ? [...hitsSections(state), ...columnSections(state), condition(state)] : []),
  );
  for (const details of panel.querySelectorAll("details")) details.open ||= open.has(details.dataset.name);
  panel.scrollTop = top;
}

function reset() {
  go({ filters: {}, where: "", missing: false, zscore: null, fold: false, diversity: 0, sort: "", space: "", over: "", row: null });
  byId("filters").querySelector("button")?.focus();
}

function hitsSections(state) {
  const applies = zscoresApply(state, gallery);
  const spaces = gallery.spaces.map(({ name, has_text: text }) => [name, text ? name : `${name} · ${t("looksAlone")}`]);
  return [
    section(t("hits"),
      slider(t("realMatches"), state.zscore ?? NONE, {
        min: NONE, max: MOST, step: 0.5, disabled: !gallery.has_zscores, note: t(gallery.has_zscores ? (applies ? "realMatchesNote" : "zscoresLater") : "noZscores"),
        show: (value) => (value <= NONE ? t("off") : `≥ ${number(value, 1)} σ`),
      }, (value) => change({ zscore: value <= NONE ? null : value }, { replace: true })),
      slider(t("diversity"), state.diversity, {
        min: 0, max: 1, step: 0.05, disabled: state.sort !== "", note: state.sort ? t("diversityOrSort") : null,
        show: (value) => (value === 0 ? t("off") : `${number(100 * value)} %`),
      }, (value) => change({ diversity: value }, { replace: true })),
      toggle(t("fold"), state.fold, (value) => change({ fold: value }), { disabled: !gallery.has_duplicates, note: gallery.has_duplicates ? null : t("noDuplicates") }),
      choice(t("sort"), state.sort, sortOptions(state), (value) => go({ sort: value, ...(value ? { diversity: 0 } : {}), row: null })),
      spaces.length > 1 && choice(t("space"), state.space || spaces[0][0], spaces, (value) => go({ space: value === spaces[0][0] ? "" : value, row: null })),
      gallery.over?.includes("captions") && choice(t("over"), state.over, [["", t("overImages")], ["captions", t("overCaptions")]], (value) => go({ over: value, row: null })),
    ),
  ];
}

function sortOptions(state) {
  const usable = gallery.columns.filter(({ name, kind }) => kind === "range" && !INTERNAL.has(name)).map(({ name }) => name);
  const columns = [...SORTED.filter((name) => usable.includes(name)), ...usable.filter((name) => !SORTED.includes(name))];
  const options = columns.flatMap((name) => [[`-${name}`, `${columnName(name)} ↓`], [name, `${columnName(name)} ↑`]]);
  if (state.sort && !options.some(([key]) => key === state.sort)) options.push([state.sort, state.sort]);
  return [["", t("bySimilarity")], ...options];
}

function columnSections(state) {
  if (gallery.columns_ready === false) return [el("p", { class: "note", text: t("counting") })];
  const made = gallery.columns.map((column) => byColumn(column, state.filters[column.name] ?? {}, (filter) => setFilter(column.name, filter))).filter(Boolean);
  made.sort((a, b) => a.place - b.place);
  const usual = made.filter(({ rare }) => !rare), rare = made.filter((one) => one.rare);
  const more = rare.length > 0 && el("details", { data: { name: "more" }, open: rare.some(({ used }) => used) },
    el("summary", { text: t("moreColumns", { count: rare.length }) }), ...rare.map(({ node }) => node));
  return [...usual.map(({ node }) => node), more].filter(Boolean);
}

function condition(state) {
  return el("details", { data: { name: "condition" }, open: state.where !== "" },
    el("summary", { text: t("condition") }),
    words(t("condition"), state.where, (where) => change({ where }), { long: true, placeholder: "width >= 512 AND punsafe < 0.1" }),
    el("small", { text: t("conditionNote") }),
    toggle(t("keepMissing"), state.missing, (missing) => change({ missing })),
  );
}
