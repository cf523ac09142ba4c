/** The controls of the filters. Each is made from a value and calls back with the next one. */

import { el, debounce } from "../base/dom.js";
import { number, t } from "../base/i18n.js";

const PAUSE = 200; // milliseconds that a slider must rest
let made = 0;
const newId = () => `control-${++made}`;

/** A labelled group. */
export function section(title, ...content) {
  const id = newId();
  return el("section", { class: "filter", role: "group", "aria-labelledby": id }, el("h3", { id, text: title, dir: "auto" }), ...content);
}

export function toggle(label, value, change, { disabled = false, note = null } = {}) {
  const id = newId();
  return el("div", { class: "toggle" },
    el("label", { for: id, text: label }, note && el("small", { text: note })),
    el("input", { id, type: "checkbox", role: "switch", checked: value, disabled, on: { change: (event) => change(event.target.checked) } }),
  );
}

/** A slider with one thumb; `show` words its value. */
export function slider(label, value, { min, max, step, show, disabled = false, note = null }, change) {
  const id = newId();
  const output = el("output", { for: id, text: show(value) });
  const later = debounce(PAUSE, change);
  const input = el("input", {
    id, type: "range", min, max, step, value, disabled, "aria-valuetext": show(value),
    on: {
      input: () => {
        output.textContent = show(input.valueAsNumber);
        input.setAttribute("aria-valuetext", output.textContent);
        fill(input);
        later(input.valueAsNumber);
      },
    },
  });
  fill(input);
  return el("div", { class: "slider" }, el("div", { class: "line" }, el("label", { for: id, text: label }), output), input, note && el("small", { text: note }));
}

const fill = (input) => input.style.setProperty("--share", `${(100 * (input.valueAsNumber - input.min)) / (input.max - input.min || 1)}%`);

export function choice(label, value, options, change, { disabled = false } = {}) {
  const id = newId();
  const select = el("select", { id, disabled, on: { change: () => change(select.value) } },
    ...options.map(([key, text]) => el("option", { value: key, text, selected: key === value })));
  return el("div", { class: "choice" }, el("label", { for: id, text: label }), select);
}

/** Values with their counts, of which any number can be chosen. Long lists open on demand. */
export function checks(values, chosen, change, { first = 6, nameOf = (value) => value } = {}) {
  const selected = new Set(chosen);
  const known = new Set(values.map(({ value }) => String(value)));
  const all = [...[...selected].filter((value) => !known.has(value)).map((value) => ({ value })), ...values];
  const item = ({ value, count }) => {
    const text = String(value);
    const input = el("input", { type: "checkbox", value: text, checked: selected.has(text), on: { change: () => {
      if (input.checked) selected.add(text);
      else selected.delete(text);
      change([...selected]);
    } } });
    return el("label", { class: "check" }, input, el("span", { text: nameOf(text), dir: "auto" }), count !== undefined && el("small", { text: number(count) }));
  };
  const visible = all.filter(({ value }, place) => place < first || selected.has(String(value)));
  const hidden = all.filter((one) => !visible.includes(one));
  const list = el("div", { class: "checks" }, ...visible.map(item));
  if (hidden.length) {
    const more = el("button", { type: "button", class: "text", text: t("moreValues", { count: hidden.length }), on: { click: () => {
      const nodes = hidden.map(item);
      more.replaceWith(...nodes);
      nodes[0].querySelector("input").focus();
    } } });
    list.append(more);
  }
  return list;
}

/** A range of numbers: two thumbs on one line, and two fields for exact values. */
export function range(label, { min, max, whole }, { low, high }, change) {
  const digits = whole ? 0 : max - min > 20 ? 1 : 3;
  const step = whole ? 1 : 10 ** -digits;
  const floor = Math.floor(min / step) * step, ceiling = Math.ceil(max / step) * step;
  const value = (given, without) => Math.min(Math.max(given ?? without, floor), ceiling);
  const [from, to] = [value(low, floor), value(high, ceiling)];
  const thumb = (name, at) => el("input", { type: "range", min: floor, max: ceiling, step, value: at, "aria-label": `${label}, ${name}` });
  const field = (name, given, without) => el("input", { type: "number", step: "any", value: given ?? "", placeholder: number(without, digits), "aria-label": `${label}, ${name}` });
  const lower = thumb(t("from"), from), upper = thumb(t("to"), to);
  const lowest = field(t("from"), low, min), highest = field(t("to"), high, max);
  const track = el("div", { class: "track" }, lower, upper);
  const tell = () => {
    const next = {};
    if (lowest.value !== "" && Number.isFinite(lowest.valueAsNumber)) next.low = lowest.valueAsNumber;
    if (highest.value !== "" && Number.isFinite(highest.valueAsNumber)) next.high = highest.valueAsNumber;
    change(next);
  };
  const later = debounce(PAUSE, tell);
  const draw = () => {
    const share = (input) => `${(100 * (input.valueAsNumber - floor)) / (ceiling - floor || 1)}%`;
    track.style.setProperty("--from", share(lower));
    track.style.setProperty("--to", share(upper));
    lower.classList.toggle("above", lower.valueAsNumber > (floor + ceiling) / 2); // both thumbs at the right end
  };
  lower.addEventListener("input", () => {
    if (lower.valueAsNumber > upper.valueAsNumber) lower.value = upper.value;
    lowest.value = lower.valueAsNumber <= floor ? "" : Number(lower.valueAsNumber.toFixed(digits));
    draw();
    later();
  });
  upper.addEventListener("input", () => {
    if (upper.valueAsNumber < lower.valueAsNumber) upper.value = lower.value;
    highest.value = upper.valueAsNumber >= ceiling ? "" : Number(upper.valueAsNumber.toFixed(digits));
    draw();
    later();
  });
  for (const one of [lowest, highest]) one.addEventListener("change", tell);
  draw();
  return el("div", { class: "range" }, track, el("div", { class: "line" }, lowest, el("span", { text: "–", "aria-hidden": "true" }), highest));
}

/** A range of dates. */
export function dates(label, { min, max }, { low, high }, change) {
  const day = (text) => String(text ?? "").slice(0, 10);
  const field = (name, given) => el("input", { type: "date", min: day(min), max: day(max), value: day(given), "aria-label": `${label}, ${name}`, on: { change: () => {
    change({ ...(lowest.value ? { low: lowest.value } : {}), ...(highest.value ? { high: highest.value } : {}) });
  } } });
  const lowest = field(t("from"), low), highest = field(t("to"), high);
  return el("div", { class: "range" }, el("div", { class: "line" }, lowest, el("span", { text: "–", "aria-hidden": "true" }), highest));
}

export function words(label, value, change, { placeholder = "", long = false } = {}) {
  const field = el(long ? "textarea" : "input", { ...(long ? { rows: 2 } : { type: "text" }), "aria-label": label, placeholder, spellcheck: "false", autocapitalize: "off", maxlength: 20000 });
  field.value = value ?? "";
  field.addEventListener("change", () => change(field.value.trim()));
  if (long) field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    change(field.value.trim());
  });
  return field;
}
