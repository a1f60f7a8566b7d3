// simpleddp with its login plugin.

const simpleDDP = require("simpleddp");
const { simpleDDPLogin } = require("simpleddp-plugin-login");
const ws = require("ws");

const HOST = process.env.HOST ?? "localhost:3000";
const NAME = "simpleddp";
const ROOM = "GENERAL";

async function main() {
  const options = { endpoint: `ws://${HOST}/websocket`, SocketConstructor: ws, reconnectInterval: 5000 };
  const server = new simpleDDP(options, [simpleDDPLogin]);
  await server.connect();
  await server.login({ user: { username: "bob" }, password: "bob" });
  const write = (msg) => server.call("sendMessage", { rid: ROOM, msg });
  server.on("changed", ({ collection, fields }) => {
    if (collection !== "stream-room-messages") return;
    const [{ u, msg }] = fields.args;
    if (u.username === "bob" || !msg.startsWith(`${NAME} `)) return;
    write(`${u.username}, ${NAME} heard ${msg.slice(NAME.length + 1)}`);
  });
  await server.subscribe("stream-room-messages", ROOM, false).ready();
  await write(`${NAME} is listening ...`);
}

main();
