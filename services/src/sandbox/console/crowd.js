// A worker with many silent clients, so that reading for them costs the page nothing; and with one that measures what
// the others get: how long a ping takes through the same gateway.

const PING_EVERY_MS = 50;
const REPORT_EVERY_MS = 1_000;

let sockets = [];
let probe;
let pings = new Map(); // id -> when
let times = []; // of this interval, in ms

onmessage = ({ data: { url, token, room, count } }) => {
  probe ??= measure(url);
  while (sockets.length > count) sockets.pop().close();
  while (sockets.length < count) sockets.push(client(url, (socket) => listen(socket, token, room)));
};

function client(url, onConnected) {
  const socket = new WebSocket(url);
  const send = (message) => socket.send(JSON.stringify(message));
  socket.onopen = () => send({ msg: "connect", version: "1", support: ["1"] });
  socket.onmessage = ({ data }) => {
    if (data.startsWith('{"msg":"ping"')) send({ msg: "pong" });
    if (data.startsWith('{"msg":"connected"')) onConnected(socket);
    if (data.startsWith('{"msg":"pong"')) onPong(JSON.parse(data).id);
  };
  socket.onclose = () => {
    sockets = sockets.filter((other) => other !== socket);
    if (socket === probe) probe = undefined;
  };
  return socket;
}

function listen(socket, token, room) {
  const send = (message) => socket.send(JSON.stringify(message));
  send({ msg: "method", id: "1", method: "login", params: [{ resume: token }] });
  send({ msg: "sub", id: "2", name: "stream-room-messages", params: [room, false] });
}

function measure(url) {
  let next = 0;
  return client(url, (socket) => {
    const timer = setInterval(() => {
      if (socket.readyState !== WebSocket.OPEN) return clearInterval(timer);
      pings.set(String(next), performance.now());
      socket.send(JSON.stringify({ msg: "ping", id: String(next++) }));
    }, PING_EVERY_MS);
  });
}

function onPong(id) {
  if (!pings.has(id)) return;
  times.push(performance.now() - pings.get(id));
  pings.delete(id);
}

setInterval(() => {
  times.sort((a, b) => a - b);
  const open = sockets.filter(({ readyState }) => readyState === WebSocket.OPEN).length;
  postMessage({ open, p99: times.at(Math.ceil(times.length * 0.99) - 1) });
  times = [];
}, REPORT_EVERY_MS);
