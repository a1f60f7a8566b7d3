//! Stand-ins for modules that are on their way.
pub(crate) mod bus {
    use crate::{Shared, link::*};
    use std::sync::Arc;
    use tokio_util::sync::CancellationToken;

    pub(crate) async fn run(shared: Arc<Shared>, _store: store::Store, stop: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            tokio::select! { () = shared.to_bus.wait() => {}, () = stop.cancelled() => return }
            shared.to_bus.take(&mut batch);
            for message in batch.drain(..) {
                match message {
                    ToBus::Method {
                        ticket,
                        name,
                        params,
                        ..
                    } => {
                        let then = match name.as_str() {
                            "login" => Effect::LoggedIn(Arc::new(User {
                                id: "u1".into(),
                                hashed_token: "h".into(),
                            })),
                            _ => Effect::Nothing,
                        };
                        shared.mailboxes[usize::from(ticket.shard)].post(
                            ToShard::Answer(
                                ticket,
                                Answer::Method {
                                    outcome: Ok(Some(params)),
                                    then,
                                },
                            ),
                            0,
                        );
                    }
                    ToBus::Subscribe { ticket, name, .. } => {
                        let topics = vec![Topic::Global(name.into(), "x".into())];
                        shared.mailboxes[usize::from(ticket.shard)].post(
                            ToShard::Answer(
                                ticket,
                                Answer::Subscription {
                                    outcome: Ok(Subscribed {
                                        topics,
                                        documents: vec![],
                                    }),
                                },
                            ),
                            0,
                        );
                    }
                    _ => {}
                }
            }
        }
    }
}
pub(crate) mod limiter {
    use crate::link::Caller;
    use std::time::{Duration, Instant};
    pub(crate) struct Limiter;
    pub(crate) enum Call {
        Method,
        Subscription,
    }
    impl Limiter {
        pub(crate) fn check(
            &self,
            _c: &Caller,
            _k: Call,
            _n: &str,
            _now: Instant,
        ) -> Result<(), Duration> {
            Ok(())
        }
    }
}
pub(crate) mod streams {
    use crate::link::*;
    pub(crate) enum Judgement {
        Ready(Subscribed),
        Refused(Option<protocol::ddp::Error>),
        Ask,
    }
    pub(crate) fn judge(_n: &str, _p: &bytes::Bytes, _c: &Caller) -> Judgement {
        Judgement::Ask
    }
}
