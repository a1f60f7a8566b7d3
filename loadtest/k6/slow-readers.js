// Some do not read what is written to them. The others must not notice, and the slow ones are cut.
//
// How much must be written until that happens is DDP_MAX_BUFFERED_BYTES of the gateway and what the kernels on the way
// hold: with the default of 4 MiB raise RATE, BYTES and SECONDS.

import exec from "k6/execution";
import { sleep } from "k6";
import { Counter } from "k6/metrics";
import ws from "k6/ws";
import { Ddp, attempt, metrics, pause, stamped, watch } from "./ddp.js";
import { clients, framing, rate, room, seconds, slowest, token, url } from "./settings.js";

const RUN = "slow-readers";
const SLOW = Math.max(1, Math.floor(clients / 10));
/** Of one message. */
const BYTES = Number(__ENV.BYTES ?? 4_000);

const cut = new Counter("ddp_cut");

export const options = {
  scenarios: {
    readers: { executor: "per-vu-iterations", vus: clients, iterations: 1, exec: "read" },
    slow: { executor: "per-vu-iterations", vus: SLOW, iterations: 1, exec: "stall" },
    writer: { executor: "per-vu-iterations", vus: 1, iterations: 1, exec: "write", startTime: "2s" },
  },
  thresholds: {
    ddp_failed: ["rate<0.01"],
    ddp_missed: ["count==0"],
    ddp_delivery_time: [`p(95)<${slowest.delivery}`],
    ddp_cut: [`count==${SLOW}`],
  },
};

const end = () => exec.scenario.startTime + (seconds + 4) * 1_000;

export const read = () =>
  attempt(async () => {
    const client = await Ddp.open();
    await client.login();
    watch(client, RUN);
    await client.subscribe("stream-room-messages", room);
    await pause((end() - Date.now()) / 1_000);
    await client.close();
  });

export const write = () =>
  attempt(async () => {
    const client = await Ddp.open();
    await client.login();
    for (let number = 0; number < seconds * rate; number++) {
      await client.sendMessage(stamped(RUN, number, BYTES));
      await pause(1 / rate);
    }
    await client.close();
  });

/** With the older module, which reads no further while its listener works. */
export function stall() {
  const until = end();
  ws.connect(framing.url(url), {}, (socket) => {
    const send = (message) => socket.send(framing.frame(JSON.stringify(message)));
    const hello = () => send({ msg: "connect", version: "1", support: ["1"] });
    socket.on("open", () => framing.opensItself && hello());
    socket.on("message", (data) => {
      if (data === "o") return hello();
      for (const text of framing.messages(data)) {
        const { msg } = JSON.parse(text);
        if (msg === "connected") send({ msg: "method", id: "1", method: "login", params: [{ resume: token() }] });
        if (msg === "result") send({ msg: "sub", id: "2", name: "stream-room-messages", params: [room, false] });
        // Once the writer has begun: nothing is read until it has ended.
        if (msg === "changed") sleep(Math.max(0, (until - Date.now()) / 1_000));
      }
    });
    let isOurs = false;
    // Of one that still reads the code is 1013; the frame does not get through to one that does not.
    socket.on("close", () => (isOurs ? metrics.failed : cut).add(1));
    socket.on("error", () => {});
    socket.setTimeout(() => {
      isOurs = true;
      socket.close();
    }, (seconds + 20) * 1_000);
  });
}
