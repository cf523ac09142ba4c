/** Short notes at the edge of the page. */

import { byId, el } from "./dom.js";

const SECONDS = 5;

/** Shows a note for some seconds; `action` is `{label, act}`, a button beside it. */
export function toast(text, action = null) {
  const note = el("div", { class: "toast" }, el("span", { text, dir: "auto" }));
  const leave = () => note.remove();
  if (action) {
    const act = () => {
      leave();
      action.act();
    };
    note.append(el("button", { type: "button", text: action.label, on: { click: act } }));
  }
  byId("toasts").append(note);
  setTimeout(leave, 1000 * (action ? 2 * SECONDS : SECONDS));
}
