// Service `meteor` (backplane.md 8.6): methods that a gateway forwards, and what it asks for when it starts.

const { MeteorError } = require("./moleculer");

const CLIENT_VERSIONS = {
  "web.browser": { version: "v1", versionRefreshable: "r1", versionNonRefreshable: "n1" },
  "web.browser.legacy": { version: "v1l", versionRefreshable: "r1l", versionNonRefreshable: "n1l" },
};

const LOGIN_SERVICES = [{ _id: "loginservice1", service: "github", clientId: "example", buttonLabelText: "GitHub" }];

/** Methods that exist only for tests; each gets the user or null first. */
const TEST_METHODS = {
  "test:echo": (_user, ...args) => args,
  "test:whoami": (user) => user?._id ?? null,
  "test:false": () => false,
  "test:zero": () => 0,
  "test:empty": () => "",
  "test:null": () => null,
  "test:nothing": () => undefined,
  "test:large": (_user, bytes) => "x".repeat(bytes),
  "test:slow": (_user, milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds, "done")),
  "test:error": () => {
    throw new MeteorError("error-test", "A test error", { method: "test:error", when: new Date(0) });
  },
  "test:error-without-reason": () => {
    throw new MeteorError("error-test");
  },
  "test:error-numeric": () => {
    throw new MeteorError(403, "Access denied");
  },
  "test:error-plain": () => {
    throw new Error("not for clients");
  },
};

function meteor(database, forwarded, line) {
  const methods = { ...forwarded, ...TEST_METHODS };
  return {
    methods: {
      getAutoUpdateClientVersions: () =>
        Object.fromEntries(Object.entries(CLIENT_VERSIONS).map(([_id, versions]) => [_id, { _id, ...versions }])),

      getLoginServiceConfiguration: () => LOGIN_SERVICES,

      notifyGuestStatusChanged() {},

      async callMethodWithToken(userId, token, method, args) {
        // A pair that matches nobody is no error: the method runs without a user.
        const hashed = { "services.resume.loginTokens.hashedToken": token };
        const user = userId && token ? await database.users.findOne({ _id: userId, ...hashed }) : null;
        if (!Object.hasOwn(methods, method)) throw new MeteorError(404, `Method '${method}' not found`);
        return { result: await methods[method](user, ...args) };
      },
    },
    events: Object.fromEntries(line.events.map((event) => [event, event === "stream" ? relayed : null])),
  };

  /** Older monoliths take a relay apart as a list, and fail on anything else. */
  function relayed(relay) {
    if (line.objectRelay || Array.isArray(relay)) return;
    throw new Error("not a list");
  }
}

module.exports = meteor;
