// Elements without markup. Text is only ever set as text, so whatever a model says stays text.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes an element.
 * @param {string} tag
 * @param {Object} properties - set on the element; those that have a dash, and `role`, as attributes
 * @param {...(Node|string|(Node|string)[])} children - lists may have any length, other than arguments
 */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "role" || name.includes("-")) node.setAttribute(name, value);
    else node[name] = value;
  }
  for (const child of children.flat()) node.append(child);
  return node;
}

/** An element of SVG with attributes. */
export function drawing(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** One of the icons that index.html declares. */
export function icon(name) {
  return drawing("svg", { "aria-hidden": "true" }, drawing("use", { href: `#icon-${name}` }));
}

/** The element with this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** A small button that is an icon with a name for screen readers and pointers. */
export function tool(name, label, onclick) {
  return element(
    "button",
    { type: "button", className: "tool", title: label, "aria-label": label, onclick },
    icon(name),
  );
}

/** A button that copies what `text()` gives, and says so for a moment. */
export function copyTool(text, label = "Copy") {
  const button = tool("copy", label, async () => {
    const done = await copy(text());
    button.replaceChildren(icon(done ? "done" : "copy"));
    button.title = done ? "Copied" : "The browser does not let this page copy";
    setTimeout(() => {
      button.replaceChildren(icon("copy"));
      button.title = label;
    }, 1500);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyOldWay(text); // over plain HTTP there is no clipboard, except on this machine
  }
}

function copyOldWay(text) {
  const field = element("textarea", { value: text, className: "unseen", readOnly: true });
  const focused = document.activeElement;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return done;
}
