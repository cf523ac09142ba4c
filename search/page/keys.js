/** The keys of the page, and the dialog that lists them. */

import { byId, el } from "./base/dom.js";
import { icon } from "./base/icons.js";
import { t } from "./base/i18n.js";

const LIST = [
  [["/"], "keySearch"], [["←", "→", "↑", "↓"], "keyMove"], [["Enter"], "keyOpen"], [["X"], "keyPick"],
  [["B"], "keyBasket"], [["M"], "keyLike"], [["F"], "keyFilters"], [["Esc"], "keyBack"], [["?"], "keyHelp"],
];

const inField = (target) => target.matches("input:not([type=checkbox], [type=radio], [type=range]), textarea, select");

/**
 * @param {import("./grid/grid.js").Grid} grid
 * @param {{pick: Function, basket: Function, like: Function, filters: Function, escape: Function}} acts
 */
export function startKeys(grid, acts) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog:modal")) return;
    const tile = event.target.closest?.(".tile");
    if (inField(event.target)) {
      if (event.target.id === "text" && event.key === "ArrowDown") move(event, grid.firstVisible(), grid);
      if (event.key === "Escape" && event.target.id === "text") event.target.blur();
      return;
    }
    const single = { "/": search, "?": showKeys, f: acts.filters }[event.key];
    if (single) {
      event.preventDefault();
      return single();
    }
    if (event.key === "Escape") return acts.escape();
    if (tile) onTile(event, Number(tile.dataset.index), grid, acts);
    else if (event.key.startsWith("Arrow") && event.target === document.body && event.key !== "ArrowUp") move(event, grid.firstVisible(), grid);
  });
}

function search() {
  byId("text").focus();
  byId("text").select();
}

function onTile(event, index, grid, acts) {
  const to = {
    ArrowLeft: () => index - 1, ArrowRight: () => index + 1, ArrowUp: () => grid.beside(index, -1) ?? -1,
    ArrowDown: () => grid.beside(index, 1) ?? -1, Home: () => 0, End: () => grid.lastIndex,
  }[event.key];
  if (to) {
    const next = to();
    if (event.key === "ArrowUp" && next < 0) {
      event.preventDefault();
      return search();
    }
    return move(event, next, grid);
  }
  const act = { x: acts.pick, b: acts.basket, m: acts.like }[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act(index);
}

function move(event, index, grid) {
  event.preventDefault();
  grid.activate(index);
}

export function showKeys() {
  const dialog = byId("keys");
  dialog.replaceChildren(
    el("div", { class: "head" }, el("h2", { text: t("keys") }),
      el("button", { type: "button", class: "quiet", "aria-label": t("close"), title: t("close"), on: { click: () => dialog.close() } }, icon("close"))),
    el("dl", {}, ...LIST.flatMap(([keys, label]) => [el("dt", {}, ...keys.map((key) => el("kbd", { text: key }))), el("dd", { text: t(label) })])),
  );
  dialog.onclick = (event) => event.target === dialog && dialog.close();
  dialog.showModal();
}
