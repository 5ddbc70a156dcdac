// Keeps the page up to date by server-sent events, and makes the editor check what is typed.
"use strict";

document.documentElement.classList.add("scripted");
for (const element of document.querySelectorAll(".script-only")) element.hidden = false;

// ── live ───────────────────────────────────────────────────────────────────────────────────────────────────────────
// Each event of the stream says that the view changed; the page is then read again, and the parts of it that are
// marked as live and differ are replaced. What the reader opened stays open.

const live = { reading: false, again: false, last: 0, pause: 1000 };

function adopt(fresh) {
  for (const open of document.querySelectorAll("details[id]")) {
    const twin = fresh.getElementById(open.id);
    if (twin) twin.open = open.open;
  }
  const list = document.querySelector("[data-live-list]");
  const freshList = fresh.querySelector("[data-live-list]");
  if (list && freshList) {
    const wanted = [...freshList.children];
    const ids = new Set(wanted.map((element) => element.id));
    for (const element of [...list.children]) if (!ids.has(element.id)) element.remove();
    wanted.forEach((element, at) => {
      const own = document.getElementById(element.id);
      const here = list.children[at] ?? null;
      if (!own) list.insertBefore(document.importNode(element, true), here);
      else if (own !== here) list.insertBefore(own, here);
    });
  }
  for (const part of document.querySelectorAll("[data-live]")) {
    const twin = part.id && fresh.getElementById(part.id);
    if (twin && twin.outerHTML !== part.outerHTML && !part.contains(document.getSelection()?.isCollapsed === false ? document.getSelection().anchorNode : null)) {
      const focused = part.contains(document.activeElement) ? document.activeElement : null;
      const place = focused && [...part.querySelectorAll("a, button, summary")].indexOf(focused);
      const copy = document.importNode(twin, true);
      part.replaceWith(copy);
      if (focused && place >= 0) copy.querySelectorAll("a, button, summary")[place]?.focus({ preventScroll: true });
    }
  }
  filterNodes();
}

async function refresh() {
  if (live.reading || document.hidden) { live.again = true; return; }
  live.reading = true;
  live.again = false;
  await new Promise((go) => setTimeout(go, Math.max(0, live.last + live.pause - Date.now())));
  const began = Date.now();
  try {
    const answer = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (answer.ok) adopt(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch { /* the stream says when the server is gone */ }
  live.last = Date.now();
  // A page that takes long to read, because the fleet is large or the way far, is read less often.
  live.pause = Math.min(30000, Math.max(1000, 5 * (live.last - began)));
  live.reading = false;
  if (live.again) refresh();
}

function listen() {
  const events = new EventSource("api/v1/events");
  const offline = document.getElementById("live");
  events.addEventListener("view", (event) => {
    offline.hidden = true;
    try { drawCourse(JSON.parse(event.data).events_per_second); } catch { /* not ours */ }
    refresh();
  });
  events.addEventListener("error", () => {
    offline.hidden = false;
    offline.textContent = "connection lost, trying again…";
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  });
  addEventListener("pagehide", () => events.close());
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
}
document.addEventListener("visibilitychange", () => { if (!document.hidden && live.again) refresh(); });

// The course of events per second, kept over a change of the page.
function drawCourse(value) {
  let values = [];
  try { values = JSON.parse(sessionStorage.getItem("course") ?? "[]"); } catch { /* begin anew */ }
  values = [...values, Number(value) || 0].slice(-60);
  try { sessionStorage.setItem("course", JSON.stringify(values)); } catch { /* no storage: no memory */ }
  const course = document.getElementById("course");
  if (!course || values.length < 2) return;
  const top = Math.max(1, ...values);
  const points = values.map((v, i) => `${((i * 120) / (values.length - 1)).toFixed(1)},${(31 - (v / top) * 29).toFixed(1)}`);
  course.querySelector(".line").setAttribute("d", `M${points.join("L")}`);
  course.querySelector(".area").setAttribute("d", `M0,32L${points.join("L")}L120,32Z`);
}

// ── nodes ──────────────────────────────────────────────────────────────────────────────────────────────────────────

function filterNodes() {
  const filter = document.getElementById("filter");
  if (!filter) return;
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const node of document.querySelectorAll(".node")) {
    const text = node.textContent.toLowerCase();
    node.hidden = !words.every((word) => text.includes(word));
  }
}
document.getElementById("filter")?.addEventListener("input", filterNodes);
if (location.hash) {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1))) ?? document.getElementById(location.hash.slice(1));
  if (target?.matches("details")) { target.open = true; target.scrollIntoView(); }
}

