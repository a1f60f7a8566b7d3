// sockjs-client with the websocket transport, as the web client uses it, below a DDP client of our own.

const SockJS = require("sockjs-client");

const { run } = require("./lib");
const { ddp } = require("./raw");

async function open({ http }, on) {
  // Its own time limit is a multiple of a measured round trip and fails on a busy machine.
  const socket = new SockJS(`${http}/sockjs`, null, { transports: ["websocket"], timeout: 8000 });
  const { client, message } = ddp({ send: (text) => socket.send(text) }, on);
  socket.onmessage = ({ data }) => message(data);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onclose = ({ code, reason }) => reject(new Error(`closed with ${code} ${reason}`));
  });
  socket.onclose = on.close;
  await client.connect();
  return { ...client, close: () => socket.close(1000) };
}

run("sockjs-client", open);
