// Buttons that show the product's point.

const said = document.getElementById("experiment");
const silent = [];
let stalled;

function say(text) {
  said.textContent = text;
}

/** @param {{url, call, rooms, room, token}} tab what the experiments need of this tab */
export function setUpExperiments(tab) {
  on("silent", () => openSilent(tab));
  on("stall", () => stall(tab));
  on("flood", () => flood(tab));
  on("remove", async () => {
    await tab.call("removeUserFromRoom", { rid: tab.room(), username: "bob" });
    say("Bob's subscriptions of this room are over, on all his sockets, without a reconnect.");
  });
  on("drop", async () => {
    await tab.call("sandbox:dropSockets");
    say("Every logged-in socket was closed after what was queued for it; each comes back by itself.");
  });
}

function on(id, run) {
  document.getElementById(id).addEventListener("click", () => Promise.resolve(run()).catch((error) => say(error.message)));
}

function openSilent({ url }) {
  if (silent.length) {
    for (const socket of silent.splice(0)) socket.close();
    return say("The silent clients are closed.");
  }
  let open = 0;
  for (let i = 0; i < 200; i++) {
    const socket = new WebSocket(url);
    socket.onopen = () => {
      socket.send('{"msg":"connect","version":"1","support":["1"]}');
      say(`${++open} silent clients are open; watch memory stay flat. Press again to close them.`);
    };
    socket.onmessage = ({ data }) => data.includes('"ping"') && socket.send('{"msg":"pong"}');
    silent.push(socket);
  }
}

// A worker whose thread sleeps reads nothing: the browser stops taking bytes and the gateway's outbox fills.
function stall({ url, room, token }) {
  stalled?.terminate();
  const source = `onmessage = ({ data: { url, token, room } }) => {
    const socket = new WebSocket(url);
    const send = (message) => socket.send(JSON.stringify(message));
    socket.onopen = () => {
      send({ msg: "connect", version: "1", support: ["1"] });
      send({ msg: "method", id: "1", method: "login", params: [{ resume: token }] });
      send({ msg: "sub", id: "s", name: "stream-room-messages", params: [room, false] });
    };
    socket.onmessage = ({ data }) => {
      if (!data.includes('"ready"')) return;
      postMessage("stalled");
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    };
  };`;
  stalled = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  stalled.onmessage = () => say("One client of this room has stopped reading. Write: you and the others notice nothing.");
  stalled.postMessage({ url, token: token(), room: room() });
}

async function flood({ call, room }) {
  const text = "A long message for whoever listens. ".repeat(100);
  for (let i = 1; i <= 100; i++) await call("sendMessage", { rid: room(), msg: `${i}: ${text}` });
  say("100 messages of 3,600 characters are written.");
}
