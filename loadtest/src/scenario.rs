//! The rows of performance.md 6, as data.

use std::time::Duration;

/// One measured situation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Servers behind one nats-server that the clients are spread over.
    pub(crate) servers: usize,
    pub(crate) connections: usize,
    pub(crate) interest: Interest,
    /// Subscriptions beside those of `interest` that get nothing here, at most `EXTRAS.len()`.
    pub(crate) extra_subscriptions: usize,
    pub(crate) connect: Connect,
    pub(crate) load: Load,
    /// Events for nobody before each wanted one.
    pub(crate) unwanted_per_event: u32,
    /// Words of who is typing in its room, which everybody there hears, before each event: what a server may leave out when
    /// it has more to do than it can.
    pub(crate) typing_per_event: u32,
    /// Bytes of the JSON document that is published; a room message's frame is about 107 bytes longer.
    pub(crate) message_bytes: usize,
    /// Clients of the first room that stop reading once they are ready.
    pub(crate) stalled: usize,
    /// Whether an extra connection measures `ping` to `pong` beside the load.
    pub(crate) probe: bool,
    /// Whether upgrades carry what a browser sends, about 1.5 kB.
    pub(crate) browser_headers: bool,
    pub(crate) warmup: Duration,
    pub(crate) measure: Duration,
    /// The figure that the scenario is about.
    pub(crate) figure: Figure,
}

impl Scenario {
    /// Whether the server must have come to rest after the connects, because what follows a storm would show.
    pub(crate) fn rests(&self) -> bool {
        matches!(self.figure, Figure::RssPerConnection | Figure::PingP99)
    }
}

/// What the clients subscribe to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interest {
    /// `room-messages` of `each` out of `rooms`, spread evenly.
    Rooms { rooms: usize, each: usize },
    /// `notify-user` `<own id>/notification`.
    OwnUser,
    /// The presence of `each` out of `users`, spread evenly, in one `user-presence` subscription.
    Watched { users: usize, each: usize },
}

/// How the connections come about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connect {
    /// At most this many are between connect and their last `ready`.
    pub(crate) in_progress: usize,
    /// Whether `connect`, `login` and all `sub`s go out in one burst, as web clients do after a reconnect.
    pub(crate) at_once: bool,
    /// Whether everybody connects twice and the second time is the measured one.
    pub(crate) twice: bool,
}

/// When events are published.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    Nothing,
    /// As many as keep this number published and not yet read by all.
    InFlight(u32),
    PerSecond(f64),
    Bursts {
        per_second: f64,
        events: u32,
    },
}

/// Which figure a table shows for a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    CpuPerDelivery,
    CpuPerEvent,
    CpuPerConnection,
    RssPerConnection,
    PingP99,
    LatencyP99,
}

impl Figure {
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::CpuPerDelivery => "us/delivery",
            Self::CpuPerEvent => "us/event",
            Self::CpuPerConnection => "us/connection",
            Self::RssPerConnection => "bytes/connection",
            Self::PingP99 => "ms ping p99",
            Self::LatencyP99 => "ms p99",
        }
    }
}

/// Subscriptions of an idle web client beside its open room's messages, stream and key; `{}` is the user's id.
/// With the room they make the 35 of gateway.md 4.6, chosen from streams that every logged-in user may read.
pub(crate) const EXTRAS: [(&str, &str); 34] = [
    ("stream-notify-user", "{}/message"),
    ("stream-notify-user", "{}/subscriptions-changed"),
    ("stream-notify-user", "{}/notification"),
    ("stream-notify-user", "{}/rooms-changed"),
    ("stream-notify-user", "{}/userData"),
    ("stream-notify-user", "{}/uiInteraction"),
    ("stream-notify-user", "{}/video-conference"),
    ("stream-notify-user", "{}/force_logout"),
    ("stream-notify-user", "{}/otr"),
    ("stream-notify-user", "{}/webrtc"),
    ("stream-notify-user", "{}/banners"),
    ("stream-notify-user", "{}/calendar"),
    ("stream-notify-user", "{}/webdav"),
    ("stream-notify-user", "{}/media-signal"),
    ("stream-notify-user", "{}/departmentAgentData"),
    ("stream-notify-logged", "deleteCustomSound"),
    ("stream-notify-logged", "updateCustomSound"),
    ("stream-notify-logged", "updateEmojiCustom"),
    ("stream-notify-logged", "deleteEmojiCustom"),
    ("stream-notify-logged", "deleteCustomUserStatus"),
    ("stream-notify-logged", "updateCustomUserStatus"),
    ("stream-notify-logged", "banner-changed"),
    ("stream-notify-logged", "updateAvatar"),
    ("stream-notify-logged", "Users:NameChanged"),
    ("stream-notify-logged", "Users:Deleted"),
    ("stream-notify-logged", "roles-change"),
    ("stream-notify-logged", "voip.statuschanged"),
    ("stream-notify-logged", "permissions-changed"),
    ("stream-notify-all", "public-settings-changed"),
    ("stream-notify-all", "public-info"),
    ("stream-notify-all", "license"),
    ("stream-notify-all", "updateCustomSound"),
    ("stream-notify-all", "deleteCustomSound"),
    ("stream-notify-logged", "omnichannel.priority-changed"),
];

