// How a message looks.

import { copyTool, element, icon, tool } from "./dom.js";
import { showMarkdown } from "./markdown.js";
import { count, duration, speed } from "./numbers.js";

const ENDS = {
  length: "Reached the limit of tokens",
  stopped: "Stopped",
  abort: "Ended by the server",
  lost: "Not finished",
};

/** What the user said, with a field to change it. */
export class UserView {
  /**
   * @param {Message} message
   * @param {(text: string) => void} onEdit - takes the text that shall stand here instead
   */
  constructor(message, onEdit) {
    this.node = element("li", { className: "message user" });
    this.#show(message, onEdit);
  }

  #show(message, onEdit) {
    const edit = tool("edit", "Edit", () => this.#edit(message, onEdit));
    this.node.replaceChildren(
      element("h3", { className: "unseen", textContent: "You" }),
      element("div", { className: "said", textContent: message.content }),
      element(
        "div",
        { className: "tools" },
        edit,
        copyTool(() => message.content),
      ),
    );
    return edit;
  }

  #edit(message, onEdit) {
    const field = element("textarea", { value: message.content, "aria-label": "Your message", rows: 3 });
    const leave = () => this.#show(message, onEdit).focus();
    const save = () => (field.value.trim() ? onEdit(field.value.trim()) : leave());
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") leave();
      else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) save();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    const buttons = [
      element("button", { type: "button", className: "quiet", textContent: "Cancel", onclick: leave }),
      element("button", { type: "button", className: "main", textContent: "Send", onclick: save }),
    ];
    this.node.replaceChildren(
      element("div", { className: "editing" }, field, element("div", { className: "row" }, ...buttons)),
    );
    field.focus();
  }
}

/** An answer, which may still be growing. */
export class AnswerView {
  #reasoning = element("div", { className: "prose" });
  #thought = element("span");
  #fold = element(
    "details",
    { className: "fold reasoning", hidden: true },
    element("summary", {}, icon("open"), this.#thought),
    this.#reasoning,
  );
  #text = element("div", { className: "prose" });
  #calls = element("div", { className: "calls" });
  #waiting = element(
    "p",
    { className: "waiting" },
    element("span", { className: "unseen", textContent: "Waiting for the answer" }),
  );
  #error = element("div", { className: "failure", role: "alert", hidden: true });
  #numbers = element("p", { className: "numbers" });
  #tools;
  #onAgain;

  /**
   * @param {Message} message
   * @param {() => void} onAgain - asks for another answer
   */
  constructor(message, onAgain) {
    this.#onAgain = onAgain;
    this.#tools = element(
      "div",
      { className: "tools" },
      copyTool(() => message.content),
      tool("again", "Answer again", onAgain),
    );
    this.node = element(
      "li",
      { className: "message answer" },
      element("h3", { className: "unseen", textContent: "Model" }),
      this.#fold,
      this.#text,
      this.#calls,
      this.#waiting,
      this.#error,
      element("div", { className: "under" }, this.#numbers, this.#tools),
    );
  }

  /**
   * Shows the message as it is now.
   * @param {boolean} isRunning - whether more may come
   */
  show(message, isRunning) {
    const { content, reasoning, calls = [], numbers, end, error } = message;
    const isThinking = isRunning && !content && !calls.length;
    this.node.classList.toggle("running", isRunning);
    this.#waiting.hidden = !isRunning || Boolean(content || calls.length || reasoning);
    this.#fold.hidden = !reasoning;
    this.#thought.textContent = isThinking ? "Thinking…" : "Thought before answering";
    if (reasoning) showMarkdown(this.#reasoning, reasoning);
    showMarkdown(this.#text, content);
    this.#showCalls(calls);
    this.#tools.hidden = isRunning || Boolean(error && !content); // then there is nothing but what went wrong
    this.#numbers.textContent = describe(numbers, isRunning || error ? null : ENDS[end]);
    this.#error.hidden = !error;
    if (error && !this.#error.hasChildNodes()) {
      const again = element("button", {
        type: "button",
        className: "quiet",
        textContent: "Try again",
        onclick: this.#onAgain,
      });
      this.#error.append(
        element("strong", { textContent: error.title }),
        element("p", { textContent: error.advice }),
        again,
      );
    }
  }

  #showCalls(calls) {
    const texts = calls.map(({ function: { name, arguments: text } }) => [name, readable(text)]);
    this.#calls.hidden = !calls.length;
    this.#calls.replaceChildren(
      ...texts.map(([name, text]) =>
        element(
          "div",
          { className: "code" },
          element(
            "div",
            { className: "code-top" },
            element("span", {}, "calls ", element("b", { textContent: name })),
            copyTool(() => text),
          ),
          element("pre", { tabIndex: 0 }, element("code", { textContent: text })),
        ),
      ),
    );
  }
}

/** A call's arguments with line breaks, once they are whole. */
function readable(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** What the line under an answer says. */
export function describe(numbers, end) {
  const parts = [];
  if (numbers?.tokens) parts.push(`${count(numbers.tokens)} token${numbers.tokens === 1 ? "" : "s"}`);
  if (numbers?.rate) parts.push(`${speed(numbers.rate)} tok/s`);
  if (numbers?.first != null) parts.push(`first after ${duration(numbers.first)}`);
  if (numbers?.cached) parts.push(`${count(numbers.cached)} of ${count(numbers.prompt)} prompt tokens cached`);
  if (end) parts.push(end);
  return parts.join(" · ");
}
