// The conversation on the screen: asking, stopping, asking again, changing what was said.

import { explain } from "./api.js";
import { Conversation } from "./conversation.js";
import { byId, element } from "./dom.js";
import { AnswerView, UserView, describe } from "./message.js";
import { receive } from "./reply.js";
import { Scroller } from "./scroller.js";

const IDEAS = [
  "What is gravity?",
  "Write a haiku about rain on a tin roof.",
  "Explain the KV cache of a language model in three sentences.",
  "Show me a Python function that finds prime numbers.",
];

/** The left side of the page. */
export class Chat {
  #conversation = new Conversation();
  #list = byId("messages");
  #prompt = byId("prompt");
  #send = byId("send");
  #stop = byId("stop");
  #scroller = new Scroller(byId("scroll"), byId("latest"));
  #nodes = new Map(); // message -> its element
  /** @type {AbortController|null} of the answer that is coming */
  #running = null;
  #settings;
  #onRefused;

  /**
   * @param {{request: () => ({system: string, fields: Object}|null)}} settings - null when they cannot be sent
   * @param {(error: ApiError) => void} onRefused - hears of answers that did not come
   */
  constructor(settings, onRefused) {
    this.#settings = settings;
    this.#onRefused = onRefused;
    this.#listen();
    this.#conversation.restore();
    for (const message of this.#conversation.messages) {
      if (message.role === "assistant" && !message.end && !message.error) message.end = "lost";
      this.#place(message);
    }
    this.#greet();
    this.#scroller.toEnd();
  }

  #listen() {
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#prompt.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    this.#prompt.addEventListener("input", () => this.#fit());
    this.#stop.addEventListener("click", () => this.stop());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#running) this.stop();
    });
    byId("new").addEventListener("click", () => this.#begin());
    const ideas = IDEAS.map((idea) =>
      element("button", { type: "button", textContent: idea, onclick: () => this.#ask(idea) }),
    );
    byId("ideas").append(...ideas.map((button) => element("li", {}, button)));
  }

  /** Ends the answer that is coming. The server hears of it, since its connection closes. */
  stop() {
    this.#running?.abort();
    this.#prompt.focus();
  }

  #begin() {
    this.stop();
    if (this.#conversation.messages.length) this.#cutAt(this.#conversation.messages[0]);
    this.#greet();
    this.#prompt.focus();
  }

  #submit() {
    const text = this.#prompt.value.trim();
    if (!text || this.#running) return;
    if (this.#ask(text)) {
      this.#prompt.value = "";
      this.#fit();
    }
  }

  /**
   * Says something for the user, at the end or in the place of a message. False when the settings do not let it.
   */
  #ask(text, instead = null) {
    const given = this.#settings.request();
    if (!given) return false;
    this.stop();
    if (instead) this.#cutAt(instead);
    this.#place(this.#conversation.add({ role: "user", content: text }));
    this.#answer(given);
    return true;
  }

  /** Asks for another answer in the place of one. */
  #again(message) {
    const given = this.#settings.request();
    if (!given) return;
    this.stop();
    this.#cutAt(message);
    this.#answer(given);
  }

  #cutAt(message) {
    const { messages } = this.#conversation;
    for (const gone of messages.slice(messages.indexOf(message))) {
      this.#nodes.get(gone)?.remove();
      this.#nodes.delete(gone);
    }
    this.#conversation.cutAt(message);
  }

  async #answer({ system, fields }) {
    const messages = this.#conversation.toRequest(system);
    const message = this.#conversation.add({ role: "assistant", content: "" });
    const view = this.#place(message, true);
    const running = new AbortController();
    this.#setRunning(running);
    this.#scroller.toEnd();
    let isDrawn = true; // false while a frame is asked for
    const draw = () => {
      isDrawn = true;
      view.show(message, this.#running === running);
      this.#scroller.follow();
    };
    try {
      await receive(message, { ...fields, messages }, running.signal, () => {
        if (isDrawn) requestAnimationFrame(draw);
        isDrawn = false;
      });
    } catch (error) {
      message.end = "stopped";
      if (!running.signal.aborted) this.#fail(message, error);
    }
    if (this.#running === running) this.#setRunning(null);
    draw();
    this.#conversation.keep();
    byId("spoken").textContent = `The answer has ended. ${message.error?.title ?? describe(message.numbers, null)}`;
  }

  #fail(message, error) {
    message.end = "lost";
    message.error = explain(error);
    this.#onRefused(error);
  }

  #setRunning(running) {
    this.#running = running;
    this.#send.hidden = Boolean(running);
    this.#stop.hidden = !running;
    // Read out once it is whole, rather than word by word.
    this.#list.setAttribute("aria-busy", String(Boolean(running)));
  }

  #place(message, isRunning = false) {
    const isUser = message.role === "user";
    const view = isUser
      ? new UserView(message, (text) => this.#ask(text, message))
      : new AnswerView(message, () => this.#again(message));
    if (!isUser) view.show(message, isRunning);
    this.#nodes.set(message, view.node);
    this.#list.append(view.node);
    this.#greet();
    return view;
  }

  #greet() {
    byId("welcome").hidden = this.#conversation.messages.length > 0;
  }

  #fit() {
    this.#prompt.style.height = "auto";
    this.#prompt.style.height = `${this.#prompt.scrollHeight}px`;
  }
}
