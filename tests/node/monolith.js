// Plays the Rocket.Chat monolith beside ddp-edge: a real Moleculer process that judges and writes the same database.
//
//   TRANSPORTER=nats://.. MONGO_URL=mongodb://.. node monolith.js [--seed] [--line 5.0|6.14|7.x-late|8.x] [--memory]
//       [--services settings,license,..] [--without accounts,..] [--node-id ID]
//
// `--line` chooses whose actions, events and habits it has (monolith/lines.js), `--memory` has its authorization remember what
// the original remembers; `--services` and `--without` leave services to others.
//
// Prints JSON lines: {"ready":{"nodeID":..}}, then {"call":name,"args":..,"from":node} and
// {"event":name,"args":..,"from":node} for what other nodes send, and {"reply":cmd,..} for each command.
// Reads commands as JSON lines, one of COMMANDS below: {"cmd":"broadcast","event":"user.activity","args":[..]}.
// Arguments and documents are EJSON in both directions. Ends with its standard input.

const { parseArgs } = require("node:util");
const readline = require("node:readline");
const EJSON = require("ejson");

const { createBroker, only, service } = require("./monolith/moleculer");
const { open } = require("./monolith/database");
const accounts = require("./monolith/accounts");
const authorization = require("./monolith/authorization");
const presence = require("./monolith/presence");
const messages = require("./monolith/messages");
const meteor = require("./monolith/meteor");
const livechat = require("./monolith/livechat");
const calls = require("./monolith/calls");
const visibility = require("./monolith/visibility");
const commands = require("./monolith/commands");
const { LINES, DEFAULT_LINE } = require("./monolith/lines");
const { seed } = require("./workspace");

// Standard output carries only our lines; Moleculer's logger would write there.
console.log = console.error;

/** In every line; the satellites' are hosted here too unless told otherwise. */
const SERVICES = ["settings", "license", "accounts", "authorization", "presence", "meteor"];

async function main() {
  const { values: flags } = parseArgs({
    options: {
      seed: { type: "boolean" },
      line: { type: "string", default: DEFAULT_LINE },
      memory: { type: "boolean", default: false },
      services: { type: "string" },
      without: { type: "string", default: "" },
      "node-id": { type: "string" },
    },
  });
  if (!Object.hasOwn(LINES, flags.line)) throw new Error(`no line ${flags.line}: ${Object.keys(LINES).join(", ")}`);
  const line = LINES[flags.line];
  const database = await open(process.env.MONGO_URL);
  if (flags.seed) await seed(database, line.version);

  const broker = createBroker(process.env, flags["node-id"]);
  const broadcast = (event, ...args) => broker.broadcast(event, args);
  const received = [];
  const observed = (kind, name, args, from) => {
    if (from === broker.nodeID) return;
    const told = { [kind]: name, args: EJSON.toJSONValue(args), from };
    received.push(told);
    print(told);
  };

  const license = { valid: true };
  const judge = authorization(database, license, { line, remembers: flags.memory });
  const { canAccessRoomId, hasPermission } = judge.methods;
  const rooms = messages(database, canAccessRoomId, hasPermission, broadcast);
  const definitions = {
    settings: {
      dependencies: [],
      methods: { get: async (_id) => (await database.settings.findOne({ _id }))?.value },
    },
    license: {
      dependencies: ["settings"],
      methods: only(line.license, {
        hasValidLicense: () => license.valid,
        hasLicense: () => license.valid,
        hasModule: () => license.valid,
        isEnterprise: () => license.valid,
        getGuestPermissions: () => ["view-d-room", "view-joined-room", "view-p-room", "start-discussion"],
      }),
    },
    accounts: accounts(database, broadcast, line),
    authorization: { ...judge, methods: only(line.authorization, judge.methods) },
    presence: presence(database, broadcast, line),
    meteor: meteor(database, rooms.methods, line),
    ...livechat(database, hasPermission),
    ...calls(canAccessRoomId, license),
    ...visibility(database),
  };
  const without = flags.without.split(",");
  const hosted = (flags.services?.split(",") ?? [...SERVICES, ...line.services]).filter((name) => !without.includes(name));
  for (const name of hosted) broker.createService(service(name, definitions[name], observed));

  await broker.start();
  await broker.waitForServices(hosted);
  print({ ready: { nodeID: broker.nodeID, services: hosted } });

  const run = commands({ broker, database, line, rooms, license, received, broadcast });
  for await (const text of readline.createInterface({ input: process.stdin })) {
    const { cmd, ...parameters } = EJSON.parse(text);
    try {
      print({ reply: cmd, ...EJSON.toJSONValue((await run[cmd](parameters)) ?? {}) });
    } catch (error) {
      print({ reply: cmd, error: error.message });
    }
    if (cmd === "stop") break;
  }
  await broker.stop();
  await database.client.close();
}

// Half of a surrogate pair becomes U+FFFD: no reader of ours takes it.
function print(line) {
  const whole = (_, value) => (typeof value === "string" ? value.toWellFormed() : value);
  process.stdout.write(`${JSON.stringify(line, whole)}\n`);
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
