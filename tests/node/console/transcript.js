// Replays the first minute in a browser, as examples/console.txt tells it, in Chromium.
//
//   node console/transcript.js http://localhost:3000 [words]        CHROMIUM: the browser; words: of the parts to replay
//
// Prints {"ready":..}, the steps (../steps.js) and {"done":true}.

const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");

const { print, step } = require("../steps");
const { launch } = require("./browser");

const EXAMPLES = path.join(__dirname, "../../../examples");

async function run(sandbox, wanted = "") {
  const app = fs.readFileSync(path.join(EXAMPLES, "browser.html"));
  const server = http.createServer((_request, response) => response.setHeader("content-type", "text/html").end(app));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { host } = new URL(sandbox);
  const addresses = {
    "http://localhost:3000": sandbox,
    "http://localhost:5000/browser.html": `http://localhost:${server.address().port}/browser.html?host=${host}`,
  };
  const browser = await launch();
  const pages = new Map();
  print({ ready: "transcript" });

  const does = {
    async opens(who, address) {
      const page = await (await browser.newContext()).newPage();
      pages.set(who, page);
      await page.goto(addresses[address]);
      // An app says itself when it listens.
      if (address.endsWith(".html")) await page.locator("body[data-ready=true]").waitFor();
    },
    presses: (who, name) => pages.get(who).click(`button:has-text("${name}")`),
    async writes(who, text) {
      await pages.get(who).fill("#text", text);
      await pages.get(who).press("#text", "Enter");
    },
    sees: (who, text) => pages.get(who).locator("#messages li", { hasText: text }).first().waitFor(),
  };
  const parts = fs.readFileSync(path.join(EXAMPLES, "console.txt"), "utf8").split("\n# ").slice(1);
  const chosen = parts.filter((part) => part.startsWith(wanted));
  if (chosen.length === 0) throw new Error(`no part begins with ${wanted}`);
  for (const part of chosen) {
    const [title, ...lines] = part.trim().split("\n");
    for (const line of lines) {
      const [, who, verb, what] = line.match(/^(\w+) (\w+) (.+)$/);
      await step(`${title.split(",")[0].split(":")[0]}: ${line}`, () => does[verb](who, what));
    }
  }
  await browser.close();
  server.close();
  print({ done: true });
}

run(...process.argv.slice(2));
