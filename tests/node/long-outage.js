// nats-server is killed under load and stays away; every client that misses a number must be closed with 1012 in time.
// Starts everything but the database (seeded by seed-load.js), prints one JSON line, ends with 1 if anybody was forgotten.
//
//   MONGO_URL=mongodb://.. node long-outage.js <gateway binary> <nats-server> [seconds away = 40] [clients = 300]

const { spawn } = require("node:child_process");
const { createHash } = require("node:crypto");
const { ServiceBroker } = require("moleculer");
const WebSocket = require("ws");

const [binary, natsServer, away = 40, count = 300] = process.argv.slice(2).map((text, n) => (n < 2 ? text : Number(text)));
const NATS_PORT = 24222;
const PORT = 24000;
const RESYNC_SECONDS = 10;
// What the gateway waits for pongs after the reconnect, for the reconnect itself, and for a loaded machine.
const GRACE_SECONDS = 15;

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
const startNats = () => spawn(natsServer, ["-a", "127.0.0.1", "-p", `${NATS_PORT}`], { stdio: "ignore" });
const yes = () => true;

async function main() {
  let nats = startNats();
  await sleep(1);
  const broker = new ServiceBroker({ nodeID: "monolith", transporter: `nats://127.0.0.1:${NATS_PORT}`, logger: false });
  const login = (ctx) => ({ uid: "user-0", token: ctx.params[0].resume, hashedToken: createHash("sha256").update(ctx.params[0].resume).digest("base64"), type: "resume" });
  broker.createService({ name: "accounts", actions: { login } });
  broker.createService({ name: "authorization", actions: { canReadRoom: yes, canAccessRoom: yes, hasPermission: yes } });
  broker.createService({ name: "presence", actions: { newConnection: yes, removeConnection: yes, updateConnection: yes } });
  broker.createService({ name: "license", actions: { hasValidLicense: yes, isEnterprise: yes, hasModule: yes } });
  broker.createService({ name: "settings", actions: { get: () => null } });
  broker.createService({ name: "meteor", actions: { getAutoUpdateClientVersions: () => ({}), getLoginServiceConfiguration: () => [] } });
  await broker.start();
  const env = { ...process.env, PORT: `${PORT}`, TRANSPORTER: `nats://127.0.0.1:${NATS_PORT}`, DDP_EDGE_RESYNC_SECONDS: `${RESYNC_SECONDS}`, DDP_EDGE_RATE_LIMITS: "false" };
  const gateway = spawn(binary, ["gateway"], { env, stdio: ["ignore", "inherit", "inherit"] });
  const clients = Array.from({ length: count }, () => new Client());
  await eventually(() => clients.every((client) => client.isReady), 30);

  let number = 0;
  const publish = () => broker.broadcast("watch.messages", [{ message: { _id: `m${number}`, rid: "room-0", msg: `${number++}` } }]);
  const load = setInterval(publish, 50);
  await sleep(3);
  nats.kill("SIGKILL");
  const killed = Date.now();
  await sleep(away);
  const closedWhileAway = clients.filter((client) => client.closes.length > 0).length;
  nats = startNats();
  const back = Date.now();
  await sleep(RESYNC_SECONDS + GRACE_SECONDS);
  // All are back: who listens now hears the same numbers without a gap.
  await eventually(() => clients.every((client) => client.isReady), 10);
  clients.forEach((client) => (client.heard = 0));
  await sleep(3);
  clearInterval(load);
  await sleep(1);

  const missed = clients.filter((client) => client.missed > 0);
  const resyncs = clients.flatMap((client) => client.closes.filter((close) => close.code === 1012 && close.at > killed));
  const told = clients.filter((client) => client.closes.some((close) => close.code === 1012 && close.at > killed));
  const report = {
    clients: count,
    secondsAway: away,
    published: number,
    closedWhileAway,
    missedSomethingUntold: missed.filter((client) => !told.includes(client)).length,
    closedWith1012: told.length,
    otherCloses: [...new Set(clients.flatMap((client) => client.closes).map((close) => close.code).filter((code) => code !== 1012))],
    lastCloseAfterReturnSeconds: (Math.max(...resyncs.map((close) => close.at)) - back) / 1_000,
    backAndHearing: clients.filter((client) => client.isReady && client.heard > 0).length,
  };
  console.log(JSON.stringify(report));
  clients.forEach((client) => client.end());
  await broker.stop();
  gateway.kill();
  nats.kill();
  process.exit(report.missedSomethingUntold === 0 && report.closedWith1012 === count && report.backAndHearing === count ? 0 : 1);
}

// Subscribes to one room, comes back whenever it is closed, and counts the numbers that one connection has skipped.
class Client {
  closes = [];
  missed = 0;
  heard = 0;
  isReady = false;
  isEnding = false;

  constructor() {
    this.connect();
  }

  connect() {
    let last;
    const socket = (this.socket = new WebSocket(`ws://127.0.0.1:${PORT}/websocket`));
    const send = (message) => socket.send(JSON.stringify(message));
    socket.on("open", () => {
      send({ msg: "connect", version: "1", support: ["1"] });
      send({ msg: "method", id: "login", method: "login", params: [{ resume: "token-0" }] });
      send({ msg: "sub", id: "sub", name: "stream-room-messages", params: ["room-0", false] });
    });
    socket.on("message", (text) => {
      const message = JSON.parse(text);
      if (message.msg === "ping") send({ msg: "pong" });
      if (message.msg === "ready" && message.subs[0] === "sub") this.isReady = true;
      if (message.msg !== "changed" || message.collection !== "stream-room-messages") return;
      const number = Number(message.fields.args[0].msg);
      if (last !== undefined) this.missed += Math.max(0, number - last - 1);
      last = number;
      this.heard += 1;
    });
    socket.on("error", () => {});
    socket.on("close", (code) => {
      // Without a handshake there was no connection to miss anything on.
      if (this.isReady) this.closes.push({ code, at: Date.now() });
      this.isReady = false;
      if (!this.isEnding) setTimeout(() => this.connect(), 500 + Math.random() * 1_000);
    });
  }

  end() {
    this.isEnding = true;
    this.socket.terminate();
  }
}

async function eventually(condition, seconds) {
  for (const end = Date.now() + seconds * 1_000; !condition(); await sleep(0.1)) {
    if (Date.now() > end) throw new Error(`not within ${seconds} s`);
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
