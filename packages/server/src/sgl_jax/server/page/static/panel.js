// The live panel: what the engine does now, and did in the last minute.

import { byId, element } from "./dom.js";
import { count, percent, speed } from "./numbers.js";
import { Sparkline } from "./sparkline.js";

const SMOOTH = 3; // looks that a speed is averaged over

/**
 * `read` takes the engine's counters now and those of some looks ago; null is a dash.
 * `top` is where the drawing ends at least, in the value's unit.
 */
const GAUGES = [
  { id: "speed", label: "Output", unit: "tok/s", show: speed, top: 1, read: (now, before) => rate(now, before) },
  { id: "running", label: "Running", show: count, top: 4, read: ({ stats }) => stats.running },
  { id: "queued", label: "Queued", show: count, top: 4, read: ({ stats }) => stats.waiting },
  {
    id: "kv",
    label: "KV cache",
    show: percent,
    top: 1,
    read: ({ stats }) => part(stats.pages_total - stats.pages_free, stats.pages_total),
  },
  {
    id: "hits",
    label: "Prefix hits",
    show: percent,
    top: 1,
    read: ({ stats }) => part(stats.cached_tokens_total, stats.prompt_tokens_total),
  },
];

const HELP = {
  speed: "Tokens generated a second, for all requests",
  running: "Sequences being computed",
  queued: "Sequences that wait",
  kv: "Share of the KV pool that running sequences hold",
  hits: "Share of prompt tokens that the prefix cache saved, since the engine's start",
};

/** The gauges, and the facts below. */
export class Panel {
  #gauges = GAUGES.map((gauge) => new Gauge(gauge));
  #past = []; // the latest looks, oldest first
  #facts = "";

  constructor() {
    byId("gauges").append(...this.#gauges.map((gauge) => gauge.node));
  }

  /** @param {Sight} sight */
  show(sight) {
    if (sight.kind === "busy") return; // what it showed last is as good as anything
    if (sight.kind !== "ready") {
      this.#past = [];
      for (const gauge of this.#gauges) gauge.show(null);
      return;
    }
    const now = { stats: sight.info.stats, at: sight.at };
    for (const gauge of this.#gauges) gauge.show(gauge.read(now, this.#past[0]));
    this.#past = [...this.#past, now].slice(-SMOOTH);
    this.#showFacts(sight.info);
  }

  #showFacts({ served_model_name: name, version, engine }) {
    const { architecture, max_model_len: context, max_running_requests: running, summary } = engine;
    const facts = {
      Model: name,
      Architecture: architecture,
      Context: `${count(context)} tokens`,
      "At a time": `${count(running)} sequences`,
      ...Object.fromEntries(
        Object.entries(summary)
          .filter(([key]) => key !== "limits")
          .map(([key, value]) => [capital(key), value]),
      ),
      Version: version,
    };
    if (JSON.stringify(facts) === this.#facts) return;
    this.#facts = JSON.stringify(facts);
    const rows = Object.entries(facts).map(([key, value]) =>
      element("div", {}, element("dt", { textContent: key }), element("dd", { textContent: value })),
    );
    byId("facts").replaceChildren(...rows);
    byId("model").textContent = name;
    document.title = `${name} · SGL-JAX`;
  }
}

class Gauge {
  #value = element("b");
  #line;
  #show;

  constructor({ id, label, unit, show, top, read }) {
    this.read = read;
    this.#show = show;
    this.#line = new Sparkline(top);
    this.#value.id = `gauge-${id}`;
    const name = element("span", { className: "label", textContent: label });
    const figure = element("span", { className: "figure" }, this.#value, unit ? ` ${unit}` : "");
    this.node = element("div", { className: `gauge ${id}`, title: HELP[id] }, name, figure, this.#line.node);
  }

  show(value) {
    this.#value.textContent = this.#show(value);
    this.#line.push(value);
  }
}

/** Tokens a second between two looks; from zero when the engine was started anew. */
function rate(now, before) {
  if (!before) return null;
  const [from, to] = [before.stats.generated_tokens_total, now.stats.generated_tokens_total];
  return (to >= from ? to - from : to) / ((now.at - before.at) / 1000);
}

function part(some, all) {
  return all ? some / all : null;
}

function capital(word) {
  return word[0].toUpperCase() + word.slice(1);
}
