/** The search bar: text while it is typed, and pictures that are chosen, dropped or pasted. */

import { byId, debounce } from "../base/dom.js";
import { t } from "../base/i18n.js";
import { toast } from "../base/toast.js";
import { go, now, onState } from "../state/history.js";
import { NO_QUERY, term } from "../state/state.js";
import { keepPicture } from "./pictures.js";

const PAUSE = 180; // milliseconds without a key before the text is searched for
const REST = 2500; // milliseconds without a search after which the text is a step of the history of its own

export function startBar() {
  const text = byId("text"), file = byId("file");
  let typing = -Infinity; // when the text that is being typed was last searched for; it is one step of the history
  let composing = false; // an input method shows letters that are not yet the text
  const search = () => {
    if (text.value === now().text) return;
    go({ text: text.value, row: null }, { replace: performance.now() - typing < REST });
    typing = performance.now();
  };
  const soon = debounce(PAUSE, search);
  text.addEventListener("compositionstart", () => (composing = true));
  text.addEventListener("compositionend", () => {
    composing = false;
    soon();
  });
  text.addEventListener("input", () => composing || soon());
  text.addEventListener("blur", () => {
    soon.cancel();
    search();
    typing = -Infinity;
  });
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    soon.cancel();
    search();
    typing = -Infinity;
    if (matchMedia("(pointer: coarse)").matches) text.blur(); // the keyboard covers the hits
  });
  byId("clear").addEventListener("click", () => {
    soon.cancel();
    go(NO_QUERY);
    text.focus();
  });
  byId("brand").addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    go({ ...NO_QUERY, filters: {}, where: "", zscore: null, sort: "", diversity: 0 });
    scrollTo({ top: 0 });
  });
  byId("upload").addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    searchPictures([...file.files]);
    file.value = "";
  });
  onState((state) => show(state, text));
  show(now(), text);
  startDrop();
  document.addEventListener("paste", (event) => {
    const pictures = picturesIn(event.clipboardData);
    if (!pictures.length) return;
    event.preventDefault();
    searchPictures(pictures);
  });
}

function show(state, text) {
  if (text.value.trim() !== state.text.trim() || document.activeElement !== text) text.value = state.text;
  byId("clear").hidden = !(state.text || state.terms.length);
  byId("heading").textContent = state.text || t("results");
  document.title = state.text ? `${state.text} · diantu` : "diantu 垫图";
}

const picturesIn = (transfer) => [...(transfer?.files ?? [])].filter((file) => file.type.startsWith("image/") || file.type === "");

/** Searches with pictures instead of what was searched for before. */
async function searchPictures(files) {
  const pictures = files.filter((file) => file.size > 0);
  if (!pictures.length) return toast(t("notPicture"));
  try {
    const ids = await Promise.all(pictures.map(keepPicture));
    go({ ...NO_QUERY, terms: ids.map((id) => term("picture", id)) });
    scrollTo({ top: 0 });
  } catch {
    toast(t("notPicture"));
  }
}

/** Dropping a picture anywhere searches with it; a tile of the page itself is dropped as its row. */
function startDrop() {
  const veil = byId("drop");
  let depth = 0; // dragenter and dragleave come for every element on the way
  let row = null;
  document.addEventListener("dragstart", (event) => (row = event.target.closest?.(".tile")?.dataset.row ?? null));
  document.addEventListener("dragend", () => {
    row = null;
    depth = 0;
    veil.hidden = true;
  });
  const takes = (event) => row !== null || [...(event.dataTransfer?.types ?? [])].includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (!takes(event)) return;
    depth++;
    veil.hidden = row !== null;
  });
  document.addEventListener("dragleave", (event) => {
    if (!takes(event)) return;
    depth = Math.max(0, depth - 1);
    if (depth === 0) veil.hidden = true;
  });
  document.addEventListener("dragover", (event) => takes(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!takes(event)) return;
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    if (row !== null) {
      if (event.target.closest(".bar, .terms")) go({ ...NO_QUERY, terms: [term("row", row)] });
    } else searchPictures(picturesIn(event.dataTransfer));
    row = null;
  });
}
