// @rocket.chat/sdk 0.2.9 (npm's `latest`): the quick start of its README, as it stands there but for the constants.

const { driver } = require("@rocket.chat/sdk");

const HOST = process.env.HOST ?? "localhost:3000";
const USER = "bob";
const PASS = "bob";
const BOTNAME = "easybot";
const SSL = false;
const ROOMS = ["GENERAL", "random"];

let myuserid;

const runbot = async () => {
  await driver.connect({ host: HOST, useSsl: SSL });
  myuserid = await driver.login({ username: USER, password: PASS });
  await driver.joinRooms(ROOMS);
  console.log("joined rooms");
  await driver.subscribeToMessages();
  console.log("subscribed");
  await driver.reactToMessages(processMessages);
  console.log("connected and waiting for messages");
  await driver.sendToRoom(`${BOTNAME} is listening ...`, ROOMS[0]);
  console.log("Greeting message sent");
};

const processMessages = async (err, message) => {
  if (err || message.u._id === myuserid) return;
  const roomname = await driver.getRoomName(message.rid);
  if (message.msg.toLowerCase().startsWith(BOTNAME)) {
    const asked = message.msg.slice(BOTNAME.length + 1);
    await driver.sendToRoom(`${message.u.username}, how can ${BOTNAME} help you with ${asked}`, roomname);
  }
};

runbot();
