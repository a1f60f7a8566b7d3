//! The servers that other tests stand on.

use std::io::Read;
use std::net::TcpStream;

use harness::{MongoServer, NatsServer};

#[test]
fn a_killed_nats_server_comes_back_on_its_port() {
    let mut nats = NatsServer::start();
    assert!(nats_greets(nats.port()));
    nats.kill9();
    assert!(!nats_greets(nats.port()));
    nats.restart();
    assert!(nats_greets(nats.port()));
}

#[test]
fn two_nats_servers_have_ports_of_their_own() {
    let (one, other) = (NatsServer::start(), NatsServer::start());
    assert_ne!(one.url(), other.url());
}

#[test]
fn a_killed_mongo_server_comes_back_on_its_port() {
    let mut mongo = MongoServer::start_own(&[]);
    let url = mongo.url("test");
    let port: u16 = url
        .split([':', '/'])
        .nth(4)
        .and_then(|port| port.parse().ok())
        .expect("the URL has a port");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    mongo.kill9();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    mongo.restart();
    assert_eq!(mongo.url("test"), url);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
}

/// Whether a nats-server on this port sends its `INFO`.
fn nats_greets(port: u16) -> bool {
    let mut greeting = [0; 4];
    TcpStream::connect(("127.0.0.1", port))
        .is_ok_and(|mut socket| socket.read_exact(&mut greeting).is_ok() && &greeting == b"INFO")
}
