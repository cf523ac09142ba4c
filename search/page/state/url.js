/** The state as the query of the address, and back. What a stranger's link holds is checked here. */

import { AWAY_WEIGHT, EMPTY, term } from "./state.js";

const KINDS = ["text", "row", "picture"];

/** @returns {string} the address of a state, relative to the page */
export function toUrl(state) {
  const query = new URLSearchParams();
  const put = (name, value, without) => value !== without && query.append(name, value);
  put("g", state.gallery, EMPTY.gallery);
  put("q", state.text, EMPTY.text);
  for (const one of state.terms) query.append(one.away ? "not" : "and", written(one));
  for (const [column, filter] of Object.entries(state.filters)) {
    if (filter.values) for (const value of filter.values) query.append(`is.${column}`, value);
    else if (filter.contains !== undefined) query.append(`has.${column}`, filter.contains);
    else query.append(`in.${column}`, `${filter.low ?? ""}..${filter.high ?? ""}`);
  }
  put("where", state.where, EMPTY.where);
  put("missing", state.missing ? "include" : "", "");
  put("z", state.zscore, null);
  put("fold", state.fold ? "1" : "", "");
  put("diversity", state.diversity, 0);
  put("sort", state.sort, "");
  put("space", state.space, "");
  put("over", state.over, "");
  put("seed", state.seed, EMPTY.seed);
  put("row", state.row, null);
  const text = query.toString();
  return text ? `?${text}` : "./";
}

/** Reads the query of an address; what cannot be read is left out. */
export function fromUrl(search) {
  const query = new URLSearchParams(search);
  const state = { ...EMPTY, terms: [], filters: {} };
  state.gallery = query.get("g") ?? "";
  state.text = query.get("q") ?? "";
  for (const [name, value] of query) {
    const column = name.slice(name.indexOf(".") + 1);
    if (name === "and" || name === "not") pushTerm(state.terms, value, name === "not");
    else if (name.startsWith("is.")) (Object.hasOwn(state.filters, column) ? state.filters[column] : (state.filters[column] = { values: [] })).values?.push(value);
    else if (name.startsWith("has.")) state.filters[column] = { contains: value };
    else if (name.startsWith("in.")) pushRange(state.filters, column, value);
  }
  state.where = query.get("where") ?? "";
  state.missing = query.get("missing") === "include";
  state.zscore = finite(query.get("z"));
  state.fold = query.get("fold") === "1";
  state.diversity = Math.min(Math.max(finite(query.get("diversity")) ?? 0, 0), 1);
  state.sort = query.get("sort") ?? "";
  state.space = query.get("space") ?? "";
  state.over = query.get("over") ?? "";
  state.seed = whole(query.get("seed")) ?? EMPTY.seed;
  state.row = whole(query.get("row"));
  return state;
}

/** `kind:value^weight`; the weight is left out where it is the usual one and the value cannot be mistaken for one. */
function written({ kind, value, weight, away }) {
  const usual = weight === (away ? AWAY_WEIGHT : 1) && !/\^[\d.]+$/.test(value);
  return `${kind}:${value}${usual ? "" : `^${weight}`}`;
}

function pushTerm(terms, text, away) {
  const [, kind, value, weight] = /^(\w+):(.*?)(?:\^([\d.]+))?$/s.exec(text) ?? [];
  if (!KINDS.includes(kind) || value.trim() === "" || (kind === "row" && whole(value) === null)) return;
  const given = finite(weight ?? null);
  terms.push(given > 0 ? term(kind, value, away, given) : term(kind, value, away));
}

function pushRange(filters, column, text) {
  const [low, high] = text.split("..");
  const range = { ...(low ? { low: asBound(low) } : {}), ...(high ? { high: asBound(high) } : {}) };
  if (Object.keys(range).length) filters[column] = range;
}

/** A number, or a date as its text. */
const asBound = (text) => finite(text) ?? text;

const finite = (text) => (text === null || text.trim() === "" || !Number.isFinite(Number(text)) ? null : Number(text));

const whole = (text) => (/^\d{1,15}$/.test(text ?? "") ? Number(text) : null);
