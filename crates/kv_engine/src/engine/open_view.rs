//! [`OpenView`]: a read view that is open, and [`Source`]: what an iterator reads.

use super::shared::Shared;
use crate::Seq;
use crate::error::Result;
use crate::merge_view::{Found, ViewId};
use crate::state::{Digest, Request, Value};
use std::sync::Arc;

/// A read view that is open. Dropping it closes it.
#[derive(Debug)]
pub(super) struct OpenView {
    shared: Arc<Shared>,
    id: ViewId,
}

impl OpenView {
    /// A view of the state after the last write that was applied.
    pub(super) fn open(shared: &Arc<Shared>) -> OpenView {
        let log = shared.log_always(); // no write is applied meanwhile
        let id = shared.state.open_view(log.applied);
        drop(log);
        let view = OpenView { shared: Arc::clone(shared), id };
        view.shared.state.tidy();
        view
    }

    pub(super) fn seq(&self) -> Seq {
        self.id.seq()
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.shared.state.get_in(&self.id, key)
    }

    pub(super) fn count(&self) -> Result<u64> {
        self.shared.state.count_in(&self.id)
    }

    pub(super) fn digest(&self) -> Result<Digest> {
        self.shared.state.digest_in(&self.id)
    }
}

impl Drop for OpenView {
    fn drop(&mut self) {
        self.shared.state.close_view(&self.id);
    }
}

/// What an iterator reads.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// The state as it is at the moment of reading.
    Now(Arc<Shared>),
    View(Arc<OpenView>),
}

impl Source {
    pub(super) fn some(&self, request: &Request<'_>) -> Result<Found> {
        match self {
            Source::Now(shared) => shared.state.some(request),
            Source::View(view) => view.shared.state.some_in(&view.id, request),
        }
    }
}