/// The scenario of this name.
pub(crate) fn named(name: &str) -> Option<Scenario> {
    all().into_iter().find(|scenario| scenario.name == name)
}

/// All scenarios, in the order of performance.md 6.
pub(crate) fn all() -> Vec<Scenario> {
    let one_room = Scenario {
        name: "",
        title: "",
        servers: 1,
        connections: 1000,
        interest: Interest::Rooms { rooms: 1, each: 1 },
        extra_subscriptions: 0,
        connect: Connect {
            in_progress: 128,
            at_once: false,
            twice: false,
        },
        load: Load::InFlight(1),
        unwanted_per_event: 0,
        typing_per_event: 0,
        message_bytes: 530,
        stalled: 0,
        probe: false,
        browser_headers: false,
        warmup: Duration::from_secs(1),
        measure: Duration::from_secs(5),
        figure: Figure::CpuPerDelivery,
    };
    let idle = Scenario {
        connections: 10_000,
        load: Load::Nothing,
        browser_headers: true,
        figure: Figure::RssPerConnection,
        ..one_room
    };
    vec![
        Scenario {
            name: "w1",
            title: "one room of 1,000, one message in flight",
            ..one_room
        },
        Scenario {
            name: "w32",
            title: "one room of 1,000, 32 messages in flight",
            load: Load::InFlight(32),
            ..one_room
        },
        Scenario {
            name: "rooms",
            title: "100 rooms of 10, 200 messages in flight",
            interest: Interest::Rooms {
                rooms: 100,
                each: 1,
            },
            load: Load::InFlight(200),
            ..one_room
        },
        Scenario {
            name: "latency",
            title: "one room of 1,000, 50 messages/s",
            load: Load::PerSecond(50.0),
            figure: Figure::LatencyP99,
            ..one_room
        },
        Scenario {
            name: "chat",
            title: "1,000 users in 20 of 200 rooms each, 300 messages/s",
            interest: Interest::Rooms {
                rooms: 200,
                each: 20,
            },
            load: Load::PerSecond(300.0),
            figure: Figure::LatencyP99,
            ..one_room
        },
        Scenario {
            name: "bursts",
            title: "one room of 1,000, 10 bursts/s of 5 events",
            load: Load::Bursts {
                per_second: 10.0,
                events: 5,
            },
            ..one_room
        },
        Scenario {
            name: "connect",
            title: "3,000 x connect + login + 1 sub, 128 in progress",
            connections: 3000,
            connect: Connect {
                in_progress: 128,
                at_once: false,
                twice: true,
            },
            load: Load::Nothing,
            figure: Figure::CpuPerConnection,
            ..one_room
        },
        Scenario {
            name: "idle",
            title: "10,000 idle connections, 1 sub, browser headers",
            ..idle
        },
        Scenario {
            name: "idle-subs",
            title: "10,000 idle connections, 11 subs, browser headers",
            extra_subscriptions: 10,
            ..idle
        },
        Scenario {
            name: "stalled",
            title: "50 subscribers, one stops reading, 400 messages/s of 4 kB",
            connections: 50,
            load: Load::PerSecond(400.0),
            message_bytes: 4096,
            stalled: 1,
            measure: Duration::from_secs(14),
            ..one_room
        },
        Scenario {
            name: "overload",
            title: "one room of 1,000, 50 messages/s among 5,000 words/s of typing, one stops reading",
            load: Load::PerSecond(50.0),
            typing_per_event: 100,
            stalled: 1,
            figure: Figure::LatencyP99,
            ..one_room
        },
        Scenario {
            name: "users",
            title: "1,000 users, one notify-user event each, 20,000 events/s",
            interest: Interest::OwnUser,
            load: Load::PerSecond(20_000.0),
            ..one_room
        },
        Scenario {
            name: "presence",
            title: "10,000 users flap, 2,000 watchers of 200 each, 2,000 events/s",
            connections: 2000,
            interest: Interest::Watched {
                users: 10_000,
                each: 200,
            },
            load: Load::PerSecond(2_000.0),
            ..one_room
        },
        Scenario {
            name: "unwanted",
            title: "events that nobody here wants",
            connections: 1,
            load: Load::InFlight(2),
            unwanted_per_event: 500,
            figure: Figure::CpuPerEvent,
            ..one_room
        },
        Scenario {
            name: "ping",
            title: "ping to pong while a room of 10,000 is written without pause",
            connections: 10_000,
            load: Load::InFlight(4),
            probe: true,
            figure: Figure::PingP99,
            ..one_room
        },
        Scenario {
            name: "reconnect",
            title: "1,000 sockets at once: connect + login + 35 subs",
            extra_subscriptions: 34,
            connect: Connect {
                in_progress: 1000,
                at_once: true,
                twice: true,
            },
            load: Load::Nothing,
            browser_headers: true,
            figure: Figure::CpuPerConnection,
            ..one_room
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenario_names_are_unique_and_their_extras_exist() {
        let scenarios = all();
        let mut names: Vec<_> = scenarios.iter().map(|scenario| scenario.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), scenarios.len());
        assert!(
            scenarios
                .iter()
                .all(|scenario| scenario.extra_subscriptions <= EXTRAS.len())
        );
    }
}
