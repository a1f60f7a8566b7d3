// The network flaps: everybody loses the socket without a goodbye and comes back. How long until news flow again?

import { Trend } from "k6/metrics";
import { Ddp, attempt, pause } from "./ddp.js";
import { clients, room, seconds, slowest } from "./settings.js";

const back = new Trend("ddp_reconnect_time", true);

export const options = {
  scenarios: { people: { executor: "constant-vus", vus: clients, duration: `${seconds}s`, gracefulStop: "30s" } },
  thresholds: {
    ddp_failed: ["rate<0.01"],
    ddp_reconnect_time: [`p(95)<${3 * slowest.answer}`],
  },
};

export default () =>
  attempt(async () => {
    const started = Date.now();
    const client = await Ddp.open();
    await client.login();
    await client.subscribe("stream-room-messages", room);
    back.add(Date.now() - started);
    await pause(0.5 + Math.random());
    // Only the websocket ends; DDP hears no `disconnect`.
    await client.close();
  });
