// One of Rocket.Chat's satellites as a Node process on Moleculer, re-created from the contract: what ours is measured against.
//
//   TRANSPORTER=nats://.. MONGO_URL=mongodb://.. node costs/original.js accounts|authorization|presence|hub
//
// The rules are those of the stand-in (tests/node/monolith), with the original's caches and without the stand-in's records of
// what it was asked. Prints {"ready":true}; ends with its standard input.

const { createBroker, service } = require("../monolith/moleculer");
const { open } = require("../monolith/database");
const { LINES, DEFAULT_LINE } = require("../monolith/lines");
const accounts = require("../monolith/accounts");
const authorization = require("../monolith/authorization");
const presence = require("../monolith/presence");
const hub = require("./hub");

async function main() {
  const name = process.argv[2];
  const line = LINES[DEFAULT_LINE];
  const database = await open(process.env.MONGO_URL);
  const broker = createBroker(process.env);
  const broadcast = (event, ...args) => broker.broadcast(event, args);
  const definitions = {
    accounts: () => accounts(database, broadcast, line),
    authorization: () => authorization(database, { valid: true }, { line, remembers: true }),
    presence: () => presence(database, broadcast, { presence: [...line.presence, "updateConnection"] }),
    hub: () => ({}),
  };
  broker.createService(service(name, definitions[name](), () => {}));
  await broker.start();
  await broker.waitForServices([name]);
  if (name === "hub") hub(database, broadcast);
  console.log(JSON.stringify({ ready: true }));
  process.stdin.resume().on("end", () => process.exit(0));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
