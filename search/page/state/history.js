/** The state that the page shows now, and its way through the browser's history. */

import { fromUrl, toUrl } from "./url.js";

const listeners = [];
let current = Object.freeze(fromUrl(location.search));

export const now = () => current;

/** Calls a function with the new and the old state whenever it has changed. */
export const onState = (listener) => listeners.push(listener);

/**
 * Changes the state.
 * @param {object} changes fields of the state
 * @param {{replace?: boolean}} options `replace`: without a step in the history, as while a slider moves
 */
export function go(changes, { replace = false } = {}) {
  const next = Object.freeze({ ...current, ...changes });
  const url = toUrl(next);
  if (url === toUrl(current)) return;
  if (replace) history.replaceState({ ...history.state }, "", url);
  else history.pushState({ inside: true }, "", url);
  enter(next);
}

/** Closes what the last step opened: goes back where that step was made on this page, else changes the state. */
export function leave(changes) {
  if (history.state?.inside) history.back();
  else go(changes, { replace: true });
}

function enter(next) {
  const before = current;
  current = next;
  for (const listener of listeners) listener(current, before);
}

addEventListener("popstate", () => enter(Object.freeze(fromUrl(location.search))));
