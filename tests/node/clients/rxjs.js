// rocket.chat.realtime.api.rxjs.

const { RealTimeAPI } = require("rocket.chat.realtime.api.rxjs");
const WebSocket = require("ws");

const { run } = require("./lib");

const ignore = () => {};

async function open({ ws }, on) {
  const closeObserver = { next: on.close };
  const api = new RealTimeAPI({ url: `${ws}/websocket`, WebSocketCtor: WebSocket, closeObserver });
  // A connection that the server ends is an error for every subscriber that does not take it.
  const listen = (observable, next) => observable.subscribe(next, ignore);
  listen(api.getObservable(), ({ msg, collection, fields }) => {
    if (msg === "changed") on.event(collection, fields.eventName, fields.args);
  });
  listen(api.keepAlive(), ignore);
  const first = (observable, wanted) =>
    new Promise((resolve) => listen(observable, (message) => wanted(message) && resolve(message)));

  await first(api.connectToServer(), () => true);
  const call = async (method, ...params) => {
    const { error, result } = await first(api.callMethod(method, ...params), ({ msg }) => msg === "result");
    if (error) throw error;
    return result;
  };
  return {
    login: (resume) => call("login", { resume }),
    call,
    // It hides the subscription's id and takes only a boolean for options. One runs at a time here.
    async subscribe(name, key) {
      const answer = first(api.getObservable(), ({ msg }) => msg === "ready" || msg === "nosub");
      const subscription = listen(api.getSubscription(name, key, false), ignore);
      const { error } = await answer;
      if (error) throw error;
      return () => {
        const ended = first(api.getObservable(), ({ msg }) => msg === "nosub");
        subscription.unsubscribe();
        return ended;
      };
    },
    close: () => api.disconnect(),
  };
}

run("rxjs", open);