// ── editor ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const form = document.getElementById("editor");
const WORDS = /(#[^\n]*)|("(?:\\[\s\S]|[^"\\])*"?|'(?:\\[\s\S]|[^'\\])*'?)|(\b(?:input|filter|output|if|else|in|not|and|or|xor|nand)\b)|([\w-]+)(?=\s*\{)|(=>|=~|!~|==|!=|[<>]=?)|(\b\d+(?:\.\d+)?\b)/g;
const CLASSES = [null, "comment", "string", "key", "plugin", "mark", "number"];

// Diagnostics count bytes of UTF-8; strings here count UTF-16 units.
function unitsOf(text, offsets) {
  const wanted = [...new Set(offsets)].sort((a, b) => a - b);
  const found = new Map();
  let bytes = 0, units = 0, next = 0;
  for (const character of text) {
    while (next < wanted.length && wanted[next] <= bytes) found.set(wanted[next++], units);
    const code = character.codePointAt(0);
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    units += character.length;
  }
  while (next < wanted.length) found.set(wanted[next++], units);
  return (offset) => found.get(offset) ?? units;
}

function startEditor() {
  const text = form.elements.text, name = form.elements.name, save = document.getElementById("save");
  const paint = document.getElementById("paint"), gutter = document.getElementById("gutter");
  const verdict = document.getElementById("verdict"), list = document.getElementById("problems");
  const nameNote = document.getElementById("name-note"), nameHelp = [...nameNote.childNodes].map((n) => n.cloneNode(true));
  let saved = text.value, etag = form.dataset.etag, exists = form.dataset.exists === "true";
  let problems = [], checked = 0, timer = 0, leaving = false, tabLeaves = false;

  const dirty = () => text.value !== saved || (!exists && text.value !== "");
  const say = (tone, words) => { verdict.className = `verdict ${tone}`; verdict.textContent = words; };
  const address = () => `${form.dataset.base}/${encodeURIComponent(exists ? form.dataset.name : name.value.trim())}`;

  function draw() {
    const value = text.value;
    const unit = unitsOf(value, problems.flatMap((p) => [p.start, p.end]));
    const places = problems.map((p) => {
      let start = unit(p.start), end = Math.max(unit(p.end), start);
      if (end === start) { if (end < value.length && value[end] !== "\n") end++; else if (start > 0 && value[start - 1] !== "\n") start--; }
      return { start, end, severity: p.severity };
    });
    const cuts = new Set([0, value.length]);
    const words = [];
    for (const match of value.matchAll(WORDS)) {
      const group = match.findIndex((part, at) => at > 0 && part !== undefined);
      words.push({ start: match.index, end: match.index + match[0].length, name: CLASSES[group] });
      cuts.add(match.index).add(match.index + match[0].length);
    }
    for (const place of places) cuts.add(place.start).add(place.end);
    const sorted = [...cuts].sort((a, b) => a - b);
    const pieces = document.createDocumentFragment();
    let word = 0;
    for (let at = 0; at + 1 < sorted.length; at++) {
      const [from, to] = [sorted[at], sorted[at + 1]];
      while (word < words.length && words[word].end <= from) word++;
      const names = [];
      if (words[word] && words[word].start <= from) names.push(words[word].name);
      const over = places.filter((p) => p.start <= from && to <= p.end);
      if (over.length) names.push(over.some((p) => p.severity === "error") ? "error" : "warning");
      if (names.length === 0) pieces.append(value.slice(from, to));
      else {
        const span = document.createElement("span");
        span.className = names.join(" ");
        span.textContent = value.slice(from, to);
        pieces.append(span);
      }
    }
    pieces.append("\n ");
    paint.replaceChildren(pieces);

    const marked = new Map();
    for (const p of problems) if (p.severity === "error" || !marked.has(p.line)) marked.set(p.line, p.severity === "error" ? "bad" : "wait");
    const lines = document.createDocumentFragment();
    const count = value.split("\n").length;
    for (let line = 1; line <= count; line++) {
      const span = document.createElement("span");
      span.className = marked.get(line) ?? "";
      span.textContent = `${line}\n`;
      lines.append(span);
    }
    lines.append("\n ");
    gutter.replaceChildren(lines);
    follow();
  }

  function follow() {
    paint.scrollTop = gutter.scrollTop = text.scrollTop;
    paint.scrollLeft = text.scrollLeft;
  }

  function show(found) {
    problems = found = [...found].sort((a, b) => a.start - b.start);
    list.replaceChildren(...found.map((problem) => {
      const item = document.createElement("li"), jump = document.createElement("button");
      item.className = problem.severity;
      jump.type = "button";
      const part = (name, words) => {
        const e = document.createElement("span");
        e.className = name;
        // What stands in backticks is code.
        const pieces = words.split(/`([^`]*)`/);
        pieces.forEach((piece, at) => {
          if (at % 2 === 0) { e.append(piece); return; }
          const code = document.createElement("code");
          code.textContent = piece;
          e.append(code);
        });
        return e;
      };
      jump.append(part("place", `${problem.line}:${problem.column}`), part("message", problem.message));
      if (problem.hint) jump.append(part("hint", problem.hint));
      jump.addEventListener("click", () => {
        const unit = unitsOf(text.value, [problem.start, problem.end]);
        text.focus();
        text.setSelectionRange(unit(problem.start), unit(problem.end));
        const height = parseFloat(getComputedStyle(text).lineHeight);
        text.scrollTop = Math.max(0, (problem.line - 4) * height);
      });
      item.append(jump);
      return item;
    }));
    const errors = found.filter((p) => p.severity === "error").length, warnings = found.length - errors;
    const many = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
    text.setAttribute("aria-invalid", String(errors > 0));
    if (errors) say("bad", many(errors, "error") + (warnings ? `, ${many(warnings, "warning")}` : ""));
    else if (warnings) say("wait", many(warnings, "warning"));
    else if (text.value.trim() === "") say("", "");
    else say("good", dirty() ? "no problems; not saved yet" : "no problems");
    draw();
  }

  function tellName(answer) {
    const typed = name.value.trim();
    let words = "";
    if (typed !== "" && answer.name_problem) words = answer.name_problem;
    else if (typed !== "" && answer.exists && !exists) words = "a config of that name exists already; saving is refused";
    else if (typed !== "" && form.dataset.kind === "docker") words = `matches ${answer.containers} container${answer.containers === 1 ? "" : "s"} now`;
    if (words) nameNote.textContent = words; else nameNote.replaceChildren(...nameHelp.map((n) => n.cloneNode(true)));
    nameNote.classList.toggle("bad", Boolean(answer.name_problem || (answer.exists && !exists)));
  }

  async function check() {
    const ask = ++checked;
    try {
      const answer = await fetch("api/v1/check", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ kind: form.dataset.kind, name: exists ? form.dataset.name : name.value.trim(), input: text.value }),
      });
      const body = await answer.json();
      if (ask !== checked) return;
      if (!answer.ok) { say("wait", body.detail ?? "cannot be checked now"); return; }
      show(body.diagnostics);
      tellName(body);
    } catch { if (ask === checked) say("wait", "cannot be checked: the server does not answer"); }
  }

  function changed() {
    clearTimeout(timer);
    checked++;
    // Places of problems move with the text: until the next check, only those before the caret are kept.
    const caret = new TextEncoder().encode(text.value.slice(0, text.selectionStart)).length;
    problems = problems.filter((p) => p.end < caret - 1);
    draw();
    timer = setTimeout(check, 250);
  }

  async function store(event) {
    event?.preventDefault();
    if (!exists && name.value.trim() === "") { say("bad", form.dataset.kind === "docker" ? "say for which image" : "give it a name"); name.focus(); return; }
    clearTimeout(timer);
    save.disabled = true;
    say("", "saving…");
    const sent = text.value;
    try {
      const answer = await fetch(address(), {
        method: "PUT",
        headers: { "Content-Type": "application/json", ...(exists ? { "If-Match": etag } : { "If-None-Match": "*" }) },
        body: JSON.stringify({ input: sent }),
      });
      const body = await answer.json();
      if (answer.ok) {
        saved = sent;
        etag = answer.headers.get("ETag") ?? etag;
        if (!exists) {
          leaving = true;
          location.assign(`edit?kind=${form.dataset.kind}&name=${encodeURIComponent(body.name)}`);
          return;
        }
        show(body.diagnostics ?? []);
        say("good", answer.status === 201 ? "created" : "saved");
        refresh();
      } else {
        if (body.diagnostics) show(body.diagnostics);
        const elsewhere = answer.status === 412 && exists;
        say("bad", elsewhere ? "someone else changed it meanwhile: copy your text, reload the page, and put it in again" : body.detail ?? `not saved (${answer.status})`);
        if (body.diagnostics?.length) verdict.textContent = `not saved: ${body.diagnostics.length} problem${body.diagnostics.length === 1 ? "" : "s"}`;
      }
    } catch { say("bad", "not saved: the server does not answer"); }
    save.disabled = false;
  }

  async function remove() {
    const dialog = document.getElementById("confirm");
    document.getElementById("confirm-text").textContent = `Delete the config ${form.dataset.name}? Its pipelines are drained and stopped on every node.`;
    dialog.returnValue = "no";
    dialog.showModal();
    await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
    if (dialog.returnValue !== "yes") return;
    try {
      const answer = await fetch(address(), { method: "DELETE", headers: { "If-Match": etag } });
      if (answer.ok) { leaving = true; location.assign("config"); return; }
      const body = await answer.json();
      say("bad", answer.status === 412 ? "not deleted: someone else changed it meanwhile; reload the page" : body.detail ?? "not deleted");
    } catch { say("bad", "not deleted: the server does not answer"); }
  }

  text.addEventListener("input", changed);
  name.addEventListener("input", changed);
  text.addEventListener("scroll", follow);
  text.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { tabLeaves = true; return; }
    if (event.key === "Tab" && !event.shiftKey && !event.ctrlKey && !event.altKey && !tabLeaves) {
      event.preventDefault();
      text.setRangeText("  ", text.selectionStart, text.selectionEnd, "end");
      changed();
    }
    if (event.key !== "Shift") tabLeaves = false;
  });
  addEventListener("keydown", (event) => { if ((event.ctrlKey || event.metaKey) && event.key === "s") store(event); });
  form.addEventListener("submit", store);
  document.getElementById("delete")?.addEventListener("click", remove);
  for (const example of document.querySelectorAll(".example")) {
    example.addEventListener("click", () => {
      text.focus();
      // As if typed, so that Undo brings back what was there.
      text.select();
      if (!document.execCommand("insertText", false, example.dataset.example)) text.value = example.dataset.example;
      text.setSelectionRange(0, 0);
      text.scrollTop = 0;
      if (!exists && name.value.trim() === "") name.value = example.dataset.suggest;
      changed();
    });
  }
  addEventListener("beforeunload", (event) => { if (!leaving && dirty()) event.preventDefault(); });
  draw();
  if (text.value.trim() !== "" || name.value.trim() !== "") check();
  if (!exists && name.value === "") name.focus(); else if (!exists) text.focus();
}
if (form) startEditor();
listen();
