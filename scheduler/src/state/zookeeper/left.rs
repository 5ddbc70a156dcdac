//! Keeps what executors left on agents: one znode each.
use super::Zookeeper;
use crate::core::effects::LeftData;
use crate::ids::AgentId;
use crate::state::{StateError, record};
use std::collections::BTreeSet;
use zookeeper_client::{Client, CreateMode, Error, MultiWriter};

const DIR: &str = "left";

impl Zookeeper {
    pub(super) async fn read_left(&self, client: &Client) -> Result<Vec<LeftData>, StateError> {
        let found = self.get_all::<LeftData>(client, "left", DIR).await?;
        let left: Vec<LeftData> = found.into_iter().map(|(record, ..)| record).collect();
        self.seen().left = left.iter().map(|record| record.agent.clone()).collect();
        Ok(left)
    }

    /// Adds the writing of a record; `known` is which ones there are.
    pub(super) fn add_left(
        &self,
        writer: &mut MultiWriter<'_>,
        known: &mut BTreeSet<AgentId>,
        left: &LeftData,
    ) -> Result<Result<(), Error>, StateError> {
        let (path, data) = (self.left_path(&left.agent), record::encode("left", left, "")?);
        Ok(if known.insert(left.agent.clone()) {
            let options = CreateMode::Persistent.with_acls(self.ensemble.acls());
            writer.add_create(&path, &data, &options)
        } else {
            writer.add_set_data(&path, &data, None)
        })
    }

    /// Adds the removal of a record, if there is one.
    pub(super) fn add_forgotten(
        &self,
        writer: &mut MultiWriter<'_>,
        known: &mut BTreeSet<AgentId>,
        agent: &AgentId,
    ) -> Result<(), Error> {
        match known.remove(agent) {
            true => writer.add_delete(&self.left_path(agent), None),
            false => Ok(()),
        }
    }

    fn left_path(&self, agent: &AgentId) -> String {
        self.path(&format!("{DIR}/{agent}"))
    }
}
