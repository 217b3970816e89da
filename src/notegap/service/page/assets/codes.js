// Choosing codes: a combobox (ARIA Authoring Practices, list autocomplete) whose choices become buttons before it.

const input = document.getElementById("code");
const list = document.getElementById("code-list");
const chips = document.getElementById("chosen");
const count = document.getElementById("code-count");

/** Code → title, in the order they were chosen. */
const chosen = new Map();
let found = [];
let active = -1;
let changed = () => {};
let ask = async () => ({ codes: [], more: false });
let searches = 0;
/** What is written like a code can be checked though the code set lacks it: the report says so, and what it may mean. */
const CODE = /^[A-TV-Z][0-9][0-9AB](\.?[0-9A-Z]{1,4})?$/;

export const chosenCodes = () => [...chosen.keys()];

export function setUp(onChange, search) {
  changed = onChange;
  ask = search;
}

export function choose(code, title = "") {
  if (chosen.has(code)) return;
  chosen.set(code, title);
  drawChips();
  changed();
}

export function removeAll() {
  chosen.clear();
  drawChips();
}

function remove(code) {
  chosen.delete(code);
  drawChips();
  input.focus();
  changed();
}

function drawChips() {
  chips.replaceChildren(
    ...[...chosen].map(([code, title]) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "chip";
      button.title = title;
      button.setAttribute("aria-label", `Remove ${code} ${title}`.trim());
      button.append(code, " ");
      const cross = document.createElement("span");
      cross.setAttribute("aria-hidden", "true");
      cross.textContent = "×";
      button.append(cross);
      button.addEventListener("click", () => remove(code));
      item.append(button);
      return item;
    }),
  );
}

async function search() {
  const mine = (searches += 1);
  const answer = await ask(input.value);
  if (mine !== searches || document.activeElement !== input) return;
  if (!answer) {
    close();
    count.textContent = "Codes cannot be looked up now.";
    return;
  }
  found = answer.codes.filter(({ code }) => !chosen.has(code));
  active = -1;
  list.replaceChildren(...found.map(option));
  if (!found.length) list.append(nothing());
  list.hidden = false;
  input.setAttribute("aria-expanded", "true");
  input.removeAttribute("aria-activedescendant");
  count.textContent = found.length ? `${found.length}${answer.more ? " or more" : ""} code${found.length === 1 ? "" : "s"}` : "No code";
}

function option({ code, title, billable, checklist }, number) {
  const item = document.createElement("li");
  item.id = `code-option-${number}`;
  item.setAttribute("role", "option");
  item.setAttribute("aria-selected", "false");
  const name = document.createElement("span");
  name.className = "code";
  name.textContent = code;
  const words = document.createElement("span");
  words.textContent = title;
  const remark = document.createElement("span");
  remark.className = "remark";
  remark.textContent = [billable ? "" : "not billable", checklist ? "" : "no checklist"].filter(Boolean).join(", ");
  item.append(name, " ", words, " ", remark);
  // Before the input loses the focus to the list.
  item.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    take(found[number]);
  });
  return item;
}

function nothing() {
  const item = document.createElement("li");
  item.className = "none";
  item.setAttribute("role", "option");
  item.setAttribute("aria-disabled", "true");
  item.setAttribute("aria-selected", "false");
  item.textContent = CODE.test(input.value.trim().toUpperCase())
    ? "There is no such code. Press Enter to see what it may mean."
    : "No code starts with this or has these words in its title.";
  return item;
}

function activate(number) {
  if (!found.length) return;
  list.children[active]?.setAttribute("aria-selected", "false");
  active = (number + found.length) % found.length;
  const item = list.children[active];
  item.setAttribute("aria-selected", "true");
  input.setAttribute("aria-activedescendant", item.id);
  item.scrollIntoView({ block: "nearest" });
}

function take({ code, title }) {
  input.value = "";
  close();
  choose(code, title);
}

/** Take what is typed: that code, with or without its dot, else the first that is found for it. */
async function takeTyped(text) {
  const typed = text.trim().toUpperCase().replace(".", "");
  const isTyped = ({ code }) => code.replace(".", "") === typed;
  // What is listed may be what an earlier letter found, and whoever typed may be elsewhere when the answer comes.
  const answer = found.some(isTyped) ? { codes: found } : await ask(text);
  const unknown = answer && CODE.test(text.trim().toUpperCase()) ? { code: dotted(typed), title: "" } : undefined;
  const code = answer?.codes.find(isTyped) ?? answer?.codes[0] ?? unknown;
  if (code && input.value === text) take(code);
}

const dotted = (code) => (code.length > 3 ? `${code.slice(0, 3)}.${code.slice(3)}` : code);

function close() {
  searches += 1;
  found = [];
  active = -1;
  list.hidden = true;
  list.replaceChildren();
  input.setAttribute("aria-expanded", "false");
  input.removeAttribute("aria-activedescendant");
}

input.addEventListener("input", search);
input.addEventListener("click", () => list.hidden && search());
input.addEventListener("blur", close);
input.addEventListener("keydown", async (event) => {
  if (event.isComposing) return;
  const open = !list.hidden;
  switch (event.key) {
    case "ArrowDown":
    case "ArrowUp":
      event.preventDefault();
      if (!open) await search();
      activate(event.key === "ArrowDown" ? active + 1 : active < 0 ? -1 : active - 1);
      break;
    case "Enter":
      event.preventDefault();
      if (active >= 0) take(found[active]);
      else if (input.value) await takeTyped(input.value);
      break;
    case "Escape":
      if (!open && !input.value) return;
      event.preventDefault();
      if (!open) input.value = "";
      close();
      break;
    case "Backspace":
      if (!input.value && chosen.size) remove([...chosen.keys()].at(-1));
      break;
  }
});
