// A DDP client on the browser's own WebSocket: one socket, reconnecting, with every frame shown to whoever watches.

const RECONNECT_MIN_MS = 500;
const RECONNECT_MAX_MS = 10_000;

export class Ddp {
  /** @param {{onState, onFrame, onConnected}} watchers what happens to the connection */
  constructor(url, watchers) {
    this.url = url;
    this.watchers = watchers;
    this.nextId = 1;
    this.calls = new Map(); // id -> {resolve, reject}
    this.subscriptions = new Map(); // id -> {name, params, onEvent, onRefused}
    this.attempts = 0;
    this.open();
  }

  open() {
    this.watchers.onState("connecting", "");
    this.wasOpen = false;
    this.socket = new WebSocket(this.url);
    this.socket.onopen = () => {
      this.wasOpen = true;
      this.send({ msg: "connect", version: "1", support: ["1", "pre2", "pre1"] });
    };
    this.socket.onmessage = ({ data }) => this.receive(data);
    this.socket.onclose = ({ code, reason }) => this.closed(code, reason);
  }

  send(message) {
    const text = JSON.stringify(message);
    this.watchers.onFrame("out", text, message);
    this.socket.send(text);
  }

  receive(text) {
    const message = JSON.parse(text);
    this.watchers.onFrame("in", text, message);
    switch (message.msg) {
      case "connected":
        this.attempts = 0;
        this.watchers.onState("connected", message.session);
        this.watchers.onConnected();
        break;
      case "ping":
        this.send(message.id === undefined ? { msg: "pong" } : { msg: "pong", id: message.id });
        break;
      case "result":
        this.settle(message);
        break;
      case "nosub":
        this.refuse(message);
        break;
      case "changed":
        this.deliver(message);
        break;
    }
  }

  settle({ id, result, error }) {
    const call = this.calls.get(id);
    this.calls.delete(id);
    if (error) call?.reject(Object.assign(new Error(error.reason ?? error.message), { error }));
    else call?.resolve(result);
  }

  refuse({ id, error }) {
    const subscription = this.subscriptions.get(id);
    this.subscriptions.delete(id);
    if (error) subscription?.onRefused?.(error);
  }

  deliver({ collection, fields }) {
    for (const { name, params, onEvent } of this.subscriptions.values()) {
      if (name === collection && params[0] === fields.eventName) onEvent(...fields.args);
    }
  }

  closed(code, reason) {
    for (const { reject } of this.calls.values()) reject(new Error("the connection closed"));
    this.calls.clear();
    this.subscriptions.clear();
    // Full jitter, so that many tabs do not come back in one wave.
    const limit = Math.min(RECONNECT_MAX_MS, RECONNECT_MIN_MS * 2 ** this.attempts++);
    const wait = RECONNECT_MIN_MS / 2 + Math.random() * limit;
    const time = new Date().toTimeString().slice(0, 8);
    // An attempt that found nobody says nothing about why the last connection ended.
    this.watchers.onState("closed", this.wasOpen ? `last close ${code}${reason ? ` ${reason}` : ""} at ${time}` : "");
    setTimeout(() => this.open(), wait);
  }

  get isOpen() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  call(method, ...params) {
    return new Promise((resolve, reject) => {
      if (!this.isOpen) return reject(new Error("not connected"));
      const id = String(this.nextId++);
      this.calls.set(id, { resolve, reject });
      this.send({ msg: "method", id, method, params });
    });
  }

  /** Subscribes to one event of a stream; returns the id for `unsubscribe`. */
  subscribe(stream, event, onEvent, onRefused) {
    const id = `s${this.nextId++}`;
    const subscription = { name: `stream-${stream}`, params: [event, { useCollection: false, args: [] }], onEvent, onRefused };
    this.subscriptions.set(id, subscription);
    this.send({ msg: "sub", id, name: subscription.name, params: subscription.params });
    return id;
  }

  unsubscribe(id) {
    if (this.subscriptions.delete(id) && this.isOpen) this.send({ msg: "unsub", id });
  }
}

/** An id as Meteor makes them. */
export function randomId() {
  const letters = "23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz";
  return Array.from(crypto.getRandomValues(new Uint8Array(17)), (byte) => letters[byte % letters.length]).join("");
}
