// The form with the settings. It remembers them in this browser, except the key.

import { apiKey } from "./api.js";
import { byId, element, icon } from "./dom.js";
import { GROUPS, KEY, parse } from "./fields.js";

const PLACE = "sgl-jax.settings";

/** Reads the form, and shows what is wrong with it. */
export class Settings {
  #form = byId("settings");
  #inputs = new Map(); // field -> its input
  #key = makeInput(KEY);
  #onKey;

  /** @param {() => void} onKey - called when the key has changed */
  constructor(onKey) {
    this.#onKey = onKey;
    const kept = remembered();
    const folds = GROUPS.map((group) => {
      const rows = group.fields.map((field) => {
        const input = makeInput(field);
        input.value = kept[field.name] ?? "";
        input.addEventListener("input", () => this.#changed(field));
        this.#inputs.set(field, input);
        return makeRow(field, input);
      });
      const isUsed = group.fields.some((field) => kept[field.name]);
      const summary = element("summary", {}, icon("open"), group.title);
      return element(
        "details",
        { className: "fold", open: group.open || isUsed },
        summary,
        element("div", { className: "grid" }, ...rows),
      );
    });
    this.#key.value = apiKey.get();
    this.#key.addEventListener("change", () => this.#takeKey());
    byId("settings-fields").append(...folds, element("div", { className: "grid key" }, makeRow(KEY, this.#key)));
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#takeKey();
    });
    byId("reset").addEventListener("click", () => this.#reset());
  }

  /**
   * What the form says.
   * @returns {{system: string, fields: Object}|null} the system prompt, and fields of a request; null when one of them
   *   cannot be sent, and the form shows which
   */
  request() {
    const fields = {};
    for (const [field, input] of this.#inputs) {
      const { value, problem } = this.#check(field, input);
      if (problem) {
        reveal(input);
        return null;
      }
      if (value !== undefined) fields[field.name] = value;
    }
    const { system = "", ...others } = fields;
    return { system, fields: others };
  }

  /** Leads the user to the field for the key. */
  askForKey() {
    reveal(this.#key);
  }

  #takeKey() {
    apiKey.set(this.#key.value.trim());
    this.#onKey();
  }

  #changed(field) {
    this.#check(field, this.#inputs.get(field));
    this.#keep();
  }

  #check(field, input) {
    const isUnread = input.validity.badInput; // then the browser gives an empty value
    const { value, problem } = isUnread ? { problem: "Give a number" } : parse(field, input.value);
    input.setAttribute("aria-invalid", String(Boolean(problem)));
    byId(`${input.id}-hint`).textContent = problem ?? field.hint ?? "";
    return { value, problem };
  }

  #reset() {
    for (const [field, input] of this.#inputs) {
      input.value = "";
      this.#check(field, input);
    }
    this.#keep();
  }

  #keep() {
    const values = [...this.#inputs]
      .filter(([, input]) => input.value)
      .map(([field, input]) => [field.name, input.value]);
    localStorage.setItem(PLACE, JSON.stringify(Object.fromEntries(values)));
  }
}

function remembered() {
  try {
    return JSON.parse(localStorage.getItem(PLACE) ?? "{}");
  } catch {
    return {};
  }
}

function makeInput(field) {
  const common = { id: `field-${field.name}`, "aria-describedby": `field-${field.name}-hint` };
  switch (field.kind) {
    case "number":
      return element("input", {
        ...common,
        type: "number",
        inputMode: "decimal",
        placeholder: "default",
        ...numberLimits(field),
      });
    case "secret":
      return element("input", { ...common, type: "password", autocomplete: "off", spellcheck: false });
    case "choice":
      return element(
        "select",
        common,
        ...Object.entries(field.choices).map(([value, text]) => element("option", { value, textContent: text })),
      );
    default:
      return element("textarea", {
        ...common,
        rows: field.rows,
        spellcheck: field.kind === "text",
        placeholder: field.place ?? "",
      });
  }
}

function numberLimits({ min, max, step }) {
  return { ...(min !== undefined && { min }), ...(max !== undefined && { max }), step };
}

function makeRow(field, input) {
  const label = element("label", { htmlFor: input.id, textContent: field.label });
  const hint = element("p", { id: `${input.id}-hint`, className: "hint", textContent: field.hint ?? "" });
  if (field.isTitled) label.className = "unseen";
  return element(
    "div",
    { className: field.wide ? "input wide" : "input", title: field.hint ?? "" },
    label,
    input,
    hint,
  );
}

/** Opens whatever hides an input, and puts the cursor there. */
function reveal(input) {
  input.closest("details")?.setAttribute("open", "");
  document.dispatchEvent(new CustomEvent("show-side"));
  input.scrollIntoView({ block: "center" });
  input.focus();
}
