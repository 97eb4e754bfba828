// Markdown lines -> blocks: what is a paragraph, a list, a piece of code. Knows nothing of the screen.

const FENCE = /^ {0,3}(`{3,}|~{3,}) *([^\s`]*)/;
const HEADING = /^ {0,3}(#{1,6})(?:\s+(.*))?$/;
const RULE = /^ {0,3}(?:(?:\* *){3,}|(?:- *){3,}|(?:_ *){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])( +|$)/;
const COLUMNS = /^\|? *:?-+:? *(?:\| *:?-+:? *)*\|?$/;

/**
 * @typedef {{kind: "code"|"heading"|"rule"|"quote"|"list"|"table"|"paragraph", lines: string[]}} Block
 * `lines` is what the block holds, without its marks; headings have `level`, code has `language`, lists have
 * `items` (lines of each) and `start`, null when they are not numbered; tables have `rows` of cells.
 */

/**
 * Tells the blocks of some lines.
 * @returns {Block[]}
 */
export function split(lines) {
  const blocks = [];
  for (let at = 0; at < lines.length;) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const read = [code, heading, rule, quote, list, table].find((kind) => kind.begins(lines, at)) ?? paragraph;
    const { block, end } = read.take(lines, at);
    blocks.push(block);
    at = end;
  }
  return blocks;
}

const code = {
  begins: (lines, at) => FENCE.test(lines[at]),
  take(lines, at) {
    const [, fence, language] = lines[at].match(FENCE);
    const closes = new RegExp(`^ {0,3}${fence[0]}{${fence.length},} *$`);
    let end = at + 1;
    while (end < lines.length && !closes.test(lines[end])) end += 1;
    // Without a closing fence, all that there is: it is still being written.
    return { block: { kind: "code", language, lines: lines.slice(at + 1, end) }, end: end + 1 };
  },
};

const heading = {
  begins: (lines, at) => HEADING.test(lines[at]),
  take(lines, at) {
    const [, marks, text = ""] = lines[at].match(HEADING);
    return {
      block: { kind: "heading", level: marks.length, lines: [text.trimEnd().replace(/(?:^| )#+$/, "")] },
      end: at + 1,
    };
  },
};

const rule = {
  begins: (lines, at) => RULE.test(lines[at]),
  take: (lines, at) => ({ block: { kind: "rule", lines: [] }, end: at + 1 }),
};

const quote = {
  begins: (lines, at) => QUOTE.test(lines[at]),
  take(lines, at) {
    let end = at;
    while (end < lines.length && QUOTE.test(lines[end])) end += 1;
    return { block: { kind: "quote", lines: lines.slice(at, end).map((line) => line.replace(QUOTE, "")) }, end };
  },
};

const list = {
  begins: (lines, at) => ITEM.test(lines[at]) && lines[at].match(ITEM)[1].length < 4,
  take(lines, at) {
    const [, indent, mark] = lines[at].match(ITEM);
    const isNumbered = /\d/.test(mark);
    const items = [];
    let width = 0; // of the item's mark, with what stands before it
    let end = at;
    for (; end < lines.length; end += 1) {
      const line = lines[end];
      const match = line.match(ITEM);
      const isOurs = match && /\d/.test(match[2]) === isNumbered && !RULE.test(line);
      if (isOurs && match[1].length < Math.max(width, indent.length + 1)) {
        width = match[0].length || indent.length + mark.length + 1;
        items.push([line.slice(match[0].length)]);
      } else if (!line.trim()) {
        // A blank line ends the list, unless more of it comes.
        const after = lines.slice(end + 1, end + 3).find((later) => later.trim());
        if (!after || !(ITEM.test(after) || indentOf(after) >= Math.min(width, 2))) break;
        items.at(-1).push("");
      } else if (indentOf(line) >= Math.min(width, 2)) {
        items.at(-1).push(line.slice(Math.min(indentOf(line), width)));
      } else if (match || breaks(lines, end)) {
        break;
      } else {
        items.at(-1).push(line); // a paragraph's line that the model did not indent
      }
    }
    return {
      block: { kind: "list", start: isNumbered ? parseInt(mark, 10) : null, items, lines: lines.slice(at, end) },
      end,
    };
  },
};

const table = {
  begins(lines, at) {
    return (
      lines[at].includes("|") &&
      at + 1 < lines.length &&
      lines[at + 1].includes("-") &&
      COLUMNS.test(lines[at + 1].trim())
    );
  },
  take(lines, at) {
    let end = at + 2;
    while (end < lines.length && lines[end].includes("|")) end += 1;
    const rows = [lines[at], ...lines.slice(at + 2, end)].map(cells);
    return { block: { kind: "table", rows, lines: lines.slice(at, end) }, end };
  },
};

const paragraph = {
  take(lines, at) {
    let end = at + 1;
    while (end < lines.length && lines[end].trim() && !breaks(lines, end)) end += 1;
    return { block: { kind: "paragraph", lines: lines.slice(at, end) }, end };
  },
};

/** Whether a line ends the paragraph before it. A number does only if it is the first of a list. */
function breaks(lines, at) {
  const item = lines[at].match(ITEM);
  const isItem = item && item[3] && (!/\d/.test(item[2]) || parseInt(item[2], 10) === 1);
  return isItem || [code, heading, rule, quote, table].some((kind) => kind.begins(lines, at));
}

function cells(line) {
  const inner = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function indentOf(line) {
  return line.length - line.trimStart().length;
}
