//! How a node proves to a NATS server who it is, and the server to the node.

mod support;

use std::path::{Path, PathBuf};

use backplane::{Access, AccessPart, CallOptions, Config, Server};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use harness::NatsServer;
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair as TlsKey};
use serde_json::json;
use support::{NatsBus, config, echo, next_request, until};
use tempfile::TempDir;

/// A folder for configurations, keys and certificates.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn server(&self, text: &str) -> NatsServer {
        let path = self.write("nats.conf", text);
        NatsServer::start_with(&["-c", path.to_str().unwrap()])
    }
}

/// A node that goes to this server with these files.
fn node(servers: &str, access: Access) -> NatsBus {
    NatsBus::start(Config {
        servers: Server::list(servers).unwrap(),
        access,
        ..config("nats://unused", "edge-1")
    })
}

/// Waits for one, while the other must not get in.
async fn only(good: &NatsBus, bad: &NatsBus) {
    until("connected", || good.status().connected).await;
    assert!(!bad.status().ever_connected);
}

fn stranger(nats: &NatsServer) -> NatsBus {
    node(&nats.url(), Access::default())
}

#[tokio::test]
async fn a_name_without_a_password_is_a_token() {
    let nats = NatsServer::start_with(&["--auth", "t0ken"]);
    let url = format!("nats://t0ken@127.0.0.1:{}", nats.port());
    only(&node(&url, Access::default()), &stranger(&nats)).await;
}

#[tokio::test]
async fn the_account_of_one_server_serves_the_others() {
    let mut first = NatsServer::start_with(&["--user", "rocket", "--pass", "s3cret"]);
    let second = NatsServer::start_with(&["--user", "rocket", "--pass", "s3cret"]);
    let servers = format!(
        "nats://rocket:s3cret@127.0.0.1:{},{}",
        first.port(),
        second.url()
    );
    let bus = node(&servers, Access::default());
    until("the first", || bus.stats().connects == 1).await;
    first.kill9();
    until("the second", || bus.stats().connects == 2).await;
}

#[tokio::test]
async fn an_nkey_signs_what_the_server_asks() {
    let files = Files::new();
    let pair = KeyPair::new_user();
    let nats = files.server(&format!(
        "authorization {{ users: [ {{ nkey: {} }} ] }}",
        pair.public_key()
    ));
    let access = Access {
        nkey: Some(files.write("nkey", &pair.seed().unwrap())),
        ..Access::default()
    };
    assert_eq!(access.mistakes(), []);
    only(&node(&nats.url(), access), &stranger(&nats)).await;
}

#[tokio::test]
async fn a_credentials_file_is_a_jwt_and_its_seed() {
    let files = Files::new();
    let (operator, account, user) = (
        KeyPair::new_operator(),
        KeyPair::new_account(),
        KeyPair::new_user(),
    );
    let jwt = |issuer: &KeyPair, subject: &KeyPair, kind: &str| {
        let claims = json!({
            "jti": "x", "iat": 1_700_000_000, "iss": issuer.public_key(), "sub": subject.public_key(), "name": kind,
            "nats": if kind == "account" {
                json!({"type": kind, "version": 2, "limits": {"subs": -1, "data": -1, "payload": -1, "conn": -1,
                    "leaf": -1, "imports": -1, "exports": -1, "wildcards": true}})
            } else {
                json!({"type": kind, "version": 2, "subs": -1, "data": -1, "payload": -1})
            },
        });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = json!({"typ": "JWT", "alg": "ed25519-nkey"});
        let signed = format!("{}.{}", part(&head), part(&claims));
        let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
        format!("{signed}.{signature}")
    };
    let nats = files.server(&format!(
        "operator: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {} }}",
        jwt(&operator, &operator, "operator"),
        account.public_key(),
        jwt(&operator, &account, "account"),
    ));
    let access = Access {
        credentials: Some(files.write(
            "user.creds",
            &format!(
                "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
                 -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
                jwt(&account, &user, "user"),
                user.seed().unwrap()
            ),
        )),
        ..Access::default()
    };
    assert_eq!(access.mistakes(), []);
    only(&node(&nats.url(), access), &stranger(&nats)).await;
}

