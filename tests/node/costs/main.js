// What the satellites cost: the same calls and the same writes, in turn, to Rocket.Chat's services re-created in Node
// (costs/original.js) and to ours, on one nats-server and one database, in one run.
//
//   node costs/main.js --edge PATH [--rounds 3] [--calls 3000] [--storm 10000] [--flaps 5] [--events 5000] [--only accounts,..]
//                      [--sides node,edge] [--database PROGRAM] [--mongo PORT]
//
// `--database` is a program to start instead of the stand-in, which is slow (`scripts/costs --fast-database` installs one that takes the
// same arguments); `--mongo` is where a mongod of this machine listens (a replica set of one): its database "ddp_edge_costs" is made anew.
//
// CPU time is that of the process under test alone, from /proc/<pid>/task/*/schedstat, so that what else runs on the machine counts for
// little. Calls are asked 64 at a time by one Moleculer broker in this process, which is the slowest part: calls per second are
// what this asker reaches, no limit of either. Starts what it needs (DDP_EDGE_TEST_* as the other tests), prints a table, ends.

const { spawn } = require("node:child_process");
const { createHash } = require("node:crypto");
const { mkdtempSync, rmSync } = require("node:fs");
const net = require("node:net");
const { tmpdir } = require("node:os");
const path = require("node:path");
const { parseArgs } = require("node:util");
const { MongoClient } = require("mongodb");

const { createBroker, service } = require("../monolith/moleculer");
const changes = require("./changes");
const { counter, cpu, pause, rss, until } = require("./measure");
const storm = require("./storm");

const ROOT = path.join(__dirname, "../../..");
const TOOLS = path.join(ROOT, "target/tools/bin");
const DATABASE = "ddp_edge_costs";
const USERS = 10_000;
const AT_ONCE = 64;
const WARM = 2_000;
const ROLES = { accounts: "accounts", authorization: "authorization", presence: "presence", hub: "stream-hub" };

console.log = console.error;
const say = (line) => process.stdout.write(`${line}\n`);
const hashed = (token) => createHash("sha256").update(token).digest("base64");
const children = new Set();
/** What the database keeps, if it keeps anything in files. */
const scratch = mkdtempSync(path.join(tmpdir(), "ddp-edge-costs-"));

async function main() {
  const options = {
    edge: { type: "string" },
    rounds: { type: "string", default: "3" },
    calls: { type: "string", default: "3000" },
    storm: { type: "string", default: "10000" },
    flaps: { type: "string", default: "5" },
    events: { type: "string", default: "5000" },
    only: { type: "string", default: "accounts,authorization,presence,hub" },
    sides: { type: "string", default: "node,edge" },
    database: { type: "string", default: path.join(TOOLS, "secantusd") },
    mongo: { type: "string" },
  };
  const { values: flags } = parseArgs({ options });
  const count = Object.fromEntries(["rounds", "calls", "storm", "flaps", "events"].map((name) => [name, Number(flags[name])]));
  const place = await start(flags.database, flags.mongo);
  const results = {};
  for (let round = 0; round < count.rounds; round++) {
    for (const name of flags.only.split(",")) {
      for (const side of flags.sides.split(",")) {
        const under = await serve(place, name, side, flags.edge);
        const measured = await MEASURES[name](place, under, count);
        under.child.kill("SIGTERM");
        await under.ended;
        await gone(place, name);
        for (const [row, figures] of Object.entries(measured)) ((results[row] ??= {})[side] ??= []).push(figures);
        console.error(round, side, JSON.stringify(measured));
      }
    }
  }
  report(results);
}

