// Live figures of the gateway, read from the same /metrics that Prometheus reads.

import { $, element } from "/dom.js";

const EVERY_MS = 1_000;
const KEPT = 180; // three minutes
const HEIGHT = 30;

let latency;

/** What a client beside the others has measured in the last second: the 99th percentile in ms, or nothing. */
export function measured(p99) {
  latency = p99;
}

const deliveries = (now, before) => now("ddp_edge_deliveries_total") - before("ddp_edge_deliveries_total");
const writes = (now, before) => now("ddp_edge_writes_total") - before("ddp_edge_writes_total");
// Writes that carry answers count too, so that the least there can be is one.
const perWrite = (now, before) => (writes(now, before) > 0 ? Math.max(1, deliveries(now, before) / writes(now, before)) : 0);

// Each figure is computed from two samples: now and one interval (of `s` seconds) ago.
const FIGURES = [
  { title: "connections", of: (now) => now("users_connected") },
  { title: "subscriptions", of: (now) => now("ddp_edge_subscriptions") },
  { title: "deliveries/s", of: (now, before, s) => deliveries(now, before) / s },
  { title: "messages/write", of: perWrite },
  // Of the last second, measured by a client beside the others; there is none before the first experiment.
  { title: "latency p99, ms", of: () => latency },
  { title: "queued, kB", of: (now) => now("ddp_edge_outbox_bytes") / 1000 },
];

/** Prometheus text to a look-up by name; label sets of one name are added up unless they are asked for. */
function parse(text) {
  const values = new Map();
  for (const line of text.split("\n")) {
    if (!line || line.startsWith("#")) continue;
    const at = line.lastIndexOf(" ");
    const [name, value] = [line.slice(0, at), Number(line.slice(at + 1))];
    values.set(name, value);
    const bare = name.split("{")[0];
    if (bare !== name) values.set(bare, (values.get(bare) ?? 0) + value);
  }
  return (name) => values.get(name) ?? 0;
}

const rows = FIGURES.map(({ title, of }) => {
  const figure = element("figure");
  const output = element("output", "", "–");
  const [svg, area, line] = ["svg", "polygon", "polyline"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  svg.setAttribute("viewBox", `0 0 ${KEPT} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  area.setAttribute("class", "area");
  line.setAttribute("class", "line");
  svg.append(area, line);
  figure.append(element("figcaption", "", title), output, svg);
  $("figures").append(figure);
  return { of, output, area, line, history: [] };
});

function draw({ history, area, line }) {
  const top = Math.max(...history, 1e-9) * 1.1;
  const first = KEPT - history.length;
  const points = history.map((value, i) => `${i + first + 0.5},${HEIGHT - 1 - ((HEIGHT - 2) * value) / top}`).join(" ");
  line.setAttribute("points", points);
  area.setAttribute("points", `${first + 0.5},${HEIGHT} ${points} ${KEPT - 0.5},${HEIGHT}`);
}

function shown(value) {
  if (value >= 100) return Math.round(value).toLocaleString("en");
  return String(value >= 10 ? Math.round(value * 10) / 10 : Math.round(value * 100) / 100);
}

let last;

async function sample() {
  const response = await fetch("/metrics", { cache: "no-store" });
  if (!response.ok) return;
  const [now, at] = [parse(await response.text()), performance.now()];
  if (last) {
    for (const row of rows) {
      const value = row.of(now, last.now, (at - last.at) / 1000);
      row.output.textContent = value === undefined ? "–" : shown(Math.max(0, value));
      if (value === undefined) continue;
      row.history.push(Math.max(0, value));
      if (row.history.length > KEPT) row.history.shift();
      draw(row);
    }
  }
  last = { now, at };
  for (const told of watchers.splice(0)) told();
}

const watchers = [];

/** Calls once, behind the next sample. */
export function onSample(told) {
  watchers.push(told);
}

/** A look-up in the newest sample, by name. */
export function now() {
  return last.now;
}

/** Reads every second while the page is looked at and the gateway is there. */
export function watchFigures(isConnected) {
  setInterval(() => {
    if (!document.hidden && isConnected()) sample().catch(() => {});
  }, EVERY_MS);
}
