// Lives after lives: clients come, log in, follow rooms, lose some of them or their login, and go, while messages are
// written. Gateway, accounts, authorization and presence are ours, each a process; nothing of them may grow. Starts
// everything but the database (seeded by seed-load.js), prints a JSON line every 20 s and a last one, ends with 1 if a
// process has grown by more than 3 % since the first third, or remembers somebody who has gone.
//
//   MONGO_URL=mongodb://.. node soak.js <ddp-edge> <nats-server> [minutes = 30] [clients at a time = 60]

const { spawn } = require("node:child_process");
const { readFileSync } = require("node:fs");
const { ServiceBroker } = require("moleculer");
const WebSocket = require("ws");

const [binary, natsServer, minutes = 30, count = 60] = process.argv.slice(2).map((text, n) => (n < 2 ? text : Number(text)));
const NATS_PORT = 24322;
const PORT = 24100;
const ROLES = ["gateway", "accounts", "authorization", "presence"];
const [USERS, ROOMS] = [1_000, 100];
const SAMPLE_SECONDS = 20;
const GROWTH_MAX = 1.03;
// What presence and the bus thread still do about those who have gone.
const REST_SECONDS = 30;
// Owners of the bus thread's state that are only about who is connected.
const EMPTY_AT_REST = ["people", "grants", "rejudge", "joins", "lanes", "looks", "flaps", "typing"];

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
const yes = () => true;
const any = (below) => Math.floor(Math.random() * below);
const counts = { lives: 0, messages: 0, removals: 0, logouts: 0, refused: 0 };

async function main() {
  const nats = spawn(natsServer, ["-a", "127.0.0.1", "-p", `${NATS_PORT}`], { stdio: "ignore" });
  await sleep(1);
  const broker = new ServiceBroker({ nodeID: "monolith", transporter: `nats://127.0.0.1:${NATS_PORT}`, logger: false });
  broker.createService({ name: "license", actions: { hasValidLicense: yes, isEnterprise: yes, hasModule: () => false } });
  broker.createService({ name: "settings", actions: { get: () => null } });
  broker.createService({ name: "meteor", actions: { getAutoUpdateClientVersions: () => ({}), getLoginServiceConfiguration: () => [] } });
  await broker.start();
  const started = ROLES.map((role, n) => {
    const ports = { PORT: `${PORT + 2 * n}`, MS_METRICS: "true", MS_METRICS_PORT: `${PORT + 2 * n + 1}` };
    const env = { ...process.env, ...ports, TRANSPORTER: `nats://127.0.0.1:${NATS_PORT}`, MOLECULER_LOG_LEVEL: "warn", DDP_EDGE_RATE_LIMITS: "false" };
    return { role, child: spawn(binary, [role], { env, stdio: ["ignore", "ignore", "inherit"] }) };
  });
  while (!(await fetch(`http://127.0.0.1:${PORT}/readyz`).then((answer) => answer.ok, () => false))) await sleep(0.2);

  let isOver = false;
  const crowd = Array.from({ length: count }, async () => {
    while (!isOver) await life(broker);
  });
  const writing = setInterval(() => {
    const number = counts.messages++;
    broker.broadcast("watch.messages", [{ message: { _id: `m${number}`, rid: `room-${any(ROOMS)}`, msg: "A message of ordinary length." } }]);
  }, 20);
  const samples = [];
  for (let n = 0; n < (minutes * 60) / SAMPLE_SECONDS; n++) {
    await sleep(SAMPLE_SECONDS);
    samples.push(Object.fromEntries(started.map(({ role, child }) => [role, rss(child.pid)])));
    console.log(JSON.stringify({ ...counts, ...samples.at(-1) }));
  }
  isOver = true;
  await Promise.all(crowd);
  clearInterval(writing);
  await sleep(REST_SECONDS);

  const page = await (await fetch(`http://127.0.0.1:${PORT + 1}/metrics`)).text();
  const entries = [...page.matchAll(/^ddp_edge_entries\{(.*)\} (\d+)$/gm)].map(([, labels, value]) => [labels.match(/owner="(\w+)"/)[1], Number(value)]);
  const left = Object.fromEntries(entries.filter(([owner, value]) => EMPTY_AT_REST.includes(owner) && value > 0));
  const third = samples.slice(0, Math.ceil(samples.length / 3));
  const growth = Object.fromEntries(ROLES.map((role) => [role, samples.at(-1)[role] / Math.max(...third.map((sample) => sample[role]))]));
  console.log(JSON.stringify({ minutes, ...counts, growth, left, entries: Object.fromEntries(entries) }));
  await broker.stop();
  started.forEach(({ child }) => child.kill());
  nats.kill();
  const isGood = entries.length > 0 && Object.keys(left).length === 0 && Object.values(growth).every((ratio) => ratio <= GROWTH_MAX);
  process.exit(isGood ? 0 : 1);
}

// kB.
const rss = (pid) => Number(readFileSync(`/proc/${pid}/status`, "utf8").match(/VmRSS:\s+(\d+)/)[1]);

// One client from its coming to its going.
function life(broker) {
  const user = any(USERS);
  const rooms = Array.from({ length: 1 + any(5) }, () => `room-${any(ROOMS)}`);
  const socket = new WebSocket(`ws://127.0.0.1:${PORT}/websocket`);
  const send = (message) => socket.send(JSON.stringify(message));
  counts.lives++;
  const stay = setTimeout(() => socket.close(), 500 + any(4_000));
  socket.on("open", () => {
    send({ msg: "connect", version: "1", support: ["1"] });
    send({ msg: "method", id: "login", method: "login", params: [{ resume: `token-${user}` }] });
    rooms.forEach((room, n) => send({ msg: "sub", id: `s${n}`, name: "stream-room-messages", params: [room, false] }));
    send({ msg: "sub", id: "changes", name: "stream-notify-user", params: [`user-${user}/rooms-changed`, false] });
    send({ msg: "sub", id: "all", name: "stream-room-messages", params: ["__my_messages__", false] });
    send({ msg: "sub", id: "watch", name: "stream-user-presence", params: ["", { added: [`user-${any(USERS)}`, `user-${any(USERS)}`] }] });
  });
  socket.on("message", (text) => {
    const message = JSON.parse(text);
    if (message.msg === "ping") send({ msg: "pong" });
    if (message.msg === "nosub" && message.error) counts.refused++;
    if (message.msg !== "ready" || message.subs[0] !== "watch") return;
    const fate = any(10);
    if (fate < 3) {
      counts.removals++;
      broker.broadcast("watch.subscriptions", [{ clientAction: "removed", subscription: { _id: "s", rid: rooms[0], u: { _id: `user-${user}` } } }]);
    } else if (fate === 3) {
      counts.logouts++;
      broker.broadcast("user.forceLogout", [`user-${user}`]);
    } else if (fate === 4) {
      send({ msg: "unsub", id: "s0" });
    } else if (fate === 5) {
      socket.terminate();
    }
  });
  socket.on("error", () => {});
  return new Promise((resolve) => {
    socket.on("close", () => {
      clearTimeout(stay);
      resolve();
    });
  });
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
