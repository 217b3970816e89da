// Lighting: an item and the stretches of the note that decide it light each other. Shared by the live page and the
// HTML report. A mark carries keys (data-keys); items, facts and pointers carry one (data-key).

let lit = [];

const layer = () => document.querySelector("[data-layer]");
const keysOf = (mark) => (mark.dataset.keys ? mark.dataset.keys.split(" ") : []);

export function marksOf(key) {
  return [...layer().querySelectorAll(".mark")].filter((mark) => keysOf(mark).includes(key));
}

/** Light everything that has one of `keys`, and nothing else. */
export function light(keys, marks) {
  for (const element of lit) element.classList.remove("lit");
  lit = marks ?? keys.flatMap(marksOf);
  for (const element of document.querySelectorAll("[data-key]")) {
    if (keys.includes(element.dataset.key)) lit.push(element);
  }
  for (const element of lit) element.classList.add("lit");
}

/** Go to the next of the places that decide `key`: pressing again goes to the one after. */
const visited = new Map();
function go(key) {
  const starts = marksOf(key).filter((mark, at, marks) => !follows(marks[at - 1], mark));
  if (!starts.length) return;
  const next = (visited.get(key) ?? -1) + 1;
  visited.set(key, next % starts.length);
  starts[next % starts.length].scrollIntoView({ block: "center", behavior: "auto" });
}

const follows = (before, mark) => before !== undefined && mark.previousSibling === before;

/** Light what `mark` decides; the first item is brought into view, and `asked` says what the mark is. */
export function showMark(mark) {
  const keys = mark ? keysOf(mark) : [];
  light(keys, mark ? [mark] : []);
  const items = [...document.querySelectorAll(".item[data-key]")].filter((item) => keys.includes(item.dataset.key));
  // On a phone the report is below the note: going there would take the note away.
  if (matchMedia("(min-width: 56.01rem)").matches) items[0]?.scrollIntoView({ block: "nearest" });
  const decides = [...new Set(items.map((item) => item.dataset.key))].join(", ");
  const title = mark?.title || mark?.dataset.title || "";
  say(mark ? [title, decides ? `decides ${decides}` : "decides no item"].filter(Boolean).join(". ") : "");
}

export function say(text) {
  const asked = document.querySelector("[data-asked]");
  if (asked && asked.textContent !== text) asked.textContent = text;
}

/** Wire the report: hovering or focusing an item lights its evidence, pressing it goes there. */
export function wire(root, goToPlace) {
  const keyed = (event) => event.target.closest?.("[data-key]");
  let held = null;
  const show = (event) => {
    const element = keyed(event);
    if (element) light([element.dataset.key]);
  };
  root.addEventListener("pointerover", show);
  root.addEventListener("pointerleave", () => light(held ? [held] : []));
  root.addEventListener("focusin", (event) => {
    held = keyed(event)?.dataset.key ?? null;
    show(event);
  });
  root.addEventListener("focusout", () => {
    held = null;
    light([]);
  });
  root.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.offset !== undefined) goToPlace(button.dataset.offset);
    else if (keyed(event) && (!button || "go" in button.dataset)) go(keyed(event).dataset.key);
  });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.defaultPrevented) light([]);
  });
}

/** Print shows what is folded, and folds it again. */
export function unfoldForPrint() {
  let folded = [];
  addEventListener("beforeprint", () => {
    const closed = [...document.querySelectorAll("details:not([open])")].filter((each) => /^(rest-.*|facts|legend)$/.test(each.id));
    for (const each of closed) each.open = true;
    folded.push(...closed);
  });
  addEventListener("afterprint", () => {
    for (const each of folded) each.open = false;
    folded = [];
  });
}

/** The HTML report: its note stands still. */
export function showStanding() {
  wire(document.querySelector("[data-report]"), (place) => {
    layer().querySelector(`[data-at="${CSS.escape(place)}"]`)?.scrollIntoView({ block: "center" });
  });
  layer().addEventListener("click", (event) => {
    const mark = event.target.closest(".mark");
    showMark(mark);
  });
  unfoldForPrint();
}
