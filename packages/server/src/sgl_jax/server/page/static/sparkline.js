// The last minute of a value, as a small line.

import { drawing } from "./dom.js";

const LENGTH = 60;
const HEIGHT = 24;

export class Sparkline {
  #values = [];
  #top;
  #area = drawing("path", { class: "area" });
  #line = drawing("path", { class: "line" });

  /** @param {number} top - values up to it are drawn to the same scale */
  constructor(top) {
    this.#top = top;
    const view = {
      viewBox: `0 0 ${LENGTH - 1} ${HEIGHT}`,
      preserveAspectRatio: "none",
      class: "spark",
      "aria-hidden": "true",
    };
    this.node = drawing("svg", view, this.#area, this.#line);
  }

  /** Adds a value; null leaves a gap at the bottom. */
  push(value) {
    this.#values = [...this.#values, value ?? 0].slice(-LENGTH);
    const top = Math.max(this.#top, ...this.#values);
    const start = LENGTH - this.#values.length;
    const points = this.#values.map(
      (one, at) => `${start + at} ${(HEIGHT - 1 - (one / top) * (HEIGHT - 2)).toFixed(2)}`,
    );
    const line = `M${points.join("L")}`;
    this.#line.setAttribute("d", line);
    this.#area.setAttribute("d", `${line}L${LENGTH - 1} ${HEIGHT}L${start} ${HEIGHT}Z`);
  }
}
