// What ddp-edge replaces, as far as its contract describes it and the scenarios need it, written from that contract: `ws` and
// `moleculer` with EJSON over NATS; a login asks `accounts`, `presence` and announces itself, a room asks `authorization`; each
// event's frame is built once and then sent to one subscriber after the other, each send awaited. Left out, so the real one
// costs more: MongoDB, SockJS, metrics and the other streams' rules.
//
//   PORT=.. TRANSPORTER=nats://.. node server.js

const { randomUUID } = require("node:crypto");
const EJSON = require("ejson");
const { WebSocketServer } = require("ws");

const { createBroker } = require("./broker");
const { Streams } = require("./streams");

const IDLE_MS = 30_000;
const FIRST_IDLE_MS = 30;

const streams = new Streams();
const broker = createBroker(process.env.TRANSPORTER, {
  "watch.messages": ({ message }) => streams.emit("stream-room-messages", message.rid, [message]),
  "notify.desktop": (user, notification) => streams.emit("stream-notify-user", `${user}/notification`, [notification]),
});

/** One client: a session of the protocol and the state that goes with it. */
class Client {
  constructor(socket, request) {
    this.socket = socket;
    this.userId = undefined;
    this.connection = {
      id: randomUUID(),
      clientAddress: request.socket.remoteAddress,
      httpHeaders: request.headers,
    };
    this.subscriptions = new Map();
    this.queue = Promise.resolve();
    this.timer = setTimeout(() => this.handleIdle(), FIRST_IDLE_MS);
    socket.on("message", (data) => this.handleMessage(data.toString()));
    socket.on("close", () => this.handleClose());
    broker.broadcast("socket.connected", [this.connection]);
    this.send({ msg: "server_id", server_id: "0" });
  }

  send(message) {
    this.socket.send(EJSON.stringify(message));
  }

  handleIdle() {
    this.send({ msg: "ping" });
    this.timer = setTimeout(() => this.socket.close(4000, "TIMEOUT"), IDLE_MS);
  }

  handleMessage(text) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.handleIdle(), IDLE_MS);
    const message = EJSON.parse(text);
    switch (message.msg) {
      case "connect":
        return this.send({ msg: "connected", session: this.connection.id });
      case "ping":
        return this.send({ msg: "pong", id: message.id });
      case "method":
        return this.enqueue(() => this.call(message));
      case "sub":
        return this.enqueue(() => this.subscribe(message));
    }
  }

  /** Methods and subscriptions of a client run strictly one after the other. */
  enqueue(task) {
    this.queue = this.queue.then(task).catch((error) => broker.logger.error(error));
  }

  async call({ id, params }) {
    const login = await broker.call("accounts.login", params);
    if (!login) {
      this.send({ msg: "result", id, error: { error: 403, errorType: "Meteor.Error" } });
      return;
    }
    this.userId = login.uid;
    this.connection.loginToken = login.hashedToken;
    const { uid, token, tokenExpires, type } = login;
    this.send({ msg: "result", id, result: { id: uid, token, tokenExpires, type } });
    this.send({ msg: "updated", methods: [id] });
    await broker.call("presence.newConnection", [uid, this.connection.id, broker.nodeID]);
    broker.broadcast("accounts.login", [{ userId: uid, connection: this.connection }]);
  }

  async subscribe({ id, name, params: [key] }) {
    if (!(await this.mayRead(name, key))) {
      this.send({ msg: "nosub", id, error: { error: "not-allowed" } });
      return;
    }
    if (this.socket.readyState !== this.socket.OPEN) return;
    this.subscriptions.set(id, streams.add(name, key, this.socket));
    this.send({ msg: "ready", subs: [id] });
  }

  async mayRead(stream, key) {
    switch (stream) {
      case "stream-room-messages":
        return broker.call("authorization.canReadRoom", [{ _id: key }, { _id: this.userId }]);
      case "stream-notify-user":
        return key.split("/")[0] === this.userId;
      case "stream-notify-logged":
        return Boolean(this.userId);
      case "stream-notify-all":
        return true;
      default:
        return false;
    }
  }

  handleClose() {
    clearTimeout(this.timer);
    for (const remove of this.subscriptions.values()) remove();
    broker.broadcast("socket.disconnected", [this.connection]);
    if (this.userId)
      broker.call("presence.removeConnection", [this.userId, this.connection.id, broker.nodeID]).catch((error) => broker.logger.error(error));
  }
}

async function main() {
  await broker.start();
  const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.env.PORT), perMessageDeflate: false });
  server.on("connection", (socket, request) => new Client(socket, request));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