/** Servers, an asker on the bus, a database with people. */
async function start(database, given) {
  const [natsPort, mongoPort] = [await freePort(), Number(given ?? (await freePort()))];
  run(path.join(TOOLS, "nats-server"), ["-a", "127.0.0.1", "-p", String(natsPort)], {});
  if (!given) run(database, ["--host", "127.0.0.1", "--port", String(mongoPort), "--storage-path", scratch], {});
  const environment = {
    TRANSPORTER: `nats://127.0.0.1:${natsPort}`,
    MONGO_URL: `mongodb://127.0.0.1:${mongoPort}/${DATABASE}?directConnection=true`,
    HEARTBEAT_INTERVAL: "2",
    // In a storm everybody is busy.
    HEARTBEAT_TIMEOUT: "60",
    // Who waits longest in a storm is waited for.
    REQUEST_TIMEOUT: "600",
  };
  await until("the database", () => canConnect(mongoPort));
  await until("nats-server", () => canConnect(natsPort));
  const client = await MongoClient.connect(environment.MONGO_URL);
  const db = client.db();
  await db.dropDatabase();
  await fill(db);
  // What the services write goes past a counter.
  const commands = new Map();
  const answers = { seen: () => {} };
  const counted = await counter(mongoPort, commands, (chunk) => answers.seen(chunk));
  const broker = createBroker(environment, "asker");
  const heard = { "watch.messages": () => {}, "presence.status": () => {} };
  const settings = { methods: { get: async (_id) => (await db.collection("rocketchat_settings").findOne({ _id }))?.value }, dependencies: [] };
  const license = { methods: { hasValidLicense: () => true, hasModule: () => true, getGuestPermissions: () => [] }, dependencies: [] };
  broker.createService(service("settings", settings, () => {}));
  broker.createService(service("license", license, () => {}));
  const events = Object.fromEntries(Object.keys(heard).map((name) => [name, (event) => heard[name](event)]));
  broker.createService(service("streamer", { events, dependencies: [] }, () => {}));
  await broker.start();
  return { broker, db, heard, commands, answers, environment: { ...environment, MONGO_URL: `mongodb://127.0.0.1:${counted}/${DATABASE}?directConnection=true` } };
}

async function fill(db) {
  const when = new Date();
  const users = Array.from({ length: USERS }, (_, n) => ({
    _id: `user-${n}`,
    username: `user-${n}`,
    name: `User ${n}`,
    active: true,
    roles: ["user"],
    status: "offline",
    statusConnection: "offline",
    statusDefault: "online",
    services: { resume: { loginTokens: [{ hashedToken: hashed(`token-${n}`), when }, { hashedToken: hashed(`other-${n}`), when }] } },
  }));
  const members = users.map(({ _id }, n) => ({ _id: `s${n}`, rid: `room-${n % 100}`, u: { _id }, t: "p", roles: [] }));
  const rooms = Array.from({ length: 100 }, (_, n) => ({ _id: `room-${n}`, t: "p", name: `room-${n}` }));
  const permissions = ["view-c-room", "view-p-room", "view-joined-room", "create-c"].map((_id) => ({ _id, roles: ["user"] }));
  for (const [name, documents] of Object.entries({ users, rocketchat_subscription: members, rocketchat_room: rooms, rocketchat_permissions: permissions })) {
    for (let at = 0; at < documents.length; at += 1_000) await db.collection(name).insertMany(documents.slice(at, at + 1_000));
  }
  // Line 6: the hub announces everything.
  await db.collection("rocketchat_statistics").insertOne({ _id: "s", version: "6.5.0", createdAt: when });
  await db.collection("users").createIndex({ "services.resume.loginTokens.hashedToken": 1 }, { unique: true, sparse: true });
  await db.collection("users").createIndex({ username: 1 }, { unique: true, sparse: true });
  // Which ours makes for itself; here the other side has them too.
  for (const field of ["id", "instanceId", "_updatedAt"]) await db.collection("usersSessions").createIndex({ [`connections.${field}`]: 1 });
  await db.collection("rocketchat_subscription").createIndex({ rid: 1, "u._id": 1 }, { unique: true });
}

