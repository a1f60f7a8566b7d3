// Makes one page, with the charting library inside, of the JSON files that `loadtest compare --json` has written.
//
//   node build.js PAGE.html table.json [curves.json ..]

const { readFileSync, writeFileSync } = require("node:fs");
const { join } = require("node:path");

const [page, ...files] = process.argv.slice(2);
const outcomes = files.map((file) => JSON.parse(readFileSync(file, "utf8")));

/** The part of a row that is plotted; the reports of all rounds would make the page ten times larger. */
const slim = ({ name, title, unit, rows }) => ({
  name,
  title,
  unit,
  rows: rows.map(({ server, kind, figure, failure, reports }) => ({
    server,
    kind,
    figure,
    failure,
    faulty: reports.some(({ faults }) => Object.values(faults).some((count) => count > 0)),
  })),
});

const data = {
  runs: outcomes.map(({ machine, commit, rounds, scenarios }) => ({
    what: scenarios.length > 0 ? "Rows" : "Curves",
    machine,
    commit,
    rounds,
  })),
  scenarios: outcomes.flatMap(({ scenarios }) => scenarios.map(slim)),
  sweeps: outcomes.flatMap(({ sweeps }) =>
    sweeps.map((sweep) => ({ ...sweep, points: sweep.points.map(({ value, rows }) => ({ value, ...slim(rows) })) })),
  ),
};

const read = (path) => readFileSync(path, "utf8");
// A closing tag inside a script would end it.
const inside = (text) => text.replaceAll("</", "<\\/");
const parts = {
  LIBRARY: inside(read(join(__dirname, "node_modules/chart.js/dist/chart.umd.min.js")).replace(/^\/\/# sourceMappingURL.*$/m, "")),
  DATA: inside(JSON.stringify(data)),
  PLOTS: inside(read(join(__dirname, "plots.js"))),
};
const template = read(join(__dirname, "page.html"));
writeFileSync(
  page,
  template.replace(/\/\*(LIBRARY|DATA|PLOTS)\*\//g, (_, part) => parts[part]),
);
