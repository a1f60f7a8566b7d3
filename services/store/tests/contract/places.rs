//! Where the cases run.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};

use harness::MongoServer;
use mongodb::bson::{Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{Client, Database, IndexModel};
use store::{MongoConfig, Store};
use tempfile::TempDir;

pub(crate) fn in_memory() -> Store {
    Store::embedded(None).unwrap()
}

pub(crate) struct OnDisk {
    pub(crate) store: Store,
    pub(crate) folder: TempDir,
}

pub(crate) fn on_disk() -> OnDisk {
    let folder = tempfile::tempdir().unwrap();
    OnDisk {
        store: Store::embedded(Some(folder.path())).unwrap(),
        folder,
    }
}

pub(crate) struct OnMongo {
    pub(crate) store: Store,
    /// The same database, to look behind the store.
    pub(crate) database: Database,
    /// Ends with the last test that uses it.
    _server: Arc<MongoServer>,
}

/// A database of its own on the server that all tests share, with the unique indexes that the monolith makes.
pub(crate) async fn mongodb() -> OnMongo {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let server = tokio::task::spawn_blocking(shared_server).await.unwrap();
    let name = format!(
        "store_{}_{}",
        process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let url = server.url(&name);
    let database = Client::with_uri_str(&url).await.unwrap().database(&name);
    for (collection, keys) in [
        (
            "users",
            doc! { "services.resume.loginTokens.hashedToken": 1 },
        ),
        ("users", doc! { "username": 1 }),
        ("rocketchat_subscription", doc! { "rid": 1, "u._id": 1 }),
    ] {
        let options = IndexOptions::builder().unique(true).sparse(true).build();
        let index = IndexModel::builder().keys(keys).options(options).build();
        database
            .collection::<Document>(collection)
            .create_index(index)
            .await
            .unwrap();
    }
    let store = Store::mongo(MongoConfig {
        url,
        ..MongoConfig::default()
    })
    .await
    .unwrap();
    OnMongo {
        store,
        database,
        _server: server,
    }
}

/// One server for all tests that run at the same time; the last of them ends it.
fn shared_server() -> Arc<MongoServer> {
    static SERVER: Mutex<Weak<MongoServer>> = Mutex::new(Weak::new());
    let mut shared = SERVER.lock().unwrap();
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(MongoServer::start());
        *shared = Arc::downgrade(&server);
        server
    })
}
