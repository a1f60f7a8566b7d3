// rocket.chat.realtime.api.rxjs.

const { RealTimeAPI } = require("rocket.chat.realtime.api.rxjs");
// It takes the browser's global.
globalThis.WebSocket = require("ws");

const HOST = process.env.HOST ?? "localhost:3000";
const NAME = "rxjs";
const ROOM = "GENERAL";

const realTimeAPI = new RealTimeAPI(`ws://${HOST}/websocket`);
realTimeAPI.keepAlive().subscribe();

const write = (msg) => realTimeAPI.callMethod("sendMessage", { rid: ROOM, msg }).subscribe();

realTimeAPI.connectToServer().subscribe(() => {
  realTimeAPI.login("bob", "bob").subscribe(({ msg }) => {
    // The login is answered by its result, and by the user's document before it.
    if (msg !== "result") return;
    realTimeAPI.getSubscription("stream-room-messages", ROOM, false).subscribe(({ fields }) => {
      const [{ u, msg: text }] = fields.args;
      if (u.username === "bob" || !text.startsWith(`${NAME} `)) return;
      write(`${u.username}, ${NAME} heard ${text.slice(NAME.length + 1)}`);
    });
    write(`${NAME} is listening ...`);
  });
});
