//! The one loop behind every service: takes what arrives, begins to answer requests in the order of their arrival, keeps
//! what runs and what waits within bounds, and answers each request exactly once.
//!
//! What a service hears is never held up by the requests before it: the loop awaits nothing but its inbox.

use std::{sync::Arc, time::Duration};

use backplane::{Context, Inbox, Incoming, Request, ServiceError};
use bytes::Bytes;
use metrics::{counter, describe_counter};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::params::Params;

/// One request, its parameters read.
pub(crate) struct Call {
    /// As announced, `service.method`.
    pub(crate) action: &'static str,
    pub(crate) params: Params,
    /// Node id of the caller.
    pub(crate) sender: Arc<str>,
    /// Give it to nested calls.
    pub(crate) context: Context,
}

/// What a call ends with: raw JSON, `None` for JavaScript's `undefined`.
pub(crate) type Outcome = Result<Option<Bytes>, ServiceError>;

/// A service. Both functions run in the loop, in the order of arrival and before anything is spawned; what takes time is
/// in the futures that they return.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Begins to answer. The future is dropped unpolled if its turn comes after the caller's deadline; once begun it runs
    /// to its end, also when the bus has told the caller meanwhile that time is up: a write is never cut in two.
    fn handle_call(self: Arc<Self>, call: Call) -> impl Future<Output = Outcome> + Send + 'static;

    /// Hears everything else; what follows from it is in the future, which nothing waits for.
    fn handle_news(self: Arc<Self>, news: Incoming) -> impl Future<Output = ()> + Send + 'static {
        drop(news);
        std::future::ready(())
    }
}

/// Serves what `inbox` was announced for until the shutdown, `concurrent` requests at the same time. Then the service is
/// withdrawn, and what is being answered has a moment to end.
pub(crate) async fn serve<H: Handler>(
    handler: Arc<H>,
    inbox: Inbox,
    service: &'static str,
    concurrent: usize,
    shutdown: &CancellationToken,
) {
    describe_counter!(
        REFUSED,
        "Requests a service did not answer as asked, by reason"
    );
    let bounds = Bounds {
        service,
        running: Arc::new(Semaphore::new(concurrent)),
        waiting: Arc::new(Semaphore::new(WAITING_MAX)),
    };
    let mut tasks = JoinSet::new();
    let ended = take(handler, inbox, &bounds, &mut tasks);
    if shutdown.run_until_cancelled(ended).await.is_none() {
        // What does not end in time is cut, and its callers get an error.
        let _ = timeout(END_WITHIN, async {
            while tasks.join_next().await.is_some() {}
        })
        .await;
    }
}

/// What may run and wait at the same time.
struct Bounds {
    service: &'static str,
    running: Arc<Semaphore>,
    /// In bytes.
    waiting: Arc<Semaphore>,
}

async fn take<H: Handler>(
    handler: Arc<H>,
    mut inbox: Inbox,
    bounds: &Bounds,
    tasks: &mut JoinSet<()>,
) {
    loop {
        let incoming = tokio::select! {
            incoming = inbox.recv() => incoming,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
        };
        match incoming {
            Incoming::Request(request) => begin(&handler, *request, bounds, tasks),
            Incoming::Event(event) if !event.is_sound() => {}
            news => {
                let handled = match &news {
                    Incoming::Event(event) => Some(event.handled.clone()),
                    _ => None,
                };
                let handling = handler.clone().handle_news(news);
                tasks.spawn(async move {
                    handling.await;
                    drop(handled);
                });
            }
        }
    }
}

