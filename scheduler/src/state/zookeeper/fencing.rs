//! Lets only the leader write, and lets the others see when it has.
use super::Zookeeper;
use crate::state::StateError;
use zookeeper_client::{Client, Error, MultiWriteError, MultiWriter};

impl Zookeeper {
    /// A transaction that fails as a whole unless this scheduler still leads.
    pub(super) fn writer<'a>(&self, client: &'a Client) -> Result<MultiWriter<'a>, StateError> {
        let mut writer = client.new_multi_writer();
        if let Some(fence) = &self.fence {
            writer.add_check_version(&fence.path, fence.version).map_err(|e| self.unavailable(&e))?;
        }
        Ok(writer)
    }

    /// Whether a transaction failed since another scheduler has led since.
    pub(super) fn is_deposed(&self, error: &MultiWriteError) -> bool {
        let refused = MultiWriteError::OperationFailed { index: 0, source: Error::BadVersion };
        let gone = MultiWriteError::OperationFailed { index: 0, source: Error::NoNode };
        self.fence.is_some() && (*error == refused || *error == gone)
    }

    /// Says that the leadership is over, also to whoever awaits its end.
    pub(super) fn deposed(&self) -> StateError {
        if let Some(fence) = &self.fence {
            tracing::warn!(epoch = fence.epoch, "a write was refused: another scheduler leads");
            fence.over.cancel();
        }
        StateError::Deposed { place: self.ensemble.describe() }
    }

    /// Waits until the fleet is not what was read last.
    pub(crate) async fn fleet_changed(&self) -> Result<(), StateError> {
        let path = self.path("fleet");
        loop {
            let client = self.client().await.map_err(|e| self.unavailable(&e))?;
            let known = self.seen().fleet;
            let (stat, watcher) =
                self.answer(client.check_and_watch_stat(&path)).await.map_err(|e| self.unavailable(&e))?;
            if stat.map(|stat| stat.version) != known {
                return Ok(());
            }
            // Also when the session is over; then the next look tells.
            drop(watcher.changed().await);
        }
    }
}
