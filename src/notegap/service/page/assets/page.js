// The live page: what is typed is read by the server on this machine, and the report follows. Nothing is stored.

import { choose, chosenCodes, removeAll, setUp } from "./codes.js";
import { children } from "./morph.js";
import { clearMarks, current, edited, markAt, markUnder, putCursor, setMarks } from "./note.js";
import { light, say, showMark, unfoldForPrint, wire } from "./report.js";

const byId = (id) => document.getElementById(id);
const field = byId("note");
const body = byId("body");

/** Milliseconds from the last key to the report that are aimed at; what takes much longer waits for a real pause. */
const AIM = 100;
const SHORTEST = 25;
const PAUSE = 200;
/** How long a report may take. */
const LONGEST_WAIT = 60_000;
/** Read aloud once typing has rested. */
const SPEAK_AFTER = 1_000;

let name = "note";
let comparing = null;
let cost = 30;
let timer = 0;
let speaking = 0;
let asking = false;
let again = false;
let places = {};
let typed = 0;

const asked = () => ({
  text: wellFormed(current()),
  name,
  codes: comparing ?? chosenCodes(),
  setting: byId("setting").value,
  date_of_service: byId("date").value || null,
  comparing: comparing !== null,
});

// ── asking ──

class Failure extends Error {}

async function post(path, sent, type = "application/json") {
  let answer;
  try {
    answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": type },
      body: sent,
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(LONGEST_WAIT),
    });
  } catch {
    throw new Failure("notegap does not answer. Is it still running?");
  }
  if (!answer.ok) throw new Failure(await detailOf(answer));
  return answer;
}

async function detailOf(answer) {
  const isOurs = answer.headers.get("Content-Type")?.startsWith("application/problem+json");
  const said = isOurs ? await answer.json().catch(() => ({})) : {};
  return typeof said.detail === "string" ? said.detail : "notegap gave no answer that can be read.";
}

/** Ask for a report soon: with what reading costs it is to be there `AIM` after the last key, if that can be. */
function soon() {
  clearTimeout(timer);
  if (!current().trim()) {
    empty();
    return;
  }
  if (document.body.dataset.state !== "failed") document.body.dataset.state = "pending";
  timer = setTimeout(report, cost < 3 * AIM ? Math.max(SHORTEST, AIM - cost) : PAUSE);
}

/** One question is on its way at a time; what was typed meanwhile is asked when it is answered. */
async function report() {
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  again = false;
  const question = asked();
  const sent = JSON.stringify(question);
  const start = performance.now();
  try {
    const answer = await post("/page/report", sent);
    show(question, await answer.json());
    cost = performance.now() - start;
    if (sent === JSON.stringify(asked())) settle();
  } catch (error) {
    fail(error);
  } finally {
    asking = false;
    if (again) soon();
  }
}

function show(question, { html, looks, marks, places: found, summary }) {
  if (!current().trim()) return;
  const made = new DOMParser().parseFromString(html, "text/html").body;
  children(body, made);
  setMarks(question.text, looks, marks);
  places = found;
  document.body.classList.toggle("comparing", question.comparing);
  byId("welcome").hidden = true;
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    if (byId("live").textContent !== summary) byId("live").textContent = summary;
  }, SPEAK_AFTER);
}

function settle() {
  document.body.dataset.state = "fresh";
  byId("failure").hidden = true;
  // What benchmarks/page.py waits for.
  performance.clearMarks();
  performance.mark("notegap-report");
}

/** Nothing was checked: said loudly, and what is still shown is marked as old. */
function fail(error) {
  if (!(error instanceof Failure)) reportError(error);
  document.body.dataset.state = "failed";
  byId("failure-why").textContent = error instanceof Failure ? error.message : "The answer could not be shown.";
  byId("failure-old").hidden = !body.childElementCount;
  byId("failure").hidden = false;
  byId("welcome").hidden = true;
  clearTimeout(speaking);
  byId("live").textContent = "";
}

function empty() {
  document.body.dataset.state = "empty";
  body.replaceChildren();
  clearMarks();
  byId("failure").hidden = true;
  byId("welcome").hidden = false;
  clearTimeout(speaking);
  byId("live").textContent = "";
  say("");
}

// ── the note ──

field.addEventListener("input", () => {
  typed = performance.now();
  edited();
  say("");
  soon();
});

