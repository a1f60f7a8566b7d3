// sockjs-client: what there is below the others, DDP message by message.

const SockJS = require("sockjs-client");

const HOST = process.env.HOST ?? "localhost:3000";
const NAME = "sockjs";
const ROOM = "GENERAL";

const sock = new SockJS(`http://${HOST}/sockjs`, null, { transports: ["websocket"] });
const send = (message) => sock.send(JSON.stringify(message));
let calls = 0;
const call = (method, ...params) => send({ msg: "method", id: String(++calls), method, params });
const write = (msg) => call("sendMessage", { rid: ROOM, msg });

sock.onopen = () => send({ msg: "connect", version: "1", support: ["1"] });
sock.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  switch (message.msg) {
    case "connected":
      call("login", { user: { username: "bob" }, password: "bob" });
      send({ msg: "sub", id: "room", name: "stream-room-messages", params: [ROOM, false] });
      break;
    case "ready":
      write(`${NAME} is listening ...`);
      break;
    case "ping":
      send({ msg: "pong" });
      break;
    case "changed": {
      const [{ u, msg }] = message.fields.args;
      if (u.username === "bob" || !msg.startsWith(`${NAME} `)) return;
      write(`${u.username}, ${NAME} heard ${msg.slice(NAME.length + 1)}`);
    }
  }
};
