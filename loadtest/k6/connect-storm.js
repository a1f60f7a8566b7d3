// Everybody comes at once: how long until a client is connected, logged in and subscribed, and how many fail.

import { Ddp, attempt } from "./ddp.js";
import { clients, room, seconds, slowest } from "./settings.js";

export const options = {
  scenarios: {
    storm: {
      executor: "ramping-arrival-rate",
      startRate: 1,
      timeUnit: "1s",
      preAllocatedVUs: clients,
      stages: [
        { target: Math.ceil(clients / 2), duration: `${Math.ceil(seconds / 3)}s` },
        { target: Math.ceil(clients / 2), duration: `${Math.ceil((seconds * 2) / 3)}s` },
      ],
    },
  },
  thresholds: {
    ddp_failed: ["rate<0.01"],
    ddp_connect_time: [`p(95)<${slowest.answer}`],
    ddp_login_time: [`p(95)<${slowest.answer}`],
    ddp_subscribe_time: [`p(95)<${slowest.answer}`],
  },
};

export default () =>
  attempt(async () => {
    const client = await Ddp.open();
    await client.login();
    await client.subscribe("stream-room-messages", room);
    await client.close();
  });
