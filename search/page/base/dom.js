/** The only place where elements are made. What strangers wrote becomes text nodes and attributes, never markup. */

/**
 * Makes an element.
 * @param {string} tag
 * @param {object} options `class`, `text`, `style` (set through CSSOM, which the policy allows), `on` (listeners),
 *   `data`, and attributes; true is an empty attribute, false and null leave it out.
 * @param {...(Node|string|null|false)} children
 */
export function el(tag, { class: names, text, style, on, data, ...attributes } = {}, ...children) {
  const node = document.createElement(tag);
  if (names) node.className = names;
  if (text !== undefined && text !== null) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
  for (const [name, value] of Object.entries(style ?? {})) node.style.setProperty(name, value);
  for (const [name, value] of Object.entries(data ?? {})) node.dataset[name] = value;
  for (const [name, listener] of Object.entries(on ?? {})) node.addEventListener(name, listener);
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function setAttribute(node, name, value) {
  if (value === false || value === null || value === undefined) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : value);
}

export const byId = (id) => document.getElementById(id);

/** A text that links to a URL of the web. Any other URL, such as `javascript:`, stays text. */
export function link(url, text = url) {
  const href = webUrl(url);
  if (href === null) return document.createTextNode(text);
  return el("a", { href, text, target: "_blank", rel: "noopener noreferrer", dir: "auto" });
}

export function webUrl(value) {
  if (typeof value !== "string" || !/^https?:\/\/[^\s\p{Cc}]+$/iu.test(value)) return null;
  try {
    return new URL(value).href;
  } catch {
    return null;
  }
}

export function debounce(wait, act) {
  let timer = 0;
  const later = (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...values), wait);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}

/** Gives a blob to the browser as a download. */
export function save(blob, name) {
  const href = URL.createObjectURL(blob);
  el("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}
