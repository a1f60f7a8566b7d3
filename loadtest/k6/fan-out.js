// One writes, everybody in the room reads: how long until a message is there, and whether any is missing.

import exec from "k6/execution";
import { Ddp, attempt, pause, stamped, watch } from "./ddp.js";
import { clients, rate, room, seconds, slowest } from "./settings.js";

const RUN = "fan-out";

export const options = {
  scenarios: {
    readers: { executor: "per-vu-iterations", vus: clients, iterations: 1, exec: "read" },
    writer: { executor: "per-vu-iterations", vus: 1, iterations: 1, exec: "write", startTime: "2s" },
  },
  thresholds: {
    ddp_failed: ["rate<0.01"],
    ddp_missed: ["count==0"],
    ddp_deliveries: [`count>=${Math.floor(clients * seconds * rate * 0.5)}`],
    ddp_delivery_time: [`p(95)<${slowest.delivery}`],
  },
};

export const read = () =>
  attempt(async () => {
    const client = await Ddp.open();
    await client.login();
    watch(client, RUN);
    await client.subscribe("stream-room-messages", room);
    const until = exec.scenario.startTime + (seconds + 4) * 1_000;
    await pause((until - Date.now()) / 1_000);
    await client.close();
  });

export const write = () =>
  attempt(async () => {
    const client = await Ddp.open();
    await client.login();
    for (let number = 0; number < seconds * rate; number++) {
      await client.sendMessage(stamped(RUN, number));
      await pause(1 / rate);
    }
    await client.close();
  });
