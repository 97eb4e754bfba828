// What was said, and what of it the model is told. Kept for this tab only.

const PLACE = "sgl-jax.conversation";

/**
 * @typedef {{role: "user"|"assistant", content: string, reasoning?: string, calls?: Object[], end?: string,
 *   numbers?: Object, error?: Object}} Message
 * Of the assistant's messages: `calls` as OpenAI's API has them; `end` is the finish reason, or `stopped`;
 * `numbers` are tokens and times; `error` is what `explain` said.
 */

/** The messages in order, the user's and the assistant's in turn. */
export class Conversation {
  /** @type {Message[]} */
  messages = [];

  /** Brings back what this tab showed before it was loaded again. */
  restore() {
    try {
      this.messages = JSON.parse(sessionStorage.getItem(PLACE) ?? "[]");
    } catch {
      this.messages = [];
    }
  }

  /** Keeps what there is now, for `restore`. */
  keep() {
    try {
      sessionStorage.setItem(PLACE, JSON.stringify(this.messages));
    } catch {
      sessionStorage.removeItem(PLACE); // longer than the browser keeps
    }
  }

  /** Adds a message and returns it. */
  add(message) {
    this.messages.push(message);
    return message;
  }

  /** Forgets a message and all that came after it. */
  cutAt(message) {
    this.messages.length = this.messages.indexOf(message);
    this.keep();
  }

  /** The `messages` of a request for the next answer. */
  toRequest(system) {
    const said = this.messages.filter((message) => message.role === "user" || message.content || message.calls?.length);
    const turns = said.map(({ role, content, reasoning, calls }) => ({
      role,
      content,
      ...(reasoning && { reasoning_content: reasoning }),
      ...(calls?.length && { tool_calls: calls }),
    }));
    return system ? [{ role: "system", content: system }, ...turns] : turns;
  }
}
