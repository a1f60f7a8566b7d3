// Two people use the console in Chromium: everything it offers, by mouse in one tab and by keyboard alone in the other.
//
//   node console/people.js http://127.0.0.1:3000/        CHROMIUM: the browser; PICTURES: a folder for screenshots
//
// Prints {"ready":..}, the steps (../steps.js) and {"done":true}.

const { equal, print, step } = require("../steps");
const { faintTexts, launch, launchMortal, overflow, violations } = require("./browser");

const WIDE = { width: 1280, height: 800 };
const NARROW = { width: 390, height: 800 };
const NARROWEST = { width: 360, height: 740 };
const TYPED = "Written by keyboard alone";
const MARKUP = `<img src=x onerror="document.title='broken'"><b>bold</b>`;

async function run(base) {
  const browser = await launch();
  const complaints = [];
  const open = async (name) => {
    const context = await browser.newContext({ viewport: WIDE });
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    page.on("console", (said) => ["error", "warning"].includes(said.type()) && complaints.push(`${name}: ${said.text()}`));
    page.on("pageerror", (error) => complaints.push(`${name}: ${error.message}`));
    await page.addInitScript(watchArrivals);
    await page.goto(base);
    return page;
  };
  const [a, b] = [await open("alice"), await open("bob")];
  print({ ready: "console" });

  const message = (page, text) => page.locator("#messages li", { hasText: text });
  const room = (page, name) => page.locator("#rooms button", { hasText: name });
  const write = async (page, text) => {
    await page.fill("#text", text);
    await page.press("#text", "Enter");
  };
  const isIn = (page, name) => page.locator("#room-name", { hasText: name }).waitFor();
  const figure = (page, name) => page.locator("#figures figure", { hasText: name }).locator("output");
  const until = (page, condition, argument) => page.waitForFunction(condition, argument, { polling: 50 });
  /** Presses Tab until the element has the focus: what a keyboard can reach. */
  const tabTo = async (page, element) => {
    for (let presses = 0; presses < 200; presses++) {
      if (await element.evaluate((e) => e === document.activeElement)) return;
      await page.keyboard.press("Tab");
    }
    throw new Error("the Tab key does not lead there");
  };

  await step("the first page is readable and fits", async () => {
    await fits(a, ["#login"]);
    equal(await violations(a), "", "what axe finds");
  });
  await step("one click logs in", async () => {
    await a.click("#people button:has-text('Alice')");
    await room(a, "general").waitFor();
  });
  await step("the keyboard logs in, and the next key writes", async () => {
    await tabTo(b, b.locator("#people button", { hasText: "Bob" }));
    await b.keyboard.press("Enter");
    await until(b, () => document.activeElement.id === "text");
    await b.keyboard.type(TYPED);
    await b.keyboard.press("Enter");
    await message(a, TYPED).waitFor();
  });
  await step("a message is on the other's page within a frame of its arrival", async () => {
    for (const text of ["first", "second", "third"].map((word) => `the ${word} live message`)) {
      const seen = b.evaluate((text) => window.arrival(text), text);
      await write(a, text);
      equal(await seen, true, `"${text}" painted with the frame that follows its arrival`);
    }
  });
  await step("markup in a message is text", async () => {
    await write(a, MARKUP);
    const shown = message(b, "onerror").locator(".text");
    equal(await shown.textContent(), MARKUP, "text");
    equal(await shown.locator("*").count(), 0, "elements in it");
  });
  await step("typing shows, and ends with the message", async () => {
    await b.keyboard.type("about to");
    await a.getByText("bob is typing").waitFor();
    await b.keyboard.press("Enter");
    await message(a, "about to").waitFor();
    equal(await a.textContent("#typing"), "", "typing line");
  });
  await step("presence shows", async () => {
    await a.locator("[data-user=bob] .dot[data-status=online]").waitFor();
    await tabTo(b, b.locator("#my-status"));
    for (const status of ["away", "busy"]) {
      await b.keyboard.press("ArrowDown");
      await a.locator(`[data-user=bob] .dot[data-status=${status}]`).waitFor();
      await b.locator(`[data-user=bob] .dot[data-status=${status}]`).waitFor();
    }
    await b.keyboard.press("Home");
    await a.locator("[data-user=bob] .dot[data-status=online]").waitFor();
    await a.locator("[data-user=carol] .dot[data-status=offline]").waitFor();
  });
  await step("a status text shows, and ends when its time is up", async () => {
    const text = a.locator("[data-user=bob] small", { hasText: "at the dentist's" });
    await b.fill("#what", "at the dentist's");
    await b.selectOption("#until", "10");
    await b.press("#what", "Enter");
    await text.waitFor();
    await text.waitFor({ state: "detached" });
    await a.locator("[data-user=bob] small", { hasText: "online" }).waitFor();
  });
  await step("who is killed is offline", async () => {
    const { pid, browser } = await launchMortal();
    const page = await browser.newPage();
    await page.goto(base);
    await page.click("#people button:has-text('Carol')");
    await a.locator("[data-user=carol] .dot[data-status=online]").waitFor();
    process.kill(pid, "SIGKILL");
    await a.locator("[data-user=carol] .dot[data-status=offline]").waitFor();
  });
  await step("unread marks come and go", async () => {
    await tabTo(b, room(b, "random"));
    await b.keyboard.press("Enter");
    await isIn(b, "random");
    await write(a, "while you were away");
    await room(b, "general").locator(".unread").waitFor();
    await tabTo(b, room(b, "general"));
    await b.keyboard.press("Enter");
    await message(b, "while you were away").waitFor();
    await room(b, "general").locator(".unread").waitFor({ state: "detached" });
  });
  await step("a message is edited and deleted by keyboard", async () => {
    await write(b, "with a mistkae");
    await message(b, "mistkae").waitFor();
    await b.keyboard.press("ArrowUp");
    await until(b, () => document.activeElement.className === "editor");
    await b.keyboard.press("ControlOrMeta+a");
    await b.keyboard.type("with a correction");
    await b.keyboard.press("Enter");
    await message(a, "with a correction").locator(".edited").waitFor();
    equal(await message(a, "mistkae").count(), 0, "messages as they were");
    // The message that was edited has the focus; the arrow keys lead on, and to its actions.
    await until(b, () => document.activeElement.textContent.includes("with a correction"));
    await b.keyboard.press("Delete");
    await b.keyboard.press("Escape");
    equal(await message(a, "with a correction").count(), 1, "messages after Escape");
    await until(b, () => document.activeElement.textContent.includes("with a correction"));
    await b.keyboard.press("ArrowRight");
    await b.keyboard.press("ArrowRight");
    await b.keyboard.press("Enter");
    await until(b, () => document.activeElement.textContent === "Delete for everybody");
    await b.keyboard.press("Enter");
    await message(a, "with a correction").waitFor({ state: "detached" });
    await until(b, () => document.activeElement.matches("#messages li"));
  });
  await step("a list of messages is one stop of the Tab key", async () => {
    await b.focus("#leave");
    await b.keyboard.press("Tab");
    await until(b, () => document.activeElement.matches("#messages li:last-child"));
    await b.keyboard.press("ArrowUp");
    await until(b, () => document.activeElement.matches("#messages li:nth-last-child(2)"));
    await b.keyboard.press("Tab");
    await until(b, () => document.activeElement.id === "text");
  });
  await step("a reload comes back to the same person", async () => {
    await b.reload();
    await message(b, TYPED).waitFor();
    equal(await b.textContent("#me-name"), "bob", "name");
  });
  await step("rooms are made, joined and left", async () => {
    await b.click("#more summary");
    await b.fill("#new-room", "made-by-bob");
    await b.press("#new-room", "Enter");
    await room(b, "made-by-bob").waitFor();
    await a.click("#more summary");
    await a.getByRole("button", { name: "Join made-by-bob" }).click();
    for (const page of [a, b]) await isIn(page, "made-by-bob");
    await write(a, "hello in here");
    await message(b, "hello in here").waitFor();
    await b.getByRole("button", { name: "Leave" }).click();
    await b.selectOption("#heir", { label: "alice" });
    await b.click("#hand-over button");
    await message(a, "bob left").waitFor();
    await room(b, "made-by-bob").waitFor({ state: "detached" });
    equal(await b.textContent("#notice"), "", "what is said about one's own leaving");
    await a.getByRole("button", { name: "Leave" }).click();
    await room(a, "made-by-bob").waitFor({ state: "detached" });
    equal(await a.textContent("#notice"), "", "what is said about one's own leaving");
  });
  await step("one writes to a person directly", async () => {
    await a.click("[data-user=bob]");
    await isIn(a, "bob");
    await write(a, "between us");
    await room(b, "alice").click();
    await message(b, "between us").waitFor();
  });
  for (const page of [a, b]) {
    await room(page, "general").click();
    await isIn(page, "general");
  }

  await step("the inspector shows both directions, filters and pauses", async () => {
    const line = (label) => a.locator("#frames li", { hasText: label });
    await a.fill("#filter", "sendmessage");
    await write(a, "look at this frame");
    await line("method sendMessage").first().waitFor();
    equal(await a.locator("#frames li", { hasText: "ping" }).count(), 0, "other frames");
    await line("method sendMessage").first().locator("summary").click();
    await line("method sendMessage").first().getByText('"msg": "look at this frame"').waitFor();
    await a.fill("#filter", "room-messages");
    await line("changed stream-room-messages").first().locator(".in").waitFor();
    await line("sub stream-room-messages").first().locator(".out").waitFor();
    await a.fill("#filter", "");
    await a.click("#pause");
    const before = await a.locator("#frames li").count();
    await write(a, "unseen frame");
    await until(a, () => document.getElementById("pause").textContent.includes("("));
    equal(await a.locator("#frames li").count(), before, "frames while it pauses");
    await a.click("#pause");
    equal(await a.locator("#frames li").count() > before, true, "more frames after it");
    const tokens = await a.evaluate(() => document.getElementById("frames").textContent.includes(JSON.parse(sessionStorage["ddp-edge-session"]).token));
    equal(tokens, false, "tokens shown");
  });
  await step("the figures are the gateway's", async () => {
    await until(a, (names) => names.every((name) => /\d/.test([...document.querySelectorAll("#figures figure")].find((f) => f.textContent.includes(name)).querySelector("output").textContent)), ["connections", "subscriptions", "deliveries/s", "messages/write", "queued"]);
    await until(a, () => document.querySelector("#figures output").textContent === "2");
    await until(a, () => Number(document.querySelectorAll("#figures output")[1].textContent) >= 8);
    await write(a, "counted");
    await until(a, () => document.querySelectorAll("#figures .line")[2].getAttribute("points").split(" ").some((point) => Number(point.split(",")[1]) < 20));
  });
  if (process.env.PICTURES) await step("pictures", () => pictures(a, b, write));

  await step("two hundred silent clients are there at once, and go", async () => {
    await a.click("#silent");
    // And one that measures what they get.
    await until(a, () => Number(document.querySelector("#figures output").textContent) === 203);
    await write(a, "to two hundred");
    await message(b, "to two hundred").waitFor();
    // Of the last second alone: a worse one before does not stay.
    await until(a, () => {
      const latency = Number.parseFloat(document.querySelectorAll("#figures output")[4].textContent);
      window.worst = Math.max(window.worst ?? 0, latency || 0);
      return latency < window.worst;
    });
    await a.click("#silent");
    await until(a, () => document.querySelector("#figures output").textContent === "3");
  });
  await step("a stalled client keeps nobody waiting: the gateway keeps, sheds, and closes it with 1013", async () => {
    await a.click("#stall");
    await a.getByText("The gateway keeps").waitFor();
    if (process.env.PICTURES) await a.screenshot({ path: `${process.env.PICTURES}/console-stall.png` });
    await write(b, "the others hear this");
    await message(a, "the others hear this").waitFor();
    await a.getByText("The gateway has closed the stalled client: 1013 SLOW_CONSUMER.").waitFor({ timeout: 60_000 });
    const shed = (await (await fetch(`${base}metrics`)).text()).match(/^ddp_edge_shed_total ([0-9]+)/m);
    equal(Number(shed[1]) > 0, true, "frames were shed");
  }, 120_000);
  await step("a removed member hears no more, until added again", async () => {
    await a.selectOption("#whom", "bob");
    await a.click("#remove");
    await b.getByText("You are no longer in this room.").waitFor();
    equal(await room(b, "general").count(), 0, "rooms called general");
    equal(await b.textContent("#last-close"), "", "what was said about a close");
    await a.click("#add");
    await room(b, "general").click();
    await message(b, "bob was added").waitFor();
  });
  await step("who may not remove others is told so", async () => {
    await b.selectOption("#whom", "alice");
    await b.click("#remove");
    await b.getByText("Not allowed").waitFor();
  });
  await step("dropped sockets say why and come back", async () => {
    await b.fill("#text", "half written");
    await a.click("#drop");
    for (const page of [a, b]) {
      await page.getByText("last close 1008 FORCED_LOGOUT").waitFor();
      await page.locator("#connection[data-state=connected]").waitFor();
      await message(page, "the others hear this").waitFor();
    }
    equal(await b.inputValue("#text"), "half written", "what was being written");
    await write(b, "back again");
    await message(a, "back again").waitFor();
  });

  await step("the tour has four steps", async () => {
    for (const at of ["1 of 4", "2 of 4", "3 of 4", "4 of 4"]) {
      await a.locator("#tour-text", { hasText: at }).waitFor();
      equal(await a.locator(".shown-by-tour").count(), 1, "things it shows");
      await a.click("#tour-next");
    }
    equal(await a.locator("#tour").isVisible(), false, "tour");
  });
  await step("a window of half a screen has two columns", async () => {
    await a.setViewportSize({ width: 800, height: 800 });
    for (const section of ["chat", "inspect"]) {
      await a.click(`#sections [data-section=${section}]`);
      for (const shown of ["#rooms-panel", `#${section}`]) equal(await a.locator(shown).isVisible(), true, shown);
      equal(await overflow(a), "", "too wide");
    }
    await a.setViewportSize(WIDE);
  });
  for (const colors of ["none", "active"]) {
    await step(`axe finds nothing, forced colours: ${colors}`, async () => {
      await a.emulateMedia({ forcedColors: colors });
      equal(await violations(a), "", "violations");
      await a.emulateMedia({ forcedColors: "none" });
    });
  }
  for (const scheme of ["light", "dark"]) {
    await step(`everything is readable and fits, ${scheme}`, async () => {
      await a.emulateMedia({ colorScheme: scheme });
      await fits(a, ["#chat", "#rooms-panel", "#inspect"]);
    });
  }
  await step("logging out ends the connection", async () => {
    await b.click("#logout");
    await b.locator("#people").waitFor();
    await b.getByText("last close 1002").waitFor();
    await a.locator("[data-user=bob] .dot[data-status=offline]").waitFor();
  });
  print({ drain: true });
  await step("a drain says so", () => a.getByText("last close 1012 DRAINING").waitFor());
  // What it says of a server that is gone is not ours.
  complaints.splice(0, complaints.length, ...complaints.filter((line) => !/WebSocket connection to|ERR_CONNECTION_REFUSED/.test(line)));
  await step("the browser has nothing to complain about", async () => equal(complaints.slice(0, 5).join("; "), "", "complaints"));
  await browser.close();
  print({ done: true });
}

