// Services of the monolith that a gateway asks about calls and enterprise settings (streams.md 7.2, 8.5).

function calls(canAccessRoomId, license) {
  return {
    "video-conference": {
      methods: { validateAction: (_action, caller, { rid }) => canAccessRoomId(rid, caller) },
    },
    "media-call": {
      methods: { processSerializedSignal() {} },
    },
    "ee-settings": {
      methods: { changeSettingValue: ({ value, invalidValue }) => (license.valid ? value : invalidValue) },
    },
  };
}

module.exports = calls;
