// People in a room: everybody reads, types and now and then writes, as a client of the apps does.

import exec from "k6/execution";
import { Ddp, attempt, pause, stamped, watch } from "./ddp.js";
import { clients, rate, room, seconds, slowest } from "./settings.js";

export const options = {
  scenarios: { people: { executor: "per-vu-iterations", vus: clients, iterations: 1 } },
  thresholds: {
    ddp_failed: ["rate<0.01"],
    ddp_missed: ["count==0"],
    ddp_method_time: [`p(95)<${slowest.answer}`],
    ddp_delivery_time: [`p(95)<${slowest.delivery}`],
  },
};

export default () =>
  attempt(async () => {
    const client = await Ddp.open();
    const { id } = await client.login();
    // Everybody follows one of the others, so that each message is counted once.
    const others = exec.vu.idInTest % clients;
    watch(client, `chat-${others}`);
    await client.subscribe("stream-room-messages", room);
    await client.subscribe("stream-notify-room", `${room}/user-activity`);
    await client.subscribe("stream-notify-user", `${id}/rooms-changed`);
    await client.subscribe("stream-notify-user", `${id}/subscriptions-changed`);
    const until = Date.now() + seconds * 1_000;
    const me = `chat-${exec.vu.idInTest - 1}`;
    for (let number = 0; Date.now() < until; number++) {
      // One in three thinks longer than the others.
      await pause((0.5 + Math.random()) / rate);
      await client.call("stream-notify-room", `${room}/user-activity`, `vu-${exec.vu.idInTest}`, ["user-typing"], {});
      await client.sendMessage(stamped(me, number));
    }
    await client.close();
  });
