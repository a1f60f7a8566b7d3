// @rocket.chat/ddp-client.

// It takes the browser's global.
globalThis.WebSocket = require("ws");
const { DDPSDK } = require("@rocket.chat/ddp-client");

const { run } = require("./lib");

const STREAMS = ["stream-room-messages", "stream-notify-room", "stream-notify-user", "stream-notify-logged"];

async function open({ http }, on) {
  const sdk = await DDPSDK.createAndConnect(http, { retryCount: 0, retryTime: 100 });
  for (const stream of STREAMS) {
    sdk.client.onCollection(stream, ({ msg, fields }) => msg === "changed" && on.event(stream, fields.eventName, fields.args));
  }
  // The client itself tells of a connection that it has lost, but not of one that it has closed.
  sdk.connection.ws.addEventListener("close", on.close);
  return {
    login: (token) => sdk.account.loginWithToken(token),
    call: (method, ...params) => (method === "logout" ? sdk.account.logout() : sdk.call(method, ...params)),
    async subscribe(name, ...params) {
      const subscription = sdk.client.subscribe(name, ...params);
      await subscription.ready();
      return () => sdk.client.unsubscribe(subscription.id);
    },
    close: () => sdk.connection.close(),
  };
}

run("ddp-client", open);
