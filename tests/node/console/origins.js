// Pages of other origins, in Chromium, try to use the sandbox: by websocket, REST, frame and script, and by a host name
// of their own that points at loopback (DNS rebinding).
//
//   node console/origins.js PORT        CHROMIUM: the browser
//
// Prints {"ready":..}, the steps (../steps.js) and {"done":true}.

const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");

const { equal, print, step } = require("../steps");
const { launch } = require("./browser");

const EVIL = "evil.example";

async function run(port) {
  const app = fs.readFileSync(path.join(__dirname, "../../../examples/browser.html"));
  const server = http.createServer(({ url }, response) => {
    response.setHeader("content-type", "text/html");
    response.end(url.startsWith("/browser.html") ? app : "<!doctype html><title>attacker</title>");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const other = server.address().port;
  const browser = await launch(`--host-resolver-rules=MAP ${EVIL} 127.0.0.1`);
  const page = await browser.newPage();
  print({ ready: "origins" });

  /** What each attempt of the page comes to, with the statuses that the server gave. */
  const attempts = async (target) => {
    const statuses = new Set();
    const note = (response) => response.url().startsWith(`http://${target}/`) && statuses.add(response.status());
    page.on("response", note);
    const outcome = await page.evaluate(attack, target);
    page.off("response", note);
    return { ...outcome, statuses: [...statuses].join() };
  };
  const nothing = { websocket: "refused", sockjs: "refused", login: "refused", metrics: "refused", module: "refused" };
  const check = ({ statuses, ...outcome }, expected) => {
    equal(JSON.stringify(outcome), JSON.stringify(expected), "what the page got");
    equal(statuses, "403", "statuses");
  };

  await step("the console's own page gets everything", async () => {
    await page.goto(`http://127.0.0.1:${port}/`);
    const { statuses, ...outcome } = await attempts(`127.0.0.1:${port}`);
    equal(JSON.stringify(outcome), JSON.stringify({ websocket: "open", sockjs: "open", login: "200", metrics: "200", module: "loaded" }), "what it got");
    equal(statuses, "200", "statuses");
  });
  for (const host of ["127.0.0.1", "localhost"]) {
    for (const target of ["127.0.0.1", "localhost", "[::1]"]) {
      await step(`a development server's page on ${host} gets everything from ${target}`, async () => {
        await page.goto(`http://${host}:${other}/`);
        const { statuses, ...outcome } = await attempts(`${target}:${port}`);
        equal(JSON.stringify(outcome), JSON.stringify({ websocket: "open", sockjs: "open", login: "200", metrics: "200", module: "loaded" }), "what it got");
        equal(statuses, "200", "statuses");
      });
    }
  }
  await step("the browser app of the examples writes and reads from its own port", async () => {
    await page.goto(`http://localhost:${other}/browser.html?host=localhost:${port}`);
    await page.locator("body[data-ready=true]").waitFor();
    await page.fill("#text", "from a browser app");
    await page.press("#text", "Enter");
    await page.locator("#messages li", { hasText: "bob: from a browser app" }).waitFor();
  });
  await step("a page of another host gets nothing", async () => {
    await page.goto(`http://${EVIL}:${other}/`);
    check(await attempts(`127.0.0.1:${port}`), nothing);
  });
  await step("a host name that is bound to our address gets nothing, not even the page", async () => {
    const response = await page.goto(`http://${EVIL}:${port}/`);
    equal(response.status(), 403, "status of the page");
    equal(await page.locator("#people").count(), 0, "consoles");
    // The page's own origin now: no preflight, no opaque answers, only the server's own check.
    check(await attempts(`${EVIL}:${port}`), { ...nothing, login: "403", metrics: "403" });
  });
  await step("no page may frame the console", async () => {
    await page.goto(`http://127.0.0.1:${other}/`);
    await page.evaluate((src) => {
      const frame = document.createElement("iframe");
      frame.src = src;
      return new Promise((resolve) => {
        frame.onload = resolve;
        document.body.append(frame);
      });
    }, `http://127.0.0.1:${port}/`);
    const shown = await Promise.all(page.frames().slice(1).map((frame) => frame.locator("#people").count()));
    equal(shown.join(), "0", "consoles in frames");
  });

  await browser.close();
  server.close();
  print({ done: true });
}

/** In the page: one outcome per way in. */
async function attack(target) {
  const socket = (path) =>
    new Promise((resolve) => {
      const socket = new WebSocket(`ws://${target}${path}`);
      socket.onopen = () => resolve("open");
      socket.onerror = () => resolve("refused");
    });
  const ask = (path, options) => fetch(`http://${target}${path}`, options).then(({ status }) => String(status), () => "refused");
  const login = { method: "POST", body: JSON.stringify({ user: "alice", password: "alice" }) };
  // A form's request needs no permission to be sent: the server has to refuse it.
  await fetch(`http://${target}/api/v1/login`, { ...login, mode: "no-cors" }).catch(() => {});
  return {
    websocket: await socket("/websocket"),
    sockjs: await socket("/sockjs/1/abc/websocket"),
    login: await ask("/api/v1/login", login),
    metrics: await ask("/metrics"),
    module: await import(`http://${target}/dom.js`).then(() => "loaded", () => "refused"),
  };
}

run(process.argv[2]);
