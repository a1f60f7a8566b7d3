// A worker with one client that stops reading: its thread sleeps, the browser stops taking bytes, and the gateway's queue
// for it fills. Woken, it says how the gateway has ended it.

onmessage = ({ data: { url, token, room, wake } }) => {
  const socket = new WebSocket(url);
  const send = (message) => socket.send(JSON.stringify(message));
  socket.onopen = () => {
    send({ msg: "connect", version: "1", support: ["1"] });
    send({ msg: "method", id: "1", method: "login", params: [{ resume: token }] });
    send({ msg: "sub", id: "2", name: "stream-room-messages", params: [room, false] });
    send({ msg: "sub", id: "3", name: "stream-notify-room", params: [`${room}/user-activity`, false] });
  };
  socket.onmessage = ({ data }) => {
    if (!data.includes('"subs":["3"]')) return;
    postMessage("stalled");
    Atomics.wait(wake, 0, 0);
  };
  socket.onclose = ({ code, reason }) => postMessage({ code, reason });
};
