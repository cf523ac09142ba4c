/** The HTTP API of the service. Addresses are relative, so that the page also works below a path of a proxy. */

const RETRIES = 3;

/** A request that was refused or not answered. `kind` is the status, or 0 where the service was not reached. */
export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

const unauthorized = new Set();

/** Calls a function when the service asks for a token. */
export const onUnauthorized = (listener) => unauthorized.add(listener);

/** Whole numbers beyond 2⁵³, such as perceptual hashes, are kept as their digits. */
const exact = (key, value, context) =>
  typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "") ? context.source : value;

async function ask(path, { body, method = body === undefined ? "GET" : "POST", signal } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const text = body === undefined ? undefined : JSON.stringify(body);
  for (let attempt = 1; ; attempt++) {
    const response = await reach(path, { method, headers, body: text, signal, credentials: "same-origin" });
    if (response.ok) return response;
    const busy = response.status === 429 && attempt < RETRIES;
    if (!busy) throw await refusal(response);
    await pause(Number(response.headers.get("Retry-After")) || 1, signal);
  }
}

async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, error.message);
  }
}

async function refusal(response) {
  let sentence = response.statusText;
  try {
    sentence = (await response.json()).detail ?? sentence;
  } catch {
    // A proxy's answer need not be a problem document.
  }
  if (response.status === 401) for (const listener of unauthorized) listener();
  return new Refused(response.status, String(sentence));
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * Math.min(seconds, 10));
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

const json = async (response) => JSON.parse(await (await response).text(), exact);

export const search = (request, signal) => json(ask("v1/search", { body: request, signal }));
export const galleries = () => json(ask("v1/galleries"));
export const gallery = (name) => json(ask(`v1/galleries/${encodeURIComponent(name)}`));
export const row = (name, id, signal) => json(ask(`v1/rows/${id}?${new URLSearchParams({ gallery: name })}`, { signal }));
export const rows = (name, ids, columns) => json(ask("v1/rows", { body: { gallery: name, rows: ids, columns } }));
export const session = () => json(ask("v1/session"));
export const signIn = (token) => ask("v1/session", { body: { token } });
export const signOut = () => ask("v1/session", { method: "DELETE" });

/** Reads an export as a blob; `progress` is called with the number of bytes so far. */
export async function exported(request, progress) {
  const response = await ask("v1/export", { body: request });
  const chunks = [];
  let size = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    progress((size += value.length));
  }
  return new Blob(chunks, { type: response.headers.get("Content-Type") ?? "" });
}

/** The address of a row's original image. With its part the browser may keep it for ever. */
export const imageUrl = (name, { row: id, part }) =>
  `v1/rows/${id}/image?${new URLSearchParams({ gallery: name, ...(part ? { part } : {}) })}`;

export const thumbnailUrl = (name, { row: id, part }, size) =>
  `v1/rows/${id}/thumbnail?${new URLSearchParams({ gallery: name, size, ...(part ? { part } : {}) })}`;
