/** The further parts of a query as chips: each with its sign, its weight and a way to remove it; and a field for more. */

import { byId, el } from "../base/dom.js";
import { icon } from "../base/icons.js";
import { inEachLanguage, number, t } from "../base/i18n.js";
import { thumbnailUrl } from "../service/api.js";
import { go, now, onState } from "../state/history.js";
import { isQuery, term } from "../state/state.js";
import { pictureBlob } from "./pictures.js";

const WEIGHTS = [1, 0.5, 0.25, 2];
const urls = new Map(); // id of a picture → its `blob:` URL

export function startTerms(galleryName) {
  const draw = () => show(now(), galleryName());
  onState((state, before) => (state.terms !== before.terms || isQuery(state) !== isQuery(before)) && draw());
  inEachLanguage(draw);
}

function show(state, gallery) {
  const root = byId("terms");
  root.hidden = !isQuery(state);
  if (root.hidden) return root.replaceChildren();
  root.replaceChildren(...state.terms.map((one, place) => chip(one, place, gallery)), adder(false), adder(true));
}

function chip(one, place, gallery) {
  const remove = () => {
    go({ terms: now().terms.filter((_, other) => other !== place) });
    byId("text").focus();
  };
  const heavier = () => {
    const weight = WEIGHTS[(WEIGHTS.indexOf(one.weight) + 1) % WEIGHTS.length];
    go({ terms: now().terms.map((other, at) => (at === place ? { ...other, weight } : other)) });
    byId("terms").children[place]?.querySelector(".weight")?.focus();
  };
  const name = nameOf(one);
  return el("span", { class: `chip ${one.away ? "away" : "toward"}`, role: "group", "aria-label": `${t(one.away ? "away" : "toward")}: ${name}` },
    icon(one.away ? "minus" : "plus"),
    one.kind === "text" ? el("span", { class: "name", text: one.value, dir: "auto" }) : thumbnail(one, gallery),
    el("button", { type: "button", class: "weight", text: `×${number(one.weight, 2)}`, title: t("weight"), "aria-label": `${t("weight")} ${number(one.weight, 2)}`, on: { click: heavier } }),
    el("button", { type: "button", class: "remove", "aria-label": `${t("remove")}: ${name}`, title: t("remove"), on: { click: remove } }, icon("close")),
  );
}

function nameOf({ kind, value }) {
  if (kind === "text") return value;
  return kind === "row" ? t("rowNumber", { row: value }) : t("picture");
}

function thumbnail({ kind, value }, gallery) {
  const image = el("img", { alt: "", width: 40, height: 40, draggable: "false" });
  if (kind === "row") image.src = thumbnailUrl(gallery, { row: value }, 320);
  else blobUrl(value).then((url) => (url ? (image.src = url) : image.replaceWith(icon("picture"))));
  image.addEventListener("error", () => image.replaceWith(icon("picture")));
  return image;
}

/** The address of a kept picture for an `<img>`; null where this browser does not have it. */
export async function blobUrl(id) {
  if (!urls.has(id)) {
    const blob = await pictureBlob(id);
    if (!blob) return null;
    urls.set(id, URL.createObjectURL(blob));
  }
  return urls.get(id);
}

/** A button that becomes a field for one more text, to search toward or away from. */
function adder(away) {
  const label = t(away ? "addAway" : "addToward");
  const open = () => {
    const field = el("input", { type: "text", "aria-label": label, placeholder: label, maxlength: 500, spellcheck: "false" });
    let over = false;
    const add = () => {
      if (over) return;
      over = true;
      const value = field.value.trim();
      if (value) go({ terms: [...now().terms, term("text", value, away)] });
      else form.replaceWith(adder(away));
    };
    const form = el("form", { class: `chip ${away ? "away" : "toward"} adding`, on: { submit: (event) => { event.preventDefault(); add(); } } }, icon(away ? "minus" : "plus"), field);
    field.addEventListener("blur", add);
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      over = true;
      const back = adder(away);
      form.replaceWith(back);
      back.focus();
    });
    button.replaceWith(form);
    field.focus();
  };
  const button = el("button", { type: "button", class: "add", on: { click: open } }, icon(away ? "minus" : "plus"), el("span", { text: label }));
  return button;
}