fn begin<H: Handler>(handler: &Arc<H>, request: Request, bounds: &Bounds, tasks: &mut JoinSet<()>) {
    let service = bounds.service;
    if is_late(&request) {
        return request.respond(Err(too_late(service)));
    }
    let cost = u32::try_from(COST + PARSED_MAX * request.params.len()).unwrap_or(u32::MAX);
    let Ok(place) = bounds.waiting.clone().try_acquire_many_owned(cost) else {
        return request.respond(Err(overloaded(service)));
    };
    let params = match Params::parse(&request.params) {
        Ok(params) => params,
        Err(error) => return request.respond(Err(error)),
    };
    let answer = handler.clone().handle_call(Call {
        action: request.action,
        params,
        sender: request.sender.clone(),
        context: request.context.clone(),
    });
    let running = bounds.running.clone();
    tasks.spawn(async move {
        let _place = place;
        // The semaphore is never closed.
        let Ok(_turn) = running.acquire_owned().await else {
            return;
        };
        if is_late(&request) {
            return request.respond(Err(too_late(service)));
        }
        request.respond(answer.await);
    });
}

fn is_late(request: &Request) -> bool {
    request
        .context
        .deadline
        .is_some_and(|deadline| deadline <= Instant::now().into_std())
}

fn too_late(service: &'static str) -> ServiceError {
    counter!(REFUSED, "service" => service, "reason" => "late").increment(1);
    refusal("RequestTimeoutError", "the request's time is up")
}

fn overloaded(service: &'static str) -> ServiceError {
    counter!(REFUSED, "service" => service, "reason" => "overload").increment(1);
    refusal("QueueIsFullError", "too many requests wait")
}

/// Under the class names that Moleculer gives these two.
fn refusal(name: &str, message: &str) -> ServiceError {
    ServiceError::Plain {
        name: name.to_owned(),
        message: message.to_owned(),
    }
}

