// uWebSockets.js as a DDP server: its topics do the fan-out in C++, this file is the thin part around them. Says yes to every
// login and subscription by itself, so a connection costs it no question to anybody.
//
//   PORT=.. TRANSPORTER=nats://.. node server.js

const uws = require("@trufflesuite/uws-js-unofficial");

const { join } = require("./backplane");

// Without a binary for this Node the package falls back to a server in JavaScript, which is not what is measured here.
if (!uws.us_listen_socket_close) throw new Error("uWebSockets.js has no build for this Node");

// Its own default of 64 KiB drops what a slow client does not take; this is the bound that the gateway has.
const BACKPRESSURE_BYTES_MAX = 4 * 1024 * 1024;

const app = uws.App();
let sessions = 0;

app.ws("/websocket", {
  maxBackpressure: BACKPRESSURE_BYTES_MAX,
  closeOnBackpressureLimit: 1,
  open: (socket) => socket.send('{"server_id":"0"}'),
  message: (socket, bytes) => answer(socket, JSON.parse(Buffer.from(bytes).toString())),
});

function answer(socket, { msg, id, name, params }) {
  switch (msg) {
    case "connect":
      socket.send(JSON.stringify({ msg: "connected", session: String(++sessions) }));
      break;
    case "method":
      // One write for both.
      socket.cork(() => {
        socket.send(JSON.stringify({ msg: "result", id, result: { id: "user", token: params[0].resume, type: "resume" } }));
        socket.send(JSON.stringify({ msg: "updated", methods: [id] }));
      });
      break;
    case "sub":
      socket.subscribe(`${name}/${params[0]}`);
      socket.send(JSON.stringify({ msg: "ready", subs: [id] }));
      break;
    case "ping":
      socket.send(JSON.stringify({ msg: "pong", id }));
      break;
  }
}

function publish(collection, eventName, argument) {
  const message = { msg: "changed", collection, id: "id", fields: { eventName, args: [argument] } };
  app.publish(`${collection}/${eventName}`, JSON.stringify(message));
}

async function main() {
  await join(process.env.TRANSPORTER, "uws", {
    "watch.messages": ({ message }) => publish("stream-room-messages", message.rid, message),
    "notify.desktop": (user, notification) => publish("stream-notify-user", `${user}/notification`, notification),
  });
  app.listen("127.0.0.1", Number(process.env.PORT), (socket) => {
    if (!socket) throw new Error(`port ${process.env.PORT} is taken`);
  });
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
