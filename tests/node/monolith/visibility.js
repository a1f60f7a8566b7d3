// Service `status-visibility` of the newest line (streams.md 5.4, backplane.md 8.6; still unstable there): whose presence a
// viewer does not see. Users name those whom they hide from in `hiddenFrom`.

function visibility(database) {
  return {
    "status-visibility": {
      methods: {
        isPresenceDisabledFor: () => false,

        async getHiddenFrom(viewer) {
          const hidden = await database.users.find({ hiddenFrom: viewer }).toArray();
          return hidden.map(({ _id }) => _id);
        },

        async hasRestrictions(uid) {
          return Boolean((await database.users.findOne({ _id: uid }))?.hiddenFrom?.length);
        },
      },
    },
  };
}

module.exports = visibility;
