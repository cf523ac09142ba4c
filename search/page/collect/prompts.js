/** The basket as the lines of a `prompts.jsonl`, as `diantu generate --prompts` reads it. */

const LONGEST = 100; // characters of a name

/**
 * @param {{row: number, key: string, prompt: string}[]} references
 * @param {{together: boolean, prompt: string, negative: string, pictures: number}} options `together`: one line whose
 *   picture is made from all references; otherwise a line for each
 * @returns {string} JSONL; the prompt of a reference goes before the common one
 */
export function promptLines(references, { together, prompt, negative, pictures }) {
  const common = { ...(negative ? { negative_prompt: negative } : {}), ...(pictures > 1 ? { num_pictures: pictures } : {}) };
  if (together) return line({ prompt: prompt || references.find((one) => one.prompt)?.prompt || "", rows: references.map(({ row }) => row), ...common });
  const taken = new Set();
  return references.map((one) => line({ name: unique(nameOf(one), taken), prompt: one.prompt || prompt, rows: [one.row], ...common })).join("");
}

const line = (value) => `${JSON.stringify(value)}\n`;

/** A key as the name of a request: letters, digits, spaces and _ - . in the middle. */
function nameOf({ key, row }) {
  const name = key.replace(/[^\p{L}\p{N}_ .-]+/gu, "_").replace(/^[ .-]+/, "");
  return [...name].slice(0, LONGEST - 8).join("").replace(/[ .]+$/, "") || `row_${row}`;
}

function unique(name, taken) {
  let free = name;
  for (let number = 2; taken.has(free.toLowerCase()); number++) free = `${name}-${number}`;
  taken.add(free.toLowerCase());
  return free;
}
