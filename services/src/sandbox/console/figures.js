// Live figures of the gateway, read from the same /metrics that Prometheus reads.

const EVERY_MS = 1_000;
const KEPT = 180; // three minutes

// Each figure is computed from two samples: now and one interval ago.
const FIGURES = [
  { title: "connections", of: (now) => now("users_connected") },
  { title: "subscriptions", of: (now) => now("ddp_edge_subscriptions") },
  { title: "deliveries/s", of: (now, before, s) => (now("ddp_edge_deliveries_total") - before("ddp_edge_deliveries_total")) / s },
  {
    title: "messages per write",
    of: (now, before) => ratio(now("ddp_edge_deliveries_total") - before("ddp_edge_deliveries_total"), now("ddp_edge_writes_total") - before("ddp_edge_writes_total")),
  },
  { title: "fan-out p99, ms", of: (now) => now('ddp_edge_fanout_seconds{quantile="0.99"}') * 1000 },
  { title: "queued, kB", of: (now) => now("ddp_edge_outbox_bytes") / 1000 },
];

function ratio(a, b) {
  return b > 0 ? a / b : 0;
}

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
  const figure = document.createElement("figure");
  figure.innerHTML = '<figcaption></figcaption><output>–</output><svg viewBox="0 0 180 30" preserveAspectRatio="none" aria-hidden="true"><polyline /></svg>';
  figure.querySelector("figcaption").textContent = title;
  document.getElementById("figures").append(figure);
  return { of, output: figure.querySelector("output"), line: figure.querySelector("polyline"), history: [] };
});

function draw({ history, line }) {
  const top = Math.max(...history, 1e-9);
  line.setAttribute("points", history.map((value, i) => `${i + KEPT - history.length},${29 - (28 * value) / top}`).join(" "));
}

let last;

async function sample() {
  const response = await fetch("/metrics", { cache: "no-store" });
  if (!response.ok) return;
  const [now, at] = [parse(await response.text()), performance.now()];
  if (last) {
    for (const row of rows) {
      const value = Math.max(0, row.of(now, last.values, (at - last.at) / 1000));
      row.output.textContent = value >= 100 ? Math.round(value).toLocaleString("en") : String(Math.round(value * 100) / 100);
      row.history.push(value);
      if (row.history.length > KEPT) row.history.shift();
      draw(row);
    }
  }
  last = { values: now, at };
}

export function watchFigures() {
  setInterval(() => {
    // While the server is away there is nothing to say; the connection's state says it already.
    if (!document.hidden) sample().catch(() => {});
  }, EVERY_MS);
}
