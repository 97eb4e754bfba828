// The settings as data. An empty field is not sent, so that the server's own default holds.

/**
 * @typedef {{name: string, label: string, kind: "number"|"text"|"lines"|"json"|"choice"|"secret", hint?: string,
 *   min?: number, max?: number, step?: number, choices?: Object, rows?: number, wide?: boolean, isTitled?: boolean,
 *   place?: string}} Field
 * Hints of fields that are not `wide` are read out and float, but take no room. `isTitled`: the group's title names it.
 */

/** @type {{title: string, open: boolean, fields: Field[]}[]} */
export const GROUPS = [
  {
    title: "System prompt",
    open: true,
    fields: [
      {
        name: "system",
        label: "System prompt",
        kind: "text",
        rows: 3,
        wide: true,
        isTitled: true,
        place: "How the model shall be",
      },
    ],
  },
  {
    title: "Sampling",
    open: true,
    fields: [
      {
        name: "temperature",
        label: "Temperature",
        kind: "number",
        min: 0,
        step: 0.1,
        hint: "0 always takes the likeliest token",
      },
      { name: "max_tokens", label: "Max tokens", kind: "number", min: 1, step: 1, hint: "Longest answer" },
      {
        name: "top_p",
        label: "Top p",
        kind: "number",
        min: 0,
        max: 1,
        step: 0.05,
        hint: "Likeliest tokens that share so much",
      },
      { name: "top_k", label: "Top k", kind: "number", min: -1, step: 1, hint: "So many likeliest tokens; -1 is all" },
      {
        name: "min_p",
        label: "Min p",
        kind: "number",
        min: 0,
        max: 1,
        step: 0.05,
        hint: "Least share of the likeliest's probability",
      },
      { name: "seed", label: "Seed", kind: "number", step: 1, hint: "The same seed draws the same answer" },
    ],
  },
  {
    title: "Penalties and stops",
    open: false,
    fields: [
      {
        name: "frequency_penalty",
        label: "Frequency",
        kind: "number",
        min: -2,
        max: 2,
        step: 0.1,
        hint: "For each time a token was said",
      },
      {
        name: "presence_penalty",
        label: "Presence",
        kind: "number",
        min: -2,
        max: 2,
        step: 0.1,
        hint: "For tokens that were said at all",
      },
      {
        name: "repetition_penalty",
        label: "Repetition",
        kind: "number",
        min: 0.01,
        step: 0.05,
        hint: "Above 1 avoids what was said",
      },
      {
        name: "stop",
        label: "Stop strings",
        kind: "lines",
        rows: 2,
        wide: true,
        hint: "One a line; \\n is a line break",
      },
    ],
  },
  {
    title: "Reasoning and tools",
    open: false,
    fields: [
      {
        name: "enable_thinking",
        label: "Thinking",
        kind: "choice",
        choices: { "": "As the model likes", true: "On", false: "Off" },
        wide: true,
      },
      {
        name: "tools",
        label: "Tools (JSON)",
        kind: "json",
        rows: 5,
        wide: true,
        hint: "A list, as OpenAI's API takes it. Calls are shown, not run.",
      },
    ],
  },
];

/** @type {Field} */
export const KEY = {
  name: "key",
  label: "API key",
  kind: "secret",
  wide: true,
  hint: "Only for servers with --api-key. Forgotten when this tab closes.",
};

/**
 * What a field's text means in a request.
 * @returns {{value?: *, problem?: string}} neither for an empty field; `problem` says what to write instead
 */
export function parse(field, text) {
  if (!text.trim()) return {};
  switch (field.kind) {
    case "number":
      return parseNumber(field, text);
    case "lines":
      return {
        value: text
          .split("\n")
          .filter(Boolean)
          .map((line) => line.replaceAll("\\n", "\n")),
      };
    case "json":
      return parseTools(text);
    case "choice":
      return { value: text === "true" };
    default:
      return { value: text };
  }
}

function parseNumber({ min = -Infinity, max = Infinity, step }, text) {
  const value = Number(text);
  if (!Number.isFinite(value)) return { problem: "Give a number" };
  if (value < min || value > max)
    return { problem: `Give a number ${max < Infinity ? `from ${min} to ${max}` : `of at least ${min}`}` };
  if (step === 1 && !Number.isInteger(value)) return { problem: "Give a whole number" };
  return { value };
}

function parseTools(text) {
  try {
    const value = JSON.parse(text);
    return Array.isArray(value) ? { value } : { problem: "Give a list: [ … ]" };
  } catch (error) {
    return { problem: `This is not JSON: ${error.message}` };
  }
}
