// A bare Moleculer peer for the tests of the bus: settings, license and a service whose actions exist only here.
//
//   TRANSPORTER=nats://.. node peer.js [--node-id ID] [--services settings,license,peer]
//
// Prints {"ready":{"nodeID":..}}, then {"call"|"event":name,"args":..,"from":node} for what other nodes send,
// {"node":"connected"|"updated"|"disconnected","id":..,"unexpected":..} for the registry, and {"reply":cmd,..} for each
// command. Reads commands as JSON lines. Ends with its standard input.

const { parseArgs } = require("node:util");
const readline = require("node:readline");
const EJSON = require("ejson");

const { createBroker, service, MeteorError } = require("./monolith/moleculer");

console.log = console.error;
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const failures = {
  meteor: () => new MeteorError("error-presence-disabled", "Presence is disabled", { method: "setStatus" }),
  meteor403: () => new MeteorError(403, "You have been logged out"),
  plain: () => new Error("Cannot enable broadcast"),
  string: () => "just a string",
};

const definitions = {
  settings: { dependencies: [], methods: { get: (id) => id } },
  license: { dependencies: ["settings"], methods: { hasValidLicense: () => true } },
  peer: {
    methods: {
      echo: (...args) => args,
      undefined: () => undefined,
      null: () => null,
      big: (size) => "x".repeat(size),
      slow: (ms) => pause(ms).then(() => ms),
      boom: (kind) => {
        throw failures[kind]();
      },
    },
    events: { "test.event": undefined, "test.other": undefined },
  },
};

async function main() {
  const { values: flags } = parseArgs({ options: { "node-id": { type: "string" }, services: { type: "string" } } });
  const broker = createBroker(process.env, flags["node-id"]);
  const observed = (kind, name, args, from) => {
    if (from !== broker.nodeID) print({ [kind]: name, args: EJSON.toJSONValue(args), from });
  };
  const hosted = flags.services?.split(",") ?? Object.keys(definitions);
  for (const name of hosted) broker.createService(service(name, definitions[name], observed));
  const told = (node) => (context) => print({ node, id: context.params.node.id, unexpected: context.params.unexpected });
  broker.createService({
    name: "watcher",
    actions: {
      // A call inside a call, for what the inner one inherits.
      nested: (context) => context.call(...context.params),
    },
    events: {
      "$node.connected": told("connected"),
      "$node.updated": told("updated"),
      "$node.disconnected": told("disconnected"),
    },
  });

  await broker.start();
  await broker.waitForServices(hosted);
  print({ ready: { nodeID: broker.nodeID } });

  const commands = {
    call: async ({ action, params = [], ...options }) => ({ result: await broker.call(action, params, options) }),
    broadcast: ({ event, args, groups }) => broker.broadcast(event, args, groups && { groups }),
    emit: ({ event, args }) => broker.emit(event, args),
    burst: async ({ event, count, size = 0 }) => {
      for (let number = 0; number < count; number++) await broker.broadcast(event, [number, "x".repeat(size)]);
    },
    nodes: () => ({
      nodes: broker.registry.nodes.list({ withServices: true }).map(({ id, available, services }) => ({
        id,
        available,
        services: (services ?? []).map(({ name }) => name),
      })),
    }),
    waitForServices: ({ names }) => broker.waitForServices(names, 30_000, 20).then(() => ({})),
    ping: () => broker.ping().then(() => ({})),
    create: ({ name }) => void broker.createService({ name, actions: { it: () => name } }),
    stop: () => broker.stop(),
  };
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { cmd, ...parameters } = EJSON.parse(line);
    // Not awaited: the other side may have to answer first.
    Promise.resolve()
      .then(() => commands[cmd](parameters))
      .then((answer) => print({ reply: cmd, ...EJSON.toJSONValue(answer ?? {}) }))
      .catch((error) => {
        const { name, message, error: code, reason, details, type } = error;
        print({ reply: cmd, error: EJSON.toJSONValue({ name, message, code, reason, details, type }) });
      });
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