/** In the page: `arrival(text)` says whether a text is on the page in the frame that follows its arrival on the socket. */
function watchArrivals() {
  const waiting = [];
  window.arrival = (text) => new Promise((resolve) => waiting.push({ text, resolve }));
  window.WebSocket = class extends WebSocket {
    constructor(...parameters) {
      super(...parameters);
      // Entered before the page's own listener, so that the frame asked for here is the one that follows its work.
      this.addEventListener("message", ({ data }) => {
        const at = waiting.findIndex(({ text }) => data.includes("stream-room-messages") && data.includes(text));
        if (at < 0) return;
        const [{ text, resolve }] = waiting.splice(at, 1);
        requestAnimationFrame(() => resolve(document.getElementById("messages").textContent.includes(text)));
      });
    }
  };
}

async function fits(page, sections) {
  for (const size of [WIDE, NARROW, NARROWEST]) {
    await page.setViewportSize(size);
    for (const section of sections) {
      const button = page.locator(`#sections [data-section=${section.slice(1)}]`);
      if (await button.isVisible()) await button.click();
      await page.locator(section).waitFor();
      equal(await overflow(page), "", `too wide at ${size.width} px in ${section}`);
      equal(await faintTexts(page), "", `contrast at ${size.width} px in ${section}`);
    }
  }
  await page.setViewportSize(WIDE);
}

