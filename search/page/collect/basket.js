/** The basket: references for pictures to generate. This browser keeps one for each gallery. */

import { byId, el, save } from "../base/dom.js";
import { icon } from "../base/icons.js";
import { inEachLanguage, t } from "../base/i18n.js";
import { remember, remembered } from "../base/remember.js";
import { toast } from "../base/toast.js";
import { thumbnailUrl } from "../service/api.js";
import { aspectOf } from "../grid/results.js";
import { promptLines } from "./prompts.js";

const MOST = 1000;
let gallery = "";
let basket = fresh();

function fresh() {
  return { references: [], together: false, prompt: "", negative: "", pictures: 1 };
}

export function startBasket() {
  byId("basket-button").addEventListener("click", openBasket);
  byId("basket").addEventListener("click", (event) => event.target === byId("basket") && byId("basket").close());
  inEachLanguage(draw);
}

export function setBasketGallery(name) {
  gallery = name;
  const kept = remembered(`basket.${name}`);
  basket = { ...fresh(), ...kept, references: Array.isArray(kept?.references) ? kept.references.filter((one) => Number.isSafeInteger(one?.row)) : [] };
  draw();
}

export function openBasket() {
  draw();
  byId("basket").showModal();
}

export const inBasket = (name, row) => name === gallery && basket.references.some((one) => one.row === row);

export function toggleBasket(name, hit) {
  if (inBasket(name, hit.row)) remove(hit.row);
  else addToBasket(name, [hit]);
}

export function addToBasket(name, hits) {
  if (name !== gallery) return;
  for (const { row, part, key, caption, metadata } of hits) {
    if (inBasket(name, row)) continue;
    if (basket.references.length >= MOST) return toast(t("tooMany", { count: MOST }));
    basket.references.push({ row, part, key, caption: caption ?? "", aspect: aspectOf(metadata ?? {}), prompt: "" });
  }
  keep();
  draw();
}

function remove(row) {
  basket.references = basket.references.filter((one) => one.row !== row);
  keep();
  draw();
}

const keep = () => remember(`basket.${gallery}`, basket.references.length ? basket : null);

function draw() {
  const number = basket.references.length;
  const badge = byId("basket-button").querySelector(".count");
  badge.textContent = number || "";
  badge.hidden = number === 0;
  const dialog = byId("basket");
  const top = dialog.querySelector(".list")?.scrollTop ?? 0;
  dialog.replaceChildren(
    el("div", { class: "head" },
      el("h2", { text: t("basket") }),
      number > 0 && el("button", { type: "button", class: "text", text: t("empty"), on: { click: clear } }),
      el("button", { type: "button", class: "quiet", "aria-label": t("close"), title: t("close"), on: { click: () => dialog.close() } }, icon("close")),
    ),
    ...(number ? [list(), options()] : [nothing()]),
  );
  if (number) dialog.querySelector(".list").scrollTop = top;
}

const nothing = () => el("div", { class: "nothing" }, icon("basket"), el("p", { text: t("basketEmpty") }), el("p", { class: "note", text: t("basketEmptyNote") }));

const list = () => el("ul", { class: "list", "aria-label": t("references"), tabindex: "0" }, ...basket.references.map(item));

function item(one) {
  const name = one.caption || one.key;
  const prompt = el("input", { type: "text", placeholder: basket.prompt || t("promptFor"), "aria-label": `${t("promptFor")}: ${name}`, maxlength: 2000, disabled: basket.together });
  prompt.value = one.prompt;
  prompt.addEventListener("input", () => {
    one.prompt = prompt.value.trim();
    keep();
  });
  const image = el("img", { src: thumbnailUrl(gallery, one, 320), alt: "", loading: "lazy" });
  image.addEventListener("error", () => image.replaceWith(icon("picture")));
  return el("li", {},
    image,
    el("div", {}, el("span", { class: "name", text: name, dir: "auto" }), prompt),
    el("button", { type: "button", class: "quiet", "aria-label": `${t("remove")}: ${name}`, title: t("remove"), on: { click: () => remove(one.row) } }, icon("close")),
  );
}

function options() {
  const set = (name, value) => {
    basket[name] = value;
    keep();
  };
  const way = (together) => {
    const radio = el("input", { type: "radio", name: "way", checked: basket.together === together, on: { change: () => { set("together", together); draw(); byId("basket").querySelector("input[name=way]:checked").focus(); } } });
    return el("label", { class: "check" }, radio, el("span", { text: t(together ? "together" : "each") }));
  };
  const field = (name, label, attributes = {}) => {
    const input = el("input", { type: "text", id: `basket-${name}`, maxlength: 2000, ...attributes });
    input.value = basket[name];
    input.addEventListener("input", () => set(name, attributes.type === "number" ? Math.max(1, Math.trunc(input.valueAsNumber) || 1) : input.value.trim()));
    return el("div", { class: "field" }, el("label", { for: input.id, text: label }), input);
  };
  const command = `diantu generate --gallery ${quoted(gallery || "gallery")} --prompts prompts.jsonl --output run --strategy img2img --model stabilityai/sd-turbo`;
  return el("div", { class: "options" },
    el("div", { class: "ways", role: "group", "aria-label": t("ways") }, way(false), way(true)),
    field("prompt", t("commonPrompt")),
    el("div", { class: "pair" }, field("negative", t("negativePrompt")), field("pictures", t("pictures"), { type: "number", min: 1, max: 10000, step: 1 })),
    el("button", { type: "button", class: "primary wide", on: { click: download } }, icon("download"), el("span", { text: t("promptsFile") })),
    el("div", { class: "command" }, el("code", { text: command, tabindex: "0" }), el("button", { type: "button", class: "text", text: t("copy"), on: { click: () => copy(command) } })),
    el("p", { class: "note", text: t("rowsNote") }),
  );
}

const quoted = (text) => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function download() {
  save(new Blob([promptLines(basket.references, basket)], { type: "application/x-ndjson" }), "prompts.jsonl");
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast(t("copied"));
  } catch {
    getSelection().selectAllChildren(byId("basket").querySelector(".command code"));
  }
}

function clear() {
  const before = basket;
  basket = { ...basket, references: [] };
  keep();
  draw();
  const undo = () => {
    basket = before;
    keep();
    draw();
  };
  toast(t("emptied"), { label: t("undo"), act: undo });
}
