//! The embedded store.

use std::path::Path;

use bson::{Document, RawDocumentBuf};

use crate::collection::Collection;
use crate::edit::Edit;
use crate::lookup::Lookup;
use crate::{Change, Edited, Error, Feed};

#[derive(Clone, Debug)]
pub(crate) struct Embedded;

#[derive(Debug)]
pub(crate) struct FeedReader;

impl Embedded {
    pub(crate) fn open(_path: Option<&Path>) -> Result<Self, Error> {
        todo!()
    }
    pub(crate) fn changes(&self, _after: Option<u64>) -> Result<Feed, Error> {
        todo!()
    }
    pub(crate) fn find(
        &self,
        _l: Lookup<'_>,
        _f: &'static [&'static str],
    ) -> Result<Vec<RawDocumentBuf>, Error> {
        todo!()
    }
    pub(crate) async fn insert(&self, _c: Collection, _d: Document) -> Result<(), Error> {
        todo!()
    }
    pub(crate) async fn edit(&self, _l: Lookup<'_>, _e: Edit) -> Result<Edited, Error> {
        todo!()
    }
    pub(crate) async fn remove(&self, _l: Lookup<'_>) -> Result<bool, Error> {
        todo!()
    }
}

impl FeedReader {
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Change>>, Error> {
        todo!()
    }
}
