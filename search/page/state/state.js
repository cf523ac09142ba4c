/**
 * What the page shows, as one frozen value. It lives in the address, so that it can be kept, sent, and gone back to.
 *
 * - `gallery`: name; "" is the first one
 * - `text`: the text of the search bar
 * - `terms`: further parts of the query: `{kind: "text" | "row" | "picture", value, weight, away}`
 * - `filters`: column → `{low, high}`, `{values: […]}` or `{contains}`
 * - `where`, `missing`: the raw condition; whether rows without a value are kept
 * - `zscore`, `fold`, `diversity`, `sort`, `space`, `over`: options of the search
 * - `seed`: which rows come first where nothing is searched for
 * - `row`: the row whose details are open
 */
export const EMPTY = Object.freeze({
  gallery: "", text: "", terms: Object.freeze([]), filters: Object.freeze({}), where: "", missing: false, zscore: null,
  fold: false, diversity: 0, sort: "", space: "", over: "", seed: 1, row: null,
});

/** The fields that a new query starts afresh with; filters and options stay. */
export const NO_QUERY = Object.freeze({ text: "", terms: EMPTY.terms, row: null });

export const AWAY_WEIGHT = 0.5; // the service's own weight of negative terms

export const term = (kind, value, away = false, weight = away ? AWAY_WEIGHT : 1) => ({ kind, value, away, weight });

/** Whether something is searched for; otherwise the page shows rows to look around in. */
export const isQuery = (state) => state.text.trim() !== "" || state.terms.length > 0;

export const isFiltered = (state) => Object.keys(state.filters).length > 0 || state.where.trim() !== "";
