// Stays at the end of a text that grows, unless the reader has gone elsewhere.

const NEAR = 64; // pixels from the end that still count as the end

export class Scroller {
  #box;
  #button;
  #isAtEnd = true;

  /**
   * @param {HTMLElement} box - what scrolls
   * @param {HTMLButtonElement} button - goes to the end; shown while that is elsewhere
   */
  constructor(box, button) {
    this.#box = box;
    this.#button = button;
    box.addEventListener("scroll", () => this.#look(), { passive: true });
    new ResizeObserver(() => this.follow()).observe(box);
    button.addEventListener("click", () => this.toEnd());
  }

  /** Goes to the end. */
  toEnd() {
    this.#isAtEnd = true;
    this.follow();
  }

  /** Goes to the end if that is where the reader was. */
  follow() {
    if (this.#isAtEnd) this.#box.scrollTop = this.#box.scrollHeight;
    this.#look();
  }

  #look() {
    const { scrollHeight, scrollTop, clientHeight } = this.#box;
    this.#isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR;
    this.#button.hidden = this.#isAtEnd;
  }
}
