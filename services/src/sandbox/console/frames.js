// The frame inspector: the newest frames of this tab in both directions, one line each, whole when opened.

import { $, element } from "/dom.js";

const KEPT = 300;
const SHOWN_CHARS = 20_000;

const frames = []; // oldest first: {direction, text, label, at}
let paused = false;
let missed = 0;

export function showFrame(direction, text, message) {
  const frame = { direction, text, label: label(message), at: new Date() };
  frames.push(frame);
  if (frames.length > KEPT) frames.shift();
  if (paused) return showPause(++missed);
  if (!isWanted(frame)) return;
  $("frames").prepend(item(frame));
  if ($("frames").childElementCount > KEPT) $("frames").lastElementChild.remove();
}

function label({ msg, method, name, collection, fields, params, id, methods, subs, server_id }) {
  const about = method ?? name ?? collection ?? (methods ?? subs)?.join(" ") ?? id ?? server_id ?? "";
  const event = fields?.eventName ?? (name && typeof params?.[0] === "string" ? params[0] : "");
  return [msg ?? "hello", about, event].filter(Boolean).join(" ");
}

function isWanted({ text, label }) {
  const wanted = $("filter").value.trim().toLowerCase();
  return !wanted || text.toLowerCase().includes(wanted) || label.toLowerCase().includes(wanted);
}

function item({ direction, text, label, at }) {
  const summary = element("summary");
  const mark = element("span", direction, direction === "in" ? "↓" : "↑");
  mark.title = direction === "in" ? "received" : "sent";
  summary.append(mark, element("span", "what", label), element("span", "size", `${at.toTimeString().slice(0, 8)} ${text.length} B`));
  const details = element("details");
  details.append(summary);
  details.addEventListener("toggle", () => {
    if (details.childElementCount === 1) details.append(element("pre", "", pretty(text)));
  });
  const line = element("li");
  line.append(details);
  return line;
}

// What is shown may end up in a picture.
function pretty(text) {
  const hidden = text.replace(/("(?:password|resume|token|digest)":)"[^"]*"/g, '$1"…"');
  return JSON.stringify(JSON.parse(hidden), null, 1).slice(0, SHOWN_CHARS);
}

function showAll() {
  $("frames").replaceChildren(...frames.filter(isWanted).reverse().map(item));
}

function showPause() {
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? `Go on${missed ? ` (${missed})` : ""}` : "Pause";
}

$("filter").addEventListener("input", showAll);
$("pause").addEventListener("click", () => {
  paused = !paused;
  missed = 0;
  showPause();
  if (!paused) showAll();
});
$("clear").addEventListener("click", () => {
  frames.length = 0;
  showAll();
});