// The cursor in a mark lights what it decides: by a click or by the arrow keys, but not while typing.
document.addEventListener("selectionchange", () => {
  if (document.activeElement !== field || performance.now() - typed < 200) return;
  if (field.selectionStart !== field.selectionEnd) return;
  showMark(markAt(field.selectionStart));
});
field.addEventListener("blur", () => light([]));

let pointed = 0;
field.addEventListener("pointermove", (event) => {
  if (pointed) return;
  pointed = requestAnimationFrame(() => {
    pointed = 0;
    field.title = markUnder(event.clientX, event.clientY)?.title ?? "";
  });
});

function setText(text, from = "note") {
  name = from.slice(0, 200);
  field.value = text;
  typed = performance.now();
  edited();
  soon();
}

async function read(file) {
  try {
    const answer = await post("/page/read", file, "application/octet-stream");
    setText((await answer.json()).text, file.name);
    field.setSelectionRange(0, 0);
    byId("paper").scrollTop = 0;
    field.focus();
  } catch (error) {
    done(error instanceof Failure ? `Not opened: ${error.message}` : "Not opened.", true);
  }
}

byId("open").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", () => {
  const [file] = byId("file").files;
  if (file) read(file);
  byId("file").value = "";
});
addEventListener("dragover", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  document.body.classList.add("dragging");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
addEventListener("drop", (event) => {
  document.body.classList.remove("dragging");
  const [file] = event.dataTransfer.files;
  if (!file) return;
  event.preventDefault();
  read(file);
});
byId("clear").addEventListener("click", () => {
  comparing = null;
  removeAll();
  setText("");
  field.focus();
});

// ── codes, setting, date ──

setUp(
  () => {
    comparing = null;
    soon();
  },
  async (text) => {
    try {
      return await (await post("/page/codes", JSON.stringify({ text: wellFormed(text).slice(0, 200) }))).json();
    } catch {
      return null;
    }
  },
);
byId("setting").addEventListener("change", soon);
byId("date").addEventListener("input", soon);

body.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.check) check(button.dataset.check);
  if (button.dataset.compare) {
    comparing = button.dataset.compare.split(" ");
    soon();
    byId("report").scrollTop = 0;
    byId("report").focus();
  }
  if ("endComparison" in button.dataset) {
    comparing = null;
    soon();
    byId("report").focus();
  }
});

/** Check `code` beside what is checked now, which may be codes that nobody chose. */
function check(code) {
  const shown = [...body.querySelectorAll(".check h2 .code")].map((each) => each.textContent);
  comparing = null;
  for (const each of shown) choose(each);
  choose(code);
}

// ── copy, download, print ──

byId("tools").addEventListener("click", (event) => {
  const { copy, download } = event.target.closest("button")?.dataset ?? {};
  if (copy) copied(copy);
  if (download) downloaded(download);
});
byId("print").addEventListener("click", () => print());
byId("again").addEventListener("click", () => {
  report();
  field.focus();
});

const printed = async (form) => (await post(`/page/report/${form}`, JSON.stringify(asked()))).blob();

async function copied(form) {
  try {
    // The clipboard takes a promise: waiting first would lose the leave that the click gave.
    const text = printed(form).then((blob) => new Blob([blob], { type: "text/plain" }));
    await navigator.clipboard.write([new ClipboardItem({ "text/plain": text })]);
    done("Copied.");
  } catch (error) {
    done(error instanceof Failure ? `Not copied: ${error.message}` : "Not copied: the browser did not allow it.", true);
  }
}

async function downloaded(form) {
  try {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await printed(form));
    link.download = `${name.replace(/\.txt$/i, "")}.report.${form}`;
    link.click();
    URL.revokeObjectURL(link.href);
    done("Saved by the browser.");
  } catch (error) {
    done(error instanceof Failure ? `Not saved: ${error.message}` : "Not saved.", true);
  }
}

let hiding = 0;
function done(text, failed = false) {
  byId("done").textContent = text;
  byId("done").classList.toggle("failed", failed);
  clearTimeout(hiding);
  hiding = setTimeout(() => (byId("done").textContent = ""), failed ? 15_000 : 4_000);
}

function wellFormed(text) {
  return text.toWellFormed?.() ?? text;
}

// ── the page comes and goes ──

wire(body, (place) => {
  if (place in places) putCursor(places[place]);
});
unfoldForPrint();
// Gone when the page closes: a browser that keeps pages to go back to keeps an empty one.
addEventListener("pagehide", () => {
  field.value = "";
  edited();
  empty();
});
// A browser may put back what was typed before the page was loaded again.
edited();
soon();
