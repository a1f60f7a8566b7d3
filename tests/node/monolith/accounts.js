// Service `accounts` (services.md 2): resume login and logout, and where the line has it the password login.

const { randomUUID } = require("node:crypto");

const { MeteorError } = require("./moleculer");
const { hashToken } = require("./database");

const DAY = 24 * 60 * 60 * 1000;

function accounts(database, broadcast, line) {
  return {
    methods: {
      async login({ resume, user: named }) {
        if (!resume) return line.password && named ? password(named) : false;
        const hashedToken = hashToken(resume);
        const user = await database.users.findOne(
          { "services.resume.loginTokens.hashedToken": hashedToken },
          { projection: { "services.resume.loginTokens": 1 } },
        );
        if (!user) return false;
        const stored = user.services.resume.loginTokens.find((token) => token.hashedToken === hashedToken);
        const result = { uid: user._id, token: resume, hashedToken, type: "resume" };
        // A personal access token has no date and does not expire.
        if (!stored.when) return result;
        const tokenExpires = new Date(new Date(stored.when).getTime() + (await loginExpirationDays()) * DAY);
        if (new Date() >= tokenExpires) {
          throw new MeteorError(403, "Your session has expired. Please log in again.");
        }
        return { ...result, tokenExpires };
      },

      async logout({ userId, token }) {
        const loginTokens = "services.resume.loginTokens";
        // Not every server that speaks MongoDB's protocol takes the original's $or inside $pull.
        const pull = { $pull: { [loginTokens]: { hashedToken: token } }, $set: { _updatedAt: new Date() } };
        await database.users.updateOne({ _id: userId }, pull);
        // Where a stream hub runs the change is announced, maybe before the answer is sent.
        const user = await database.users.findOne({ _id: userId });
        if (!user) return;
        const diff = { [loginTokens]: user.services.resume.loginTokens };
        broadcast("watch.users", { clientAction: "updated", id: userId, diff, unset: {} });
      },
    },
  };

  /** Like the original it lets in whoever has a password, right or wrong; unlike it, it stores a token that can be resumed. */
  async function password({ username }) {
    const user = await database.users.findOne({ username, "services.password.bcrypt": { $exists: true } });
    if (!user) return false;
    const token = randomUUID();
    const [when, hashedToken] = [new Date(), hashToken(token)];
    await database.users.updateOne({ _id: user._id }, { $push: { "services.resume.loginTokens": { when, hashedToken } } });
    const tokenExpires = new Date(when.getTime() + (await loginExpirationDays()) * DAY);
    return { uid: user._id, token, hashedToken, tokenExpires, type: "password" };
  }

  async function loginExpirationDays() {
    const days = (await database.settings.findOne({ _id: "Accounts_LoginExpiration" }))?.value;
    return typeof days === "number" && days > 0 ? days : 90;
  }
}

module.exports = accounts;
