//! What the workspace's licence allows, under whichever name its line has for the question (backplane.md 4.6, 8.6).

use std::time::Duration;

use backplane::{Bus, CallOptions, Error, ErrorKind};
use futures_util::future::join_all;
use serde_json::json;

use crate::answers::is_yes;

/// A licence service that is there answers at once; one that is not must not hold up the question.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Whether the licence is valid: for a module where one is named, as far as the line tells modules apart. It is as soon as
/// one licence service says so, and is not where every one of them refuses: a node that only says that it is one must not be
/// able to end others.
///
/// # Errors
/// A licence service does not answer and no other one says yes, or there is none.
pub async fn is_valid(bus: &Bus, module: Option<&str>) -> Result<bool, Error> {
    let nodes = bus.nodes_with("license");
    if nodes.is_empty() {
        return ask(bus, module, None).await;
    }
    let asked = nodes.iter().map(|node| ask(bus, module, Some(node)));
    let mut unknown = None;
    for answer in join_all(asked).await {
        match answer {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(error) => unknown = Some(error),
        }
    }
    unknown.map_or(Ok(false), Err)
}

/// Asks one node, or whoever is there.
async fn ask(bus: &Bus, module: Option<&str>, node: Option<&str>) -> Result<bool, Error> {
    let params = module.map_or_else(|| "[]".to_owned(), |module| json!([module]).to_string());
    // The newest name first; a line without it answers to one of the others.
    let mut questions = vec![("license.hasValidLicense", params.as_str())];
    if module.is_some() {
        questions.push(("license.hasLicense", &params));
    }
    questions.push(("license.isEnterprise", "[]"));
    let mut unknown = None;
    for (action, params) in questions {
        let options = CallOptions {
            node: node.map(str::to_owned),
            timeout: Some(ANSWER_WITHIN),
            ..CallOptions::default()
        };
        match bus.call(action, params, options).await {
            Ok(answer) => return Ok(is_yes(answer.as_ref())),
            Err(error) if error.kind == ErrorKind::NotFound => {
                unknown.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(unknown.expect("there was a question"))
}

#[cfg(test)]
mod tests {
    use backplane::{Incoming, Service};
    use bytes::Bytes;

    use super::*;

    /// A licence service that answers `yes` to one action and notes nothing else.
    fn license(action: &'static str, answer: &'static str) -> Bus {
        let bus = Bus::in_process("node".into());
        let mut inbox = bus.announce(Service {
            name: "license",
            actions: vec![action],
            events: vec![],
        });
        tokio::spawn(async move {
            loop {
                if let Incoming::Request(request) = inbox.recv().await {
                    request.respond(Ok(Some(Bytes::from_static(answer.as_bytes()))));
                }
            }
        });
        bus
    }

    #[tokio::test]
    async fn every_line_is_asked_in_its_own_words() {
        for (action, alone) in [
            ("license.hasValidLicense", Some(true)),
            ("license.isEnterprise", Some(true)),
            // Without a module there is nothing to ask it.
            ("license.hasLicense", None),
        ] {
            let bus = license(action, "true");
            assert_eq!(is_valid(&bus, None).await.ok(), alone, "{action}");
            let module = Some("scalability");
            assert_eq!(is_valid(&bus, module).await.ok(), Some(true), "{action}");
            assert_eq!(
                is_valid(&license(action, "0"), module).await.ok(),
                Some(false)
            );
        }
        assert!(
            is_valid(&Bus::in_process("node".into()), None)
                .await
                .is_err()
        );
    }
}
