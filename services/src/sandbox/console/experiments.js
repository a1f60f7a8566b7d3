// Buttons that show the product's point.

import { $ } from "/dom.js";

const SILENT = 200;
const CONNECT = '{"msg":"connect","version":"1","support":["1"]}';

let silent = [];
let stalled;
let floods = 0;

function say(text) {
  $("experiment").textContent = text;
}

/** @param {{url, call, room, token}} tab what the experiments need of this tab */
export function setUpExperiments(tab) {
  on("silent", () => (silent.length ? closeSilent() : openSilent(tab)));
  on("stall", () => (stalled ? endStall() : stall(tab)));
  on("flood", async () => {
    say("Writing …");
    await tab.call("sandbox:flood", tab.room());
    floods += 1;
    say(`${floods} × 50 messages of 32 kB. What a stalled client does not take waits; beyond 4 MB or 30 s it is closed.`);
  });
  on("drop", async () => {
    // The answer loses the race with the close that it causes.
    tab.call("sandbox:dropSockets").catch(() => {});
    say("Every logged-in socket is closed behind what was queued for it. Tabs come back by themselves.");
  });
  on("remove", async () => {
    const username = $("whom").value;
    await tab.call("removeUserFromRoom", { rid: tab.room(), username });
    say(`${username} hears nothing more of this room, on any socket, and none had to reconnect.`);
  });
  on("add", async () => {
    const username = $("whom").value;
    await tab.call("addUsersToRoom", { rid: tab.room(), users: [username] });
    say(`${username} is in this room.`);
  });
}

function on(id, run) {
  $(id).addEventListener("click", async () => {
    try {
      await run();
    } catch (error) {
      say(error.message);
    }
  });
}

/** Sends the messages that make a socket one of this user's, listening to this room. */
function listen(socket, { token, room }) {
  const send = (message) => socket.send(JSON.stringify(message));
  socket.send(CONNECT);
  send({ msg: "method", id: "1", method: "login", params: [{ resume: token() }] });
  send({ msg: "sub", id: "2", name: "stream-room-messages", params: [room(), false] });
}

function openSilent(tab) {
  let open = 0;
  const sockets = Array.from({ length: SILENT }, () => {
    const socket = new WebSocket(tab.url);
    socket.onopen = () => {
      listen(socket, tab);
      say(`${++open} silent clients listen to this room: write, and look at deliveries per second.`);
    };
    socket.onmessage = ({ data }) => data.includes('"ping"') && socket.send('{"msg":"pong"}');
    socket.onclose = () => {
      const left = silent.length;
      silent = silent.filter((other) => other !== socket);
      if (left && !silent.length) showSilent();
    };
    return socket;
  });
  silent = sockets;
  showSilent();
}

function closeSilent() {
  for (const socket of silent.splice(0)) {
    // The browser complains about a socket that is closed before it is open.
    if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
    else socket.close();
  }
  showSilent();
  say("The silent clients are closed.");
}

function showSilent() {
  $("silent").textContent = silent.length ? "Close silent clients" : `Open ${SILENT} silent clients`;
}

// A worker whose thread sleeps reads nothing: the browser stops taking bytes and the gateway's queue for it fills.
function stall({ url, room, token }) {
  const source = `onmessage = ({ data }) => {
    const socket = new WebSocket(data.url);
    const [token, room] = [() => data.token, () => data.room];
    socket.onopen = () => (${listen})(socket, { token, room });
    socket.onmessage = ({ data }) => {
      if (!data.includes('"subs":["2"]')) return;
      postMessage("stalled");
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    };
  }; const CONNECT = '${CONNECT}';`;
  stalled = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  stalled.onmessage = () => say("One client of this room has stopped reading. Write long messages: only its own queue grows.");
  stalled.postMessage({ url, token: token(), room: room() });
  $("stall").textContent = "End the stalled client";
}

function endStall() {
  stalled.terminate();
  stalled = undefined;
  $("stall").textContent = "Stall one client";
  say("The stalled client is gone, and its queue with it.");
}
