// @rocket.chat/sdk 1.0.0-alpha: its Bot client, which logs in and writes by REST and listens over the socket.

const { Bot } = require("@rocket.chat/sdk-1");

const HOST = process.env.HOST ?? "localhost:3000";
const NAME = "sdk-1";

async function main() {
  const quiet = { debug() {}, info() {}, warn: console.warn, warning: console.warn, error: console.error };
  const bot = new Bot({ host: `http://${HOST}`, logger: quiet });
  await bot.connect({});
  await bot.login({ username: "bob", password: "bob" });
  await bot.subscribeToMessages();
  await bot.reactToMessages(async (error, message) => {
    if (error || message.u._id === bot.userId || !message.msg.startsWith(`${NAME} `)) return;
    await bot.sendToRoomId(`${message.u.username}, ${NAME} heard ${message.msg.slice(NAME.length + 1)}`, message.rid);
  });
  await bot.sendToRoomId(`${NAME} is listening ...`, "GENERAL");
}

main();