const REFUSED: &str = "ddp_edge_service_refused_total";
/// Bytes that requests of one service may hold, from their arrival to their answer.
const WAITING_MAX: usize = 64 << 20;
/// What a request holds besides its parameters.
const COST: usize = 1_024;
/// Parsed parameters take at most about so many times their text: `[0,0,..]` does.
const PARSED_MAX: usize = 16;
/// How long a shutdown waits for what is being answered.
const END_WITHIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use backplane::{Bus, CallOptions, ErrorKind, Service};
    use serde_json::json;

    use super::*;

    /// Notes what reaches it, and lets work go on one permit at a time.
    #[derive(Default)]
    struct Recorder {
        arrived: Mutex<Vec<String>>,
        begun: Mutex<Vec<String>>,
        ended: Gate,
        heard: Gate,
        gate: Gate,
    }

    /// A semaphore that starts closed.
    struct Gate(Semaphore);

    impl Default for Gate {
        fn default() -> Self {
            Self(Semaphore::new(0))
        }
    }

    impl Gate {
        async fn wait(&self) {
            self.0.acquire().await.unwrap().forget();
        }
    }

    impl Handler for Recorder {
        fn handle_call(
            self: Arc<Self>,
            call: Call,
        ) -> impl Future<Output = Outcome> + Send + 'static {
            let name: String = call.params.text(0).unwrap().chars().take(1).collect();
            self.arrived.lock().unwrap().push(name.clone());
            async move {
                self.begun.lock().unwrap().push(name);
                self.gate.wait().await;
                self.ended.0.add_permits(1);
                Ok(None)
            }
        }

        async fn handle_news(self: Arc<Self>, news: Incoming) {
            if let Incoming::Event(_) = news {
                self.heard.0.add_permits(1);
            }
        }
    }

    fn start(concurrent: usize) -> (Bus, Arc<Recorder>, CancellationToken) {
        let bus = Bus::in_process("node".into());
        let inbox = bus.announce(Service {
            name: "test",
            actions: vec!["test.work"],
            events: vec!["test.news"],
        });
        let (recorder, shutdown) = (Arc::<Recorder>::default(), CancellationToken::new());
        let (handler, token) = (recorder.clone(), shutdown.clone());
        tokio::spawn(async move { serve(handler, inbox, "test", concurrent, &token).await });
        (bus, recorder, shutdown)
    }

    /// Calls from a task of its own, so that the request is sent whether or not anybody waits for it.
    fn call(
        bus: &Bus,
        name: &str,
        patience: Option<Duration>,
    ) -> tokio::task::JoinHandle<Result<(), ErrorKind>> {
        let (bus, params) = (bus.clone(), json!([name]).to_string());
        let options = CallOptions {
            timeout: patience,
            ..CallOptions::default()
        };
        tokio::spawn(async move {
            let answer = bus.call("test.work", &params, options).await;
            answer.map(drop).map_err(|error| error.kind)
        })
    }

    const SOON: Option<Duration> = Some(Duration::from_millis(20));

    #[tokio::test]
    async fn requests_are_begun_in_the_order_of_their_arrival() {
        let (bus, recorder, _shutdown) = start(1);
        recorder.gate.0.add_permits(9);
        let names: Vec<_> = ('a'..='i').map(String::from).collect();
        let calls: Vec<_> = names.iter().map(|name| call(&bus, name, None)).collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        assert_eq!(*recorder.arrived.lock().unwrap(), names);
        assert_eq!(*recorder.begun.lock().unwrap(), names);
    }

    #[tokio::test]
    async fn a_request_whose_time_is_up_is_not_begun() {
        let (bus, recorder, _shutdown) = start(1);
        let first = call(&bus, "a", None);
        assert_eq!(
            call(&bus, "b", SOON).await.unwrap(),
            Err(ErrorKind::Timeout)
        );
        let last = call(&bus, "c", None);
        recorder.gate.0.add_permits(2);
        first.await.unwrap().unwrap();
        last.await.unwrap().unwrap();
        assert_eq!(*recorder.begun.lock().unwrap(), ["a", "c"]);
    }

    #[tokio::test]
    async fn what_was_begun_runs_to_its_end_behind_the_deadline() {
        let (bus, recorder, _shutdown) = start(1);
        assert_eq!(
            call(&bus, "a", SOON).await.unwrap(),
            Err(ErrorKind::Timeout)
        );
        recorder.gate.0.add_permits(1);
        recorder.ended.wait().await;
    }

    #[tokio::test]
    async fn news_is_heard_while_requests_wait() {
        let (bus, recorder, _shutdown) = start(1);
        let calls = ["a", "b"].map(|name| call(&bus, name, None));
        bus.broadcast("test.news", "[]");
        recorder.heard.wait().await;
        assert!(recorder.begun.lock().unwrap().len() <= 1);
        recorder.gate.0.add_permits(2);
        for call in calls {
            call.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn more_than_may_wait_is_refused() {
        let (bus, recorder, _shutdown) = start(1);
        let fits = WAITING_MAX / PARSED_MAX / 3 - COST;
        let calls: Vec<_> = ["a", "b", "c", "d"]
            .map(|name| call(&bus, &name.repeat(fits), None))
            .into();
        while recorder.arrived.lock().unwrap().len() < 3 {
            tokio::task::yield_now().await;
        }
        recorder.gate.0.add_permits(4);
        let mut refused = 0;
        for call in calls {
            match call.await.unwrap() {
                Ok(()) => {}
                Err(ErrorKind::Refused(error)) => {
                    assert_eq!(error.name, "QueueIsFullError");
                    refused += 1;
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(refused, 1);
        // What is answered makes room.
        recorder.gate.0.add_permits(1);
        call(&bus, &"e".repeat(fits), None).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_shutdown_withdraws_the_service_and_lets_what_runs_end() {
        let (bus, recorder, shutdown) = start(2);
        let running = call(&bus, "a", None);
        while recorder.begun.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        shutdown.cancel();
        while bus.has_service("test") {
            tokio::task::yield_now().await;
        }
        recorder.gate.0.add_permits(1);
        assert_eq!(running.await.unwrap(), Ok(()));
        assert_eq!(
            call(&bus, "b", None).await.unwrap(),
            Err(ErrorKind::NotFound)
        );
    }
}
