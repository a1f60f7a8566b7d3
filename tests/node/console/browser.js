// Chromium for the console's tests, and two measures that a page is asked for.

const fs = require("node:fs");

const { chromium } = require("playwright-core");

/** CHROMIUM is the path of the browser. Pages are served over real HTTP on loopback (conformance notes of Chromium). */
function launch(...more) {
  return chromium.launch(options(more));
}

/** A browser that can be killed: `{ pid, browser }`. */
async function launchMortal() {
  const server = await chromium.launchServer(options([]));
  return { pid: server.process().pid, browser: await chromium.connect(server.wsEndpoint()) };
}

function options(more) {
  const quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
  const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", ...quiet, ...more];
  return { executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args };
}

/** What is wider than the window, as text. */
function overflow(page) {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return "";
    const wide = [...document.querySelectorAll("*")].filter((e) => e.getBoundingClientRect().right > width + 0.5);
    return wide.map((e) => e.id || e.className || e.tagName).join(", ") || "something";
  });
}

/** Texts whose contrast to what is behind them is below 4.5:1 (WCAG 2.2, 1.4.3), with the ratio. */
function faintTexts(page) {
  return page.evaluate(() => {
    const numbers = (color) => color.match(/[\d.]+/g).map(Number);
    const luminance = ([r, g, b]) => {
      const linear = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const behind = (element) => {
      for (let e = element; e; e = e.parentElement) {
        const color = numbers(getComputedStyle(e).backgroundColor);
        if (color.length === 3 || color[3] === 1) return color;
        if (color[3] > 0) throw new Error("half transparent backgrounds are not measured");
      }
      return [255, 255, 255];
    };
    const ratio = (element, color) => {
      const [a, b] = [luminance(numbers(color)), luminance(behind(element))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    };
    const faint = [];
    for (const element of document.querySelectorAll("body *")) {
      if (!element.checkVisibility() || element.matches(".unseen, :disabled")) continue;
      const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
      const colors = [];
      if (own || element.matches("input, select")) colors.push(getComputedStyle(element).color);
      if (element.placeholder) colors.push(getComputedStyle(element, "::placeholder").color);
      for (const color of colors) {
        const found = ratio(element, color);
        if (found < 4.5) faint.push(`${element.id || element.className || element.tagName}: ${found.toFixed(2)}`);
      }
    }
    return faint.join(", ");
  });
}

const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

/** What axe-core finds, as text. Contrast is left to `faintTexts`, which knows what it cannot judge. */
function violations(page) {
  return page.evaluate(`${axe}; axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) =>
    violations.map(({ id, nodes }) => id + ": " + nodes.map(({ target }) => target.join(" ")).join(", ")).join("; "))`);
}

module.exports = { faintTexts, launch, launchMortal, overflow, violations };
