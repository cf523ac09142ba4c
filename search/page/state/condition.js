/** Filters as one SQL condition: names and texts are quoted, so that a value cannot end its quotes. */

const name = (column) => `"${column.replaceAll('"', '""')}"`;
const literal = (value) => (typeof value === "number" ? String(value) : `'${String(value).replaceAll("'", "''")}'`);

/** The filter of one column as a condition. `kind` is what `/v1/galleries` says of the column. */
function one(column, filter, kind) {
  const it = name(column);
  if (kind === "flag") return filter.values.map((value) => `${it} = ${value === "true"}`).join(" OR ");
  if (filter.values) return `${it} IN (${filter.values.map(literal).join(", ")})`;
  if (filter.contains !== undefined && kind === "list") return `list_contains(${it}, ${literal(filter.contains)})`;
  if (filter.contains !== undefined) return `contains(lower(${it}), ${literal(filter.contains.toLowerCase())})`;
  const bounds = [];
  if (filter.low !== undefined) bounds.push(`${it} >= ${literal(filter.low)}`);
  if (filter.high !== undefined) bounds.push(`${it} <= ${literal(filter.high)}`);
  return bounds.join(" AND ");
}

/** @returns {string} the condition of a state; "" where nothing is filtered */
export function condition({ filters, where }, columns) {
  const kinds = Object.fromEntries(columns.map((column) => [column.name, column.kind]));
  const parts = Object.entries(filters).map(([column, filter]) => one(column, filter, kinds[column]));
  if (where.trim()) parts.push(where.trim());
  return parts.length < 2 ? (parts[0] ?? "") : parts.map((part) => `(${part})`).join(" AND ");
}
