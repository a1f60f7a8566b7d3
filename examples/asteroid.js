// asteroid 2.

const { createClass } = require("asteroid");
const ws = require("ws");

const HOST = process.env.HOST ?? "localhost:3000";
const NAME = "asteroid";
const ROOM = "GENERAL";

const Asteroid = createClass();
const asteroid = new Asteroid({ endpoint: `ws://${HOST}/websocket`, SocketConstructor: ws });
const write = (msg) => asteroid.call("sendMessage", { rid: ROOM, msg });

asteroid.ddp.on("changed", ({ collection, fields }) => {
  if (collection !== "stream-room-messages") return;
  const [{ u, msg }] = fields.args;
  if (u.username === "bob" || !msg.startsWith(`${NAME} `)) return;
  write(`${u.username}, ${NAME} heard ${msg.slice(NAME.length + 1)}`);
});

asteroid.loginWithPassword({ username: "bob", password: "bob" }).then(() => {
  asteroid.subscribe("stream-room-messages", ROOM, false).on("ready", () => write(`${NAME} is listening ...`));
});
