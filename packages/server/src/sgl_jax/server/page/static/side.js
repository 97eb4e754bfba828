// The right side: beside the chat where there is room, over it on a phone.

import { byId } from "./dom.js";

const NARROW = matchMedia("(max-width: 900px)");
const PLACE = "sgl-jax.side";

export class Side {
  #side;
  #toggle;
  #main;

  constructor(side, toggle, main) {
    this.#side = side;
    this.#toggle = toggle;
    this.#main = main;
    this.#set(!NARROW.matches && localStorage.getItem(PLACE) !== "closed");
    toggle.addEventListener("click", () => this.#turn(!this.#isOpen));
    NARROW.addEventListener("change", () => this.#set(!NARROW.matches));
    byId("new").addEventListener("click", () => NARROW.matches && this.#set(false));
    document.addEventListener("show-side", () => this.#set(true));
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && NARROW.matches && this.#isOpen) this.#turn(false);
    });
  }

  get #isOpen() {
    return !this.#side.hidden;
  }

  #turn(isOpen) {
    this.#set(isOpen);
    if (!NARROW.matches) localStorage.setItem(PLACE, isOpen ? "open" : "closed");
    if (!isOpen) this.#toggle.focus();
  }

  #set(isOpen) {
    this.#side.hidden = !isOpen;
    this.#toggle.setAttribute("aria-expanded", String(isOpen));
    document.body.classList.toggle("with-side", isOpen);
    this.#main.inert = isOpen && NARROW.matches; // it lies underneath
  }
}
