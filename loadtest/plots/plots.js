/* global Chart, DATA */

const COLORS = {
  edge: "#d9480f",
  "floor one-send": "#adb5bd",
  "floor coalesce": "#6c757d",
  "uWebSockets.js": "#1971c2",
  Centrifuge: "#2f9e44",
  "tokio-tungstenite": "#9c36b5",
  "ws + moleculer": "#e0a100",
};
const color = (server) => COLORS[server] ?? "#343a40";

/** Three digits, as the tables on a terminal show them. */
function short(value) {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)} k`;
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** The label of a logarithmic tick: 1, 2 and 5 of each decade. */
const decade = (value) => (/^[125]e/.test(value.toExponential()) ? short(value) : null);

function element(name, text) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** A figure with a caption at the end of a section; returns its canvas. */
function figure(section, title, text) {
  const made = element("figure");
  const caption = element("figcaption", title);
  caption.append(element("small", text));
  const plot = element("div");
  plot.className = "plot";
  const canvas = element("canvas");
  plot.append(canvas);
  made.append(caption, plot);
  document.querySelector(`#${section} .grid`).append(made);
  return canvas;
}

/** The spread of the rounds and the median's number, over each bar. */
const whiskers = {
  id: "whiskers",
  afterDatasetsDraw(chart) {
    const { ctx, scales } = chart;
    const { rows } = chart.options.plugins.whiskers;
    chart.getDatasetMeta(0).data.forEach((bar, index) => {
      const { figure, failure, faulty } = rows[index];
      ctx.save();
      ctx.fillStyle = ctx.strokeStyle = "#1d2430";
      ctx.textBaseline = "middle";
      ctx.font = "12px system-ui, sans-serif";
      let end = scales.x.left;
      if (figure) {
        const [from, to] = [figure.min, figure.max].map((value) => scales.x.getPixelForValue(value));
        ctx.beginPath();
        ctx.moveTo(from, bar.y);
        ctx.lineTo(to, bar.y);
        for (const x of [from, to]) {
          ctx.moveTo(x, bar.y - 4);
          ctx.lineTo(x, bar.y + 4);
        }
        ctx.stroke();
        end = to;
      }
      const text = figure ? short(figure.median) + (faulty ? " †" : "") : failure ? "cannot" : "";
      ctx.fillText(text, end + 6, bar.y);
      ctx.restore();
    });
  },
};

function bars({ name, title, unit, rows }) {
  // Room for the whiskers, which are no data to the library, and the numbers behind them.
  const suggestedMax = 1.2 * Math.max(...rows.map(({ figure }) => figure?.max ?? 0));
  new Chart(figure("rows", `${name}, ${unit}`, title), {
    type: "bar",
    data: {
      labels: rows.map(({ server }) => server),
      datasets: [
        {
          data: rows.map(({ figure }) => figure?.median ?? null),
          backgroundColor: rows.map(({ server }) => color(server)),
          barPercentage: 0.75,
        },
      ],
    },
    options: {
      indexAxis: "y",
      animation: false,
      maintainAspectRatio: false,
      // Room for the numbers behind the bars.
      scales: {
        x: { beginAtZero: true, suggestedMax, ticks: { callback: short, maxTicksLimit: 5, maxRotation: 0 } },
        y: { grid: { display: false } },
      },
      plugins: { legend: { display: false }, whiskers: { rows } },
    },
    plugins: [whiskers],
  });
}

/** A server's line, and the band of its rounds where there were several. */
function lines(points, server) {
  const of = (part) =>
    points.map(({ value, rows }) => ({ x: value, y: rows.find((row) => row.server === server)?.figure?.[part] ?? null }));
  const band = { borderWidth: 0, pointRadius: 0, isBand: true };
  return [
    { ...band, data: of("min"), fill: false },
    { ...band, data: of("max"), fill: "-1", backgroundColor: `${color(server)}33` },
    {
      label: server,
      data: of("median"),
      borderColor: color(server),
      backgroundColor: color(server),
      borderWidth: server === "edge" ? 3 : 1.5,
      borderDash: server.startsWith("floor") ? [5, 4] : [],
      pointRadius: 2.5,
    },
  ];
}

function curve({ name, title, axis, unit, points }) {
  const servers = points[0].rows.map(({ server }) => server);
  // Unlabelled between the values that were measured.
  const measured = points.map(({ value }) => ({ value }));
  new Chart(figure("curves", `${name}: ${unit} against ${axis}`, title), {
    type: "line",
    data: { datasets: servers.flatMap((server) => lines(points, server)) },
    options: {
      animation: false,
      maintainAspectRatio: false,
      scales: {
        x: {
          type: "logarithmic",
          title: { display: true, text: axis },
          ticks: { callback: (value) => value.toLocaleString("en") },
          afterBuildTicks: (scale) => (scale.ticks = measured),
        },
        y: { type: "logarithmic", title: { display: true, text: unit }, ticks: { callback: decade, autoSkip: false } },
      },
      plugins: {
        legend: { labels: { boxWidth: 18, boxHeight: 2, font: { size: 11 }, filter: ({ text }) => Boolean(text) } },
        tooltip: { filter: ({ dataset }) => !dataset.isBand },
      },
    },
  });
}

function table(scenarios) {
  const body = document.querySelector("table");
  const servers = [...new Set(scenarios.flatMap(({ rows }) => rows.map(({ server }) => server)))];
  const head = element("tr");
  head.append(element("th", "row"), ...servers.map((server) => element("th", server)));
  body.append(head);
  for (const { name, unit, rows } of scenarios) {
    const line = element("tr");
    line.append(element("td", `${name}, ${unit}`));
    // Floors are no competitors.
    const best = Math.min(...rows.filter(({ kind }) => kind !== "floor").map(({ figure }) => figure?.median ?? Infinity));
    for (const server of servers) {
      const row = rows.find((row) => row.server === server);
      const cell = element("td", row?.figure ? short(row.figure.median) + (row.faulty ? " †" : "") : row?.failure ? "cannot" : "");
      if (row?.figure) {
        if (row.figure.median === best && row.kind !== "floor") cell.className = "best";
        cell.append(element("br"), element("small", `${short(row.figure.min)} to ${short(row.figure.max)}`));
      }
      cell.title = row?.failure ?? "";
      line.append(cell);
    }
    body.append(line);
  }
}

for (const { what, machine, commit, rounds } of DATA.runs)
  document.querySelector("#runs").append(element("p", `${what}: ${machine}; commit ${commit}; rounds: ${rounds}`));
// For a picture of one part: page.html#rows
const only = location.hash.slice(1);
if (only) document.body.dataset.only = only;
DATA.scenarios.forEach(bars);
DATA.sweeps.filter(({ points }) => points.length > 0).forEach(curve);
if (DATA.scenarios.length > 0) table(DATA.scenarios);
for (const section of document.querySelectorAll("section"))
  if (!section.querySelector("figure, tr")) section.remove();
