// A stream-hub as services.md 5 describes the original: one change stream on the database, a rule per collection, a broadcast per
// change. Only the collections that the measurement writes to.

const SUBSCRIPTION = ["t", "ts", "ls", "lr", "name", "fname", "rid", "code", "f", "u", "open", "alert", "roles", "unread", "_updatedAt"];
const HIDDEN = new Set();

function hub(database, broadcast) {
  const rules = {
    async rocketchat_message({ clientAction, id, data }) {
      if (clientAction === "removed") return;
      const message = data ?? (await database.messages.findOne({ _id: id }));
      if (!message || HIDDEN.has(message.t) || message._hidden || message.imported) return;
      broadcast("watch.messages", { clientAction, message });
    },
    async rocketchat_subscription({ clientAction, id, data, diff }) {
      const keys = Object.keys(data ?? diff ?? {}).map((key) => key.split(".")[0]);
      if (!keys.some((key) => SUBSCRIPTION.includes(key))) return;
      const projection = Object.fromEntries(SUBSCRIPTION.map((key) => [key, 1]));
      const subscription = data ?? (await database.subscriptions.findOne({ _id: id }, { projection }));
      if (subscription) broadcast("watch.subscriptions", { clientAction, subscription });
    },
    users({ clientAction, id, data, diff, unset }) {
      broadcast("watch.users", clientAction === "inserted" ? { clientAction, id, data } : { clientAction, id, diff, unset });
    },
  };
  const $match = { operationType: { $in: ["insert", "update", "delete"] }, "ns.coll": { $in: Object.keys(rules) } };
  const stream = database.db.watch([{ $match }]);
  stream.on("change", ({ operationType, ns, documentKey, fullDocument, updateDescription }) => {
    const id = documentKey._id;
    const removed = updateDescription?.removedFields ?? [];
    const unset = Object.fromEntries(removed.map((field) => [field, 1]));
    const diff = { ...updateDescription?.updatedFields, ...Object.fromEntries(removed.map((field) => [field, undefined])) };
    const change = {
      insert: { clientAction: "inserted", id, data: fullDocument },
      update: { clientAction: "updated", id, diff, unset },
      delete: { clientAction: "removed", id },
    }[operationType];
    Promise.resolve(rules[ns.coll](change)).catch(console.error);
  });
}

module.exports = hub;