async function pictures(a, b, write) {
  const enter = (name) => Promise.all([a, b].map((page) => page.locator("#rooms button", { hasText: name }).click()));
  await enter("random");
  if (await a.locator("#joinable").isVisible()) await a.click("#more summary");
  for (const [page, text] of [
    [a, "Good morning! The new gateway is up."],
    [b, "I see it. Did anybody have to reconnect?"],
    [a, "Nobody. Look at the frames: that is all there is on the wire."],
  ]) {
    await write(page, text);
    for (const each of [a, b]) await each.locator("#messages li", { hasText: text }).waitFor();
  }
  await a.click("#silent");
  await a.getByText("200 silent clients listen").waitFor();
  for (let i = 0; i < 6; i++) {
    await write(b, `Hello to all two hundred, ${i + 1} of 6`);
    await a.waitForResponse((response) => response.url().endsWith("/metrics"));
  }
  await b.type("#text", "One more");
  await a.getByText("bob is typing").waitFor();
  await a.waitForResponse((response) => response.url().endsWith("/metrics"));
  await a.screenshot({ path: `${process.env.PICTURES}/console-1280.png` });
  await a.setViewportSize(NARROW);
  await a.emulateMedia({ colorScheme: "dark" });
  await a.click("#sections [data-section=chat]");
  await a.screenshot({ path: `${process.env.PICTURES}/console-390.png` });
  await a.emulateMedia({ colorScheme: "light" });
  await a.setViewportSize(WIDE);
  await b.fill("#text", "");
  await a.click("#silent");
  await a.waitForFunction(() => document.querySelector("#figures output").textContent === "3");
  await enter("general");
}

run(process.argv[2]);
