// Markdown on the screen. A text that grows is drawn again only where it has changed.

import { split } from "./blocks.js";
import { copyTool, element } from "./dom.js";
import { inline } from "./inline.js";

const MAX_DEPTH = 6;
const drawn = new WeakMap(); // container -> sources of the blocks that it shows

/** Shows a text in a container, which holds nothing else. What is there already and still fits stays. */
export function showMarkdown(container, text) {
  const blocks = split(text.replaceAll("\t", "    ").split(/\r?\n/));
  const sources = blocks.map(
    (block) => `${block.kind} ${block.language ?? block.level ?? ""} ${block.lines.join("\n")}`,
  );
  const before = drawn.get(container) ?? [];
  let same = 0;
  while (same < before.length && before[same] === sources[same]) same += 1;
  while (container.childNodes.length > same) container.lastChild.remove();
  for (const block of blocks.slice(same)) container.append(draw(block, 0));
  drawn.set(container, sources);
}

function draw(block, depth) {
  switch (block.kind) {
    case "code":
      return drawCode(block);
    case "heading": // the page's own headings are above
      return element(`h${Math.min(block.level + 2, 6)}`, {}, inline(block.lines[0]));
    case "rule":
      return element("hr");
    case "quote":
      return element("blockquote", {}, inner(block.lines, depth));
    case "list":
      return drawList(block, depth);
    case "table":
      return drawTable(block);
    default:
      return element("p", {}, inline(block.lines.map((line) => line.trim()).join("\n")));
  }
}

function inner(lines, depth) {
  if (depth >= MAX_DEPTH) return [element("p", { textContent: lines.join("\n") })];
  return split(lines).map((block) => draw(block, depth + 1));
}

function drawCode({ language, lines }) {
  const text = lines.join("\n");
  return element(
    "div",
    { className: "code" },
    element(
      "div",
      { className: "code-top" },
      element("span", { textContent: language || "text" }),
      copyTool(() => text),
    ),
    element("pre", { tabIndex: 0 }, element("code", { textContent: text })),
  );
}

function drawList({ items, start }, depth) {
  const rows = items.map((lines) => {
    const nodes = inner(lines, depth);
    // One paragraph, and perhaps a list below: no need for the distance of paragraphs.
    const isTight = nodes.filter((node) => node.tagName === "P").length === 1 && nodes[0].tagName === "P";
    return element("li", {}, isTight ? [...nodes[0].childNodes, ...nodes.slice(1)] : nodes);
  });
  return start === null ? element("ul", {}, rows) : element("ol", { start }, rows);
}

function drawTable({ rows }) {
  const [head, ...body] = rows;
  const row = (cells, tag) =>
    element(
      "tr",
      {},
      head.map((_, at) => element(tag, {}, inline(cells[at] ?? ""))),
    );
  return element(
    "div",
    { className: "table", tabIndex: 0 },
    element(
      "table",
      {},
      element("thead", {}, row(head, "th")),
      element(
        "tbody",
        {},
        body.map((cells) => row(cells, "td")),
      ),
    ),
  );
}
