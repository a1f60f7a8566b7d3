// The lines of Rocket.Chat that the stand-in can play (streams.md 12, services.md 0), as data: what each offers, hears and
// understands. A gateway finds out by asking the registry; nothing here is told to it.

// Private methods that the originals expose besides (services.md 1.1) are left out: nobody calls them from outside.
const AUTHORIZATION = ["hasPermission", "hasAllPermission", "hasAtLeastOnePermission", "canAccessRoom", "canAccessRoomId", "getUsersFromPublicRoles"];
const PRESENCE = ["newConnection", "removeConnection", "removeLostConnections", "setStatus", "setConnectionStatus", "getConnectionCount"];

/** What every monolith hears: the events of its own services and, as a listener of its clients' streams, the gateway's. */
const EVENTS = [
  "stream", "watch.messages", "watch.rooms", "watch.subscriptions", "watch.users", "watch.settings", "watch.roles",
  "watch.inquiries", "watch.livechatDepartmentAgents", "watch.loginServiceConfiguration", "watch.instanceStatus",
  "watch.integrationHistory", "watch.integrations", "watch.emailInbox", "watch.priorities", "permission.changed",
  "socket.connected", "socket.disconnected", "accounts.login", "accounts.logout", "presence.status", "user.forceLogout",
  "meteor.clientVersionUpdated", "license.module", "license.sync", "license.actions", "notify.desktop", "notify.uiInteraction",
  "notify.updateInvites", "notify.ephemeralMessage", "notify.webdav", "notify.e2e.keyRequest", "notify.deleteMessage",
  "notify.deleteMessageBulk", "notify.deleteCustomSound", "notify.updateCustomSound", "notify.messagesRead",
  "notify.importedMessages", "emoji.deleteCustom", "emoji.updateCustom", "room.avatarUpdate", "user.avatarUpdate",
  "user.deleted", "user.nameChanged", "user.roleUpdate", "user.updateCustomStatus", "user.deleteCustomStatus",
  "user.activity", "user.video-conference", "room.video-conference", "banner.new", "banner.enabled", "banner.disabled",
  "banner.user", "omnichannel.room", "call.callerhangup", "apps.added", "apps.removed", "apps.updated", "apps.statusUpdate",
  "apps.settingUpdated", "command.added", "command.disabled", "command.updated", "command.removed", "actions.changed",
];
const UNTIL_7 = ["otrMessage", "otrAckUpdate", "connector.statuschanged", "voip.events"];

/**
 * version: in the statistics · authorization, presence, license: actions · services: of the monolith itself, besides settings,
 * license and meteor · events: what it hears · relay: form of `stream` · objectRelay: whether it survives the object form ·
 * members: which subscriptions make a member, a filter of MongoDB · unknownUser: whether a bare unknown user is an error ·
 * abac: whether attributes of rooms are judged · password: whether accounts takes a password.
 */
const LINES = {
  "5.0": {
    version: "5.0.0",
    authorization: [...AUTHORIZATION, "addRoleRestrictions"],
    presence: [...PRESENCE, "updateUserPresence"],
    license: ["hasLicense", "isEnterprise", "getGuestPermissions"],
    services: ["authorization-livechat", "authorization-voip", "video-conference", "ee-settings"],
    events: [...EVENTS, ...UNTIL_7, "watch.pbxevents"],
    relay: "array", objectRelay: false, members: {}, unknownUser: false, abac: false, password: true,
  },
  // Shipped as 7.0.
  "6.14": {
    version: "7.0.0",
    authorization: [...AUTHORIZATION, "addRoleRestrictions"],
    presence: [...PRESENCE, "updateUserPresence"],
    license: ["hasValidLicense", "hasModule", "getGuestPermissions"],
    services: ["authorization-livechat", "authorization-voip", "video-conference", "ee-settings"],
    events: [...EVENTS, ...UNTIL_7, "notify.calendar", "watch.pbxevents"],
    relay: "array", objectRelay: false, members: {}, unknownUser: false, abac: false, password: true,
  },
  "7.x-late": {
    version: "7.10.0",
    authorization: [...AUTHORIZATION, "addRoleRestrictions", "canReadRoom", "hasAnyRole"],
    presence: [...PRESENCE, "updateUserPresence"],
    license: ["hasValidLicense", "hasModule", "getGuestPermissions"],
    services: ["authorization-livechat", "video-conference", "media-call", "ee-settings"],
    events: [...EVENTS, ...UNTIL_7, "notify.calendar", "user.media-signal"],
    relay: "array", objectRelay: true, members: { invited: { $exists: false } }, unknownUser: false, abac: false, password: true,
  },
  "8.x": {
    version: "8.6.0",
    authorization: [...AUTHORIZATION, "canReadRoom", "hasAnyRole", "canAccessRoomIds", "canAccessConference"],
    presence: [...PRESENCE, "updateConnection"],
    license: ["hasValidLicense", "hasModule", "getGuestPermissions"],
    services: ["authorization-livechat", "video-conference", "media-call", "ee-settings", "status-visibility"],
    events: [
      ...EVENTS, "notify.calendar", "user.media-signal", "room.user-activity", "abac.config.changed", "video-conference.updated",
      "presence.invalidateVisibility",
    ],
    relay: "object", objectRelay: true, members: { status: { $exists: false } }, unknownUser: true, abac: true, password: false,
  },
};

/** What the stand-in plays unless told otherwise. */
const DEFAULT_LINE = "7.x-late";

module.exports = { LINES, DEFAULT_LINE };