/** Starts the service under test: `{ child, ended, node }`. */
async function serve({ broker, environment }, name, side, edge) {
  const own = { ...environment, MOLECULER_LOG_LEVEL: "warn", DISABLE_DB_WATCHERS: "no", LICENSE_CHECK_INTERVAL: "3600" };
  const child =
    side === "node"
      ? run(process.execPath, [path.join(__dirname, "original.js"), name], { ...own, NODE_ENV: "production" })
      : run(edge, [ROLES[name]], { ...own, PORT: String(await freePort()) });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  await broker.waitForServices([name], 60_000, 50);
  const offers = ({ available, services }) => available && services?.some((offered) => offered.name === name);
  const { id } = broker.registry.nodes.list({ withServices: true }).find(offers);
  await pause(1_500);
  return { child, ended, node: id };
}

/** Waits until nobody offers a service any more. */
const gone = ({ broker }, name) =>
  until(`the end of ${name}`, () => !broker.registry.services.list({ onlyAvailable: true }).some((offered) => offered.name === name));

const MEASURES = {
  async accounts(place, under, { calls }) {
    const login = (n) => place.broker.call("accounts.login", [{ resume: `token-${n % USERS}` }]);
    return { "resume login": await asking(place, under, calls, login, ({ uid }, n) => uid === `user-${n % USERS}`) };
  },

  async authorization(place, under, { calls }) {
    const permission = (n) => place.broker.call("authorization.hasPermission", [`user-${n % USERS}`, "create-c"]);
    const member = (n) => place.broker.call("authorization.canAccessRoomId", [`room-${n % 100}`, `user-${n % USERS}`]);
    const room = (n) => ({ _id: `room-${n % 100}`, t: "p" });
    const described = (n) => place.broker.call("authorization.canAccessRoom", [room(n), { _id: `user-${n % USERS}` }]);
    const yes = (answer) => answer === true;
    return {
      hasPermission: await asking(place, under, calls, permission, yes),
      canAccessRoomId: await asking(place, under, calls, member, yes),
      canAccessRoom: await asking(place, under, calls, described, yes),
    };
  },

  presence: storm,
  hub: changes,
};

/** Asks AT_ONCE at a time: CPU µs of the process per call and calls per second, when it is warm (Node compiles as it goes). */
async function asking(_place, under, calls, ask, isRight) {
  const rush = async (from, to) => {
    let next = from;
    const one = async () => {
      while (next < to) {
        const n = next++;
        const answer = await ask(n);
        if (!isRight(answer, n)) throw new Error(`a wrong answer: ${JSON.stringify(answer)}`);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, one));
  };
  await rush(0, WARM);
  const before = [cpu(under), performance.now()];
  await rush(WARM, WARM + calls);
  return { cpu: (cpu(under) - before[0]) / calls, rate: (1_000 * calls) / (performance.now() - before[1]), rss: rss(under) };
}

function report(results) {
  const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
  const spread = (list) => `${median(list).toFixed(1)} (${Math.min(...list).toFixed(1)}-${Math.max(...list).toFixed(1)})`;
  say("| row | figure | Node | ours | Node : ours |\n|---|---|---|---|---|");
  for (const [row, { node, edge }] of Object.entries(results)) {
    for (const figure of Object.keys((node ?? edge)[0])) {
      const [theirs, ours] = [node, edge].map((rounds) => rounds?.map((figures) => figures[figure]));
      const ratio = theirs && ours ? (median(theirs) / median(ours)).toFixed(2) : "";
      say(`| ${row} | ${figure} | ${theirs ? spread(theirs) : ""} | ${ours ? spread(ours) : ""} | ${ratio} |`);
    }
  }
}

function run(command, args, environment) {
  const child = spawn(command, args, { env: { PATH: process.env.PATH, ...environment }, stdio: ["pipe", "ignore", "ignore"] });
  children.add(child);
  child.once("exit", () => children.delete(child));
  return child;
}

const canConnect = (port) =>
  new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1", () => resolve(true)).on("error", () => resolve(false));
    socket.on("connect", () => socket.end());
  });

const freePort = () =>
  new Promise((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
process.on("exit", () => {
  children.forEach((child) => child.kill("SIGKILL"));
  rmSync(scratch, { recursive: true, force: true });
});
