// The bar that says why there are no answers at the moment. It goes away by itself.

import { byId, element } from "./dom.js";

/** Shows what a look at the server found. */
export class Banner {
  #bar = byId("banner");
  #shown = "";
  #onKey;

  /** @param {() => void} onKey - the user wants to give a key */
  constructor(onKey) {
    this.#onKey = onKey;
  }

  /** @param {Sight} sight */
  show(sight) {
    const text = describe(sight);
    byId("dot").className = `dot ${sight.kind}`;
    if (text === this.#shown) return; // lest it is read out every second
    this.#shown = text;
    this.#bar.hidden = !text;
    this.#bar.replaceChildren(element("span", { textContent: text }));
    if (sight.kind === "locked") {
      this.#bar.append(
        element("button", { type: "button", className: "quiet", textContent: "Enter the key", onclick: this.#onKey }),
      );
    }
  }
}

function describe(sight) {
  switch (sight.kind) {
    case "ready":
    case "busy":
      return "";
    case "locked":
      return "This server wants an API key.";
    case "starting":
      return `The model is getting ready${stage(sight.phase)}. This bar goes away when it is.`;
    case "dead":
      return "The engine has stopped and is not coming back. The server's log says why.";
    case "gone":
      return "The server does not answer. Still trying.";
    default:
      return `The server says: ${sight.message}`;
  }
}

/** `compiling 3/12` -> `: compiling, 3 of 12`. */
function stage(phase) {
  const [name, progress] = phase.split(" ");
  if (!name || name === "starting") return "";
  return progress ? `: ${name}, ${progress.replace("/", " of ")}` : `: ${name}`;
}