#[tokio::test]
async fn tls_needs_an_authority_that_we_know_and_a_certificate_that_it_knows() {
    let files = Files::new();
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, TlsKey::generate().unwrap()).unwrap();
    let ca = files.write("ca.pem", &authority.pem());
    let issue = |name: &str| {
        let key = TlsKey::generate().unwrap();
        let names = ["127.0.0.1".to_owned(), name.to_owned()];
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        (
            files.write(&format!("{name}.pem"), &certificate.pem()),
            files.write(&format!("{name}.key"), &key.serialize_pem()),
        )
    };
    let (server, server_key) = issue("server");
    let (client, client_key) = issue("client");
    let show = |path: &Path| path.display().to_string();
    let nats = files.server(&format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}",
        show(&server),
        show(&server_key),
        show(&ca)
    ));
    let access = Access {
        ca: Some(ca),
        certificate: Some(client),
        key: Some(client_key),
        ..Access::default()
    };
    assert_eq!(access.mistakes(), []);
    let nameless = Access {
        certificate: None,
        key: None,
        ..access.clone()
    };
    let nameless = node(&nats.url(), nameless);
    let url = format!("tls://127.0.0.1:{}", nats.port());
    let bus = node(&url, access.clone());
    only(&bus, &stranger(&nats)).await;
    assert!(!nameless.status().ever_connected);
    // A server without TLS is not talked to where TLS was asked for.
    let plain = NatsServer::start();
    let insisting = node(&plain.url(), access);
    let other = node(&plain.url(), Access::default());
    until("the plain one", || other.status().connected).await;
    assert!(!insisting.status().ever_connected);
}

#[tokio::test]
async fn files_that_no_server_would_take_are_mistakes() {
    let files = Files::new();
    let pair = KeyPair::new_account();
    let wrong = Access {
        nkey: Some(files.write("nkey", &pair.seed().unwrap())),
        credentials: Some(files.write("creds", "s3cret")),
        ca: Some(files.write("ca", "s3cret")),
        certificate: Some(files.0.path().join("missing")),
        key: None,
    };
    let mistakes = wrong.mistakes();
    for part in [
        AccessPart::Nkey,
        AccessPart::Credentials,
        AccessPart::Ca,
        AccessPart::Certificate,
        AccessPart::Key,
    ] {
        let why = mistakes.iter().find(|(wrong, _)| *wrong == part);
        let (_, why) = why.unwrap_or_else(|| panic!("{part:?} is missing in {mistakes:?}"));
        assert!(!why.contains("s3cret"), "{why}");
    }
}

#[tokio::test]
async fn the_permissions_that_we_document_are_enough_for_a_node_and_no_more() {
    let text = include_str!("../../deploy/nats-permissions.conf");
    let files = Files::new();
    let nats = files.server(text);
    let url = |user: &str| format!("nats://{user}:{user}@127.0.0.1:{}", nats.port());
    let caller = NatsBus::start(config(&url("rocketchat"), "monolith-1"));
    let bus = NatsBus::start(config(&url("edge"), "edge-1"));
    let mut inbox = bus.announce(echo());
    until("the service", || caller.has_service("echo")).await;
    let serve = async { next_request(&mut inbox).await.respond(Ok(None)) };
    let (outcome, ()) = tokio::join!(caller.call("echo.it", "[]", CallOptions::default()), serve);
    assert_eq!(outcome, Ok(None));

    let (violated, mut violations) = tokio::sync::mpsc::channel(8);
    let probe = async_nats::ConnectOptions::with_user_and_password("edge".into(), "edge".into())
        .event_callback(move |event| {
            let violated = violated.clone();
            async move {
                if matches!(event, async_nats::Event::ServerError(_)) {
                    violated.send(()).await.unwrap();
                }
            }
        });
    let probe = probe.connect(nats.url()).await.unwrap();
    let _all = probe.subscribe(">").await.unwrap();
    violations.recv().await.unwrap();
    probe.publish("other.subject", "x".into()).await.unwrap();
    violations.recv().await.unwrap();
}
