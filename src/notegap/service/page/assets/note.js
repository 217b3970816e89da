// The note: a text field, and under it the same text with its marks. The text one sees is the layer's; the field's own
// is transparent, so that editing, undo and selection stay the browser's.

/** The marks of the text as it stands, in UTF-16 offsets: {start, end, look}. */
let marks = [];
let text = "";
let drawn = [];
const names = new Map();

const field = document.getElementById("note");
const layer = document.querySelector("[data-layer]");

export const current = () => text;

/** The text was edited: marks move with it, those that were edited go. */
export function edited() {
  const now = field.value;
  marks = shifted(marks, text, now);
  text = now;
  draw();
}

/** A report came for `read`; the text may have been edited since. */
export function setMarks(read, looks, found) {
  for (const look of looks) look.name = nameOf(look);
  marks = shifted(found.map(([start, end, look]) => ({ start, end, look: looks[look] })), read, text);
  draw();
}

export function clearMarks() {
  marks = [];
  draw();
}

/** The element of the mark at `offset`, null where there is none. */
export function markAt(offset) {
  const inside = marks.find((mark) => mark.start <= offset && offset < mark.end) ?? marks.find((mark) => mark.end === offset);
  return inside ? elementAt(inside.start, inside.end) : null;
}

/** The mark under a point of the screen: the field lies over it. */
export function markUnder(x, y) {
  return document.elementsFromPoint(x, y).find((element) => element.classList.contains("mark") && layer.contains(element)) ?? null;
}

/** Put the cursor at `offset` and bring it into view. */
export function putCursor(offset) {
  field.focus({ preventScroll: true });
  field.setSelectionRange(offset, offset);
  lineAt(offset).line?.scrollIntoView({ block: "center" });
}

/** What `before`'s marks are in `after`: the two differ between what they begin and what they end alike with. */
function shifted(before, old, now) {
  if (old === now) return before;
  const most = Math.min(old.length, now.length);
  let head = 0;
  while (head < most && old.charCodeAt(head) === now.charCodeAt(head)) head += 1;
  let tail = 0;
  while (tail < most - head && old.charCodeAt(old.length - 1 - tail) === now.charCodeAt(now.length - 1 - tail)) tail += 1;
  const from = old.length - tail;
  const by = now.length - old.length;
  const kept = [];
  for (const mark of before) {
    if (mark.end <= head) kept.push(mark);
    else if (mark.start >= from) kept.push({ ...mark, start: mark.start + by, end: mark.end + by });
  }
  return kept;
}

/** Draw the lines that changed. */
function draw() {
  const next = [];
  let at = 0;
  let first = 0;
  for (const line of text.split("\n")) {
    const end = at + line.length;
    const pieces = [];
    let mark = first;
    for (; mark < marks.length && marks[mark].start < end; mark += 1) {
      const start = Math.max(marks[mark].start, at);
      if (marks[mark].end > start) pieces.push({ start: start - at, end: Math.min(marks[mark].end, end) - at, look: marks[mark].look, opens: marks[mark].start >= at });
      if (marks[mark].end > end) break;
    }
    first = mark;
    next.push({ line, pieces, name: `${line}\u0000${pieces.map((each) => `${each.start},${each.end},${each.look.name},${each.opens}`).join(";")}` });
    at = end + 1;
  }
  let head = 0;
  while (head < drawn.length && head < next.length && drawn[head] === next[head].name) head += 1;
  let tail = 0;
  const most = Math.min(drawn.length, next.length) - head;
  while (tail < most && drawn[drawn.length - 1 - tail] === next[next.length - 1 - tail].name) tail += 1;
  for (let gone = drawn.length - tail - 1; gone >= head; gone -= 1) layer.children[gone].remove();
  const after = layer.children[head] ?? null;
  const made = document.createDocumentFragment();
  for (const each of next.slice(head, next.length - tail)) made.append(lineOf(each));
  layer.insertBefore(made, after);
  drawn = next.map((each) => each.name);
}

function lineOf({ line, pieces }) {
  const made = document.createElement("div");
  made.className = "line";
  let at = 0;
  for (const { start, end, look, opens } of pieces) {
    if (start > at) made.append(line.slice(at, start));
    const [classes, sign, title, keys] = look;
    const mark = document.createElement("span");
    mark.className = `mark ${classes}`;
    if (sign && opens) mark.dataset.sign = sign;
    mark.dataset.keys = keys.join(" ");
    if (title) mark.title = title;
    mark.textContent = line.slice(start, end);
    made.append(mark);
    at = end;
  }
  if (at < line.length) made.append(line.slice(at));
  return made;
}

function nameOf(look) {
  const whole = look.join("\u0001");
  if (!names.has(whole)) names.set(whole, names.size);
  return names.get(whole);
}

function lineAt(offset) {
  const before = text.lastIndexOf("\n", offset - 1) + 1;
  let number = 0;
  for (let at = text.indexOf("\n"); at !== -1 && at < before; at = text.indexOf("\n", at + 1)) number += 1;
  return { line: layer.children[number], start: before };
}

function elementAt(start, end) {
  const { line, start: before } = lineAt(start);
  let at = before;
  for (const node of line?.childNodes ?? []) {
    const length = node.textContent.length;
    if (at < end && at + length > start && node.nodeType === Node.ELEMENT_NODE) return node;
    at += length;
  }
  return null;
}
