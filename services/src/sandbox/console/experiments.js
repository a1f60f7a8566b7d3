// Buttons that show the product's point.

import { $ } from "/dom.js";
import { measured, now, onSample } from "/figures.js";

const SILENT = 200;
/** Times 1.6 MB that a stalled client gets at most: more than its queue and all buffers take. */
const POURS = 12;
const SLOW = 'ddp_edge_connections_closed_total{reason="slow_consumer",blame="client"}';

let crowd; // the worker with the silent clients and the one that measures
let wanted = 0;
let stalled; // {worker, wake}

function say(text) {
  $("experiment").textContent = text;
}

let latency; // what the other clients have, of the last second

/** @param {{url, call, room, token, username}} tab what the experiments need of this tab */
export function setUpExperiments(tab) {
  on("silent", () => {
    wanted = wanted ? 0 : SILENT;
    openCrowd(tab);
    $("silent").textContent = wanted ? "Close silent clients" : `Open ${SILENT} silent clients`;
    if (!wanted) say("The silent clients are closed.");
  });
  on("stall", () => (stalled ? endStall("The stalled client is gone, and its queue with it.") : stall(tab)));
  on("flood", async () => {
    say("Writing …");
    await tab.call("sandbox:flood", tab.room());
    say("50 messages of 32 kB are written.");
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

function openCrowd({ url, room, token }) {
  if (!crowd) {
    crowd = new Worker("/crowd.js");
    crowd.onmessage = ({ data: { open, p99 } }) => {
      measured((latency = p99));
      if (wanted && open === wanted && $("experiment").dataset.open !== String(open)) {
        say(`${open} silent clients listen to this room, read in a worker: write, and look at deliveries per second.`);
      }
      $("experiment").dataset.open = open;
    };
  }
  crowd.postMessage({ url, token: token(), room: room(), count: wanted });
}

/** One client stops reading; messages are written until the gateway has ended it, and what is said is what it counts. */
async function stall(tab) {
  openCrowd(tab); // somebody has to measure what the others get
  // A room of its own, which nobody else listens to: one's notes to oneself.
  const { rid } = await tab.call("createDirectMessage", tab.username());
  const wake = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker("/stalled.js");
  const mine = (stalled = { worker, wake });
  $("stall").textContent = "End the stalled client";
  const sleeps = new Promise((resolve) => (worker.onmessage = resolve));
  worker.postMessage({ url: tab.url, token: tab.token(), room: rid, wake });
  await sleeps;
  say("One client has stopped reading; messages of 32 kB are written for it.");
  const before = await sample();
  for (let pour = 0; pour < POURS && stalled === mine; pour++) {
    await tab.call("sandbox:pour", rid);
    // What a slow client may miss is shed before anything else.
    const typing = [`${rid}/user-activity`, tab.username(), ["user-typing"], {}];
    for (let i = 0; i < 5; i++) tab.call("stream-notify-room", ...typing).catch(() => {});
    const after = await sample();
    const shed = after("ddp_edge_shed_total") - before("ddp_edge_shed_total");
    if (after(SLOW) > before(SLOW)) return told(mine, shed);
    const queued = Math.round(after("ddp_edge_outbox_bytes") / 1_000).toLocaleString("en");
    say(`The gateway keeps ${queued} kB for the stalled client and has shed ${shed} frames; the others wait ${others()}.`);
  }
}

/** The gateway has counted one more slow client: that one hears why when it wakes. */
async function told({ worker, wake }, shed) {
  const closed = new Promise((resolve) => (worker.onmessage = ({ data }) => resolve(data)));
  Atomics.store(wake, 0, 1);
  Atomics.notify(wake, 0);
  const { code, reason } = await closed;
  endStall(`The gateway has closed the stalled client: ${code} ${reason}. It had shed ${shed} frames before; the others waited ${others()}.`);
}

function others() {
  return latency === undefined ? "as before" : `${latency.toFixed(1)} ms (p99)`;
}

/** The gateway's own figures, of the next sample. */
function sample() {
  return new Promise((resolve) => onSample(() => resolve(now())));
}

function endStall(why) {
  stalled.worker.terminate();
  stalled = undefined;
  $("stall").textContent = "Stall one client";
  say(why);
}
