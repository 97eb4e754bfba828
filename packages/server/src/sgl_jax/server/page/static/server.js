// Looks at the server every second: is it there, what does it do.

import { ApiError, getJson } from "./api.js";

const PAUSE = 1000;
const PATIENCE = 5000; // milliseconds after which no answer is an answer

/**
 * What a look found.
 * @typedef {{kind: "ready", info: Object, at: number}
 *   | {kind: "locked"} | {kind: "starting", phase: string} | {kind: "dead"} | {kind: "gone"}
 *   | {kind: "busy"} | {kind: "strange", message: string}} Sight
 * `ready`: `info` is what /get_server_info said, `at` when, in milliseconds. `locked`: it wants a key.
 * `busy`: it is well, but in the middle of a long step.
 */

/** Calls back with every look. Rests while nobody sees the page. */
export class Watch {
  #onSight;
  #timer = 0;
  #isLooking = false;

  /** @param {(sight: Sight) => void} onSight */
  constructor(onSight) {
    this.#onSight = onSight;
    document.addEventListener("visibilitychange", () => this.look());
  }

  /** Looks now, and from then on. */
  async look() {
    clearTimeout(this.#timer);
    if (document.hidden || this.#isLooking) return;
    this.#isLooking = true;
    try {
      this.#onSight(await see());
    } finally {
      this.#isLooking = false;
      if (!document.hidden) this.#timer = setTimeout(() => this.look(), PAUSE);
    }
  }
}

/** @returns {Promise<Sight>} */
async function see() {
  try {
    return {
      kind: "ready",
      info: await getJson("get_server_info", AbortSignal.timeout(PATIENCE)),
      at: performance.now(),
    };
  } catch (error) {
    if (!(error instanceof ApiError)) return seeHealth(); // it took too long
    if (error.status === 401 || error.status === 403) return { kind: "locked" };
    if (error.status === 503) return seeHealth();
    if (error.status === 0) return { kind: "gone" };
    return { kind: "strange", message: error.message };
  }
}

/** Says what becomes of an engine that does not answer. The web process does, whatever the engine is at. */
async function seeHealth() {
  const answer = await fetch("health", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) }).catch(() => null);
  const health = await answer?.json().catch(() => null);
  if (!health) return { kind: "gone" };
  const kind = { ok: "busy", dead: "dead" }[health.status] ?? "starting";
  return { kind, phase: health.phase ?? "" };
}
