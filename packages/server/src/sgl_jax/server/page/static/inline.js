// The inside of a line of Markdown: emphasis, code, links. Becomes nodes, never markup.

import { element } from "./dom.js";

const TAGS = { "*": ["em"], _: ["em"], "**": ["strong"], __: ["strong"], "***": ["strong", "em"], "~~": ["del"] };
const MARK = /\\[!-/:-@[-`{-~]|`+|\*{1,3}|_{1,2}|~~|!?\[|https?:\/\/|\n/g;
// Lengths are bounded, so that a hostile text takes no longer than a long one.
const LINK =
  /!?\[([^[\]\n]{0,500})\]\(\s*<?([^\s<>()]{1,999}(?:\([^\s<>()]{0,99}\)[^\s<>()]{0,99})?)>?(?:\s+"[^"\n]{0,200}")?\s*\)/y;
const ADDRESS = /https?:\/\/[^\s<>"'`*\\]{1,2000}/y;
const TRAILING = /[.,:;!?)\]]+$/;
const MAX_DEPTH = 8;

/**
 * The nodes of a line, or of several.
 * @returns {(Node|string)[]}
 */
export function inline(text, depth = 0) {
  if (depth > MAX_DEPTH) return [text];
  const nodes = [];
  const unclosed = new Set(); // marks that nothing closes from here on
  let plain = 0; // where the text begins that is not in `nodes` yet
  MARK.lastIndex = 0;
  for (let at = next(text, 0); at; at = next(text, at.end)) {
    const found = read(text, at, unclosed, depth);
    if (!found) continue;
    nodes.push(text.slice(plain, at.start), ...found.nodes);
    plain = at.end = found.end;
  }
  nodes.push(text.slice(plain));
  return nodes.filter((node) => node !== "");
}

function next(text, from) {
  MARK.lastIndex = from;
  const match = MARK.exec(text);
  return match && { mark: match[0], start: match.index, end: match.index + match[0].length };
}

function read(text, { mark, start, end }, unclosed, depth) {
  if (mark === "\n") return { nodes: [element("br")], end };
  if (mark[0] === "\\") return { nodes: [mark[1]], end };
  if (mark[0] === "`") return readCode(text, mark, end, unclosed);
  if (mark.endsWith("[")) return readLink(text, start, depth);
  if (mark.startsWith("http")) return readAddress(text, start);
  return readEmphasis(text, mark, start, end, unclosed, depth);
}

function readCode(text, mark, from, unclosed) {
  const end = closing(text, mark, from, unclosed, () => true);
  if (end < 0) return null;
  const code = text.slice(from, end).replaceAll("\n", " ");
  const isPadded = code.startsWith(" ") && code.endsWith(" ") && code.trim();
  const shown = isPadded ? code.slice(1, -1) : code;
  return { nodes: [element("code", { textContent: shown })], end: end + mark.length };
}

function readEmphasis(text, mark, start, from, unclosed, depth) {
  if (isSpace(text[from])) return null;
  const isWordy = mark[0] === "_"; // snake_case is no emphasis
  if (isWordy && isWord(text[start - 1])) return null;
  const end = closing(text, mark, from, unclosed, (at) => {
    return at > from && !isSpace(text[at - 1]) && !(isWordy && isWord(text[at + mark.length]));
  });
  if (end < 0) return null;
  let children = inline(text.slice(from, end), depth + 1);
  for (const tag of TAGS[mark]) children = [element(tag, {}, children)];
  return { nodes: children, end: end + mark.length };
}

/** Where the same mark, and no longer one, stands again; -1 when nowhere. */
function closing(text, mark, from, unclosed, fits) {
  if (unclosed.has(mark)) return -1;
  const symbol = mark[0];
  for (let at = text.indexOf(mark, from); at >= 0;) {
    let end = at + mark.length;
    while (text[end] === symbol) end += 1;
    if (end === at + mark.length && text[at - 1] !== "\\" && fits(at)) return at;
    at = text.indexOf(mark, end);
  }
  unclosed.add(mark);
  return -1;
}

function readLink(text, start, depth) {
  LINK.lastIndex = start;
  const match = LINK.exec(text);
  if (!match) return null;
  const [whole, label, address] = match;
  // Pictures are shown as links: the page loads nothing that a model names.
  const nodes = link(address, label ? inline(label, depth + 1) : [address]);
  return nodes && { nodes, end: start + whole.length };
}

function readAddress(text, start) {
  ADDRESS.lastIndex = start;
  const match = ADDRESS.exec(text);
  if (!match) return null;
  const address = match[0].replace(TRAILING, "");
  const nodes = link(address, [address]);
  return nodes && { nodes, end: start + address.length };
}

function link(address, children) {
  let url;
  try {
    url = new URL(address); // without a base: addresses of this server's own routes are no links
  } catch {
    return null;
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") return null;
  return [element("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, children)];
}

function isSpace(character) {
  return character === undefined || /\s/.test(character);
}

function isWord(character) {
  return character !== undefined && /[\p{L}\p{N}_]/u.test(character);
}
