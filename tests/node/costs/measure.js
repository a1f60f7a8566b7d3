// Figures of a process and of what it asks the database.

const { readdirSync, readFileSync } = require("node:fs");
const net = require("node:net");

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** CPU time of the threads of a process in µs. The scheduler counts it in ns; /proc/<pid>/stat has steps of 10 ms. */
function cpu({ child }) {
  const tasks = `/proc/${child.pid}/task`;
  const ns = (task) => {
    try {
      return Number(readFileSync(`${tasks}/${task}/schedstat`, "utf8").split(" ")[0]);
    } catch {
      // It has just ended.
      return 0;
    }
  };
  return readdirSync(tasks).reduce((sum, task) => sum + ns(task), 0) / 1_000;
}

/** Resident memory of a process in MB. */
function rss({ child }) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))[1]) / 1_024;
}

/** How many commands have written, and how many have read. */
const commands = ({ commands }) =>
  [["update", "insert", "findAndModify", "bulkWrite"], ["find", "aggregate", "getMore"]].map((names) =>
    names.reduce((sum, name) => sum + (commands.get(name) ?? 0), 0),
  );

/** The value below which this share of a list lies. */
const quantile = (list, share) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * share))];

/** Waits until something holds, ten minutes at most. */
async function until(what, holds) {
  for (const end = Date.now() + 600_000; !(await holds()); await pause(100)) {
    if (Date.now() > end) throw new Error(`it never came: ${what}`);
  }
}

/** Passes on what comes to the port that it returns, and counts the commands by name; shows every piece of an answer to `seen`. */
async function counter(target, commands, seen) {
  const server = net.createServer((client) => {
    const upstream = net.connect(target, "127.0.0.1");
    let waiting = Buffer.alloc(0);
    client.on("data", (chunk) => {
      upstream.write(chunk);
      waiting = waiting.length ? Buffer.concat([waiting, chunk]) : chunk;
      while (waiting.length >= 4 && waiting.length >= waiting.readInt32LE(0)) {
        const message = waiting.subarray(0, waiting.readInt32LE(0));
        waiting = waiting.subarray(message.length);
        // OP_MSG: flags, kind, length of the document, type of its first member; then its name.
        if (message.readInt32LE(12) !== 2013) continue;
        const name = message.subarray(26, message.indexOf(0, 26)).toString();
        commands.set(name, (commands.get(name) ?? 0) + 1);
      }
    });
    upstream.on("data", (chunk) => {
      client.write(chunk);
      seen(chunk);
    });
    for (const [one, other] of [[client, upstream], [upstream, client]]) one.on("error", () => {}).on("close", () => other.destroy());
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.unref();
  return server.address().port;
}

module.exports = { commands, counter, cpu, pause, quantile, rss, until };
