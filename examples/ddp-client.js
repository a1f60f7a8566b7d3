// @rocket.chat/ddp-client: a typed SDK for browsers and Node; REST and streams.

// It takes the browser's globals; Node has had fetch since 18.
globalThis.WebSocket = require("ws");
const { createHash } = require("node:crypto");
const { DDPSDK } = require("@rocket.chat/ddp-client");

const HOST = process.env.HOST ?? "localhost:3000";
const NAME = "ddp-client";
const ROOM = "GENERAL";

async function main() {
  const sdk = await DDPSDK.createAndConnect(`http://${HOST}`);
  await sdk.account.loginWithPassword("bob", createHash("sha256").update("bob").digest("hex"));
  const write = (msg) => sdk.rest.post("/v1/chat.sendMessage", { message: { rid: ROOM, msg } });
  const stream = sdk.stream("room-messages", ROOM, ({ u, msg }) => {
    if (u.username === "bob" || !msg.startsWith(`${NAME} `)) return;
    write(`${u.username}, ${NAME} heard ${msg.slice(NAME.length + 1)}`);
  });
  await stream.ready();
  await write(`${NAME} is listening ...`);
}

main();
