//! Keeps state in ZooKeeper: one znode per document and per launch, versions checked, changes of two znodes in one multi.
//!
//! ```text
//! PATH/framework       who we are
//! PATH/control-authority  by whom executors know a scheduler, where the control plane talks TLS
//! PATH/fleet           the fleet's revision, with a nonce by which a writer knows its own write again
//! PATH/configs/NAME    one document each ([`record::document_name`])
//! PATH/launches/TASK   one launch each
//! PATH/left/AGENT      what an executor left on an agent
//! PATH/rollout         generations and the newest rollout
//! ```
//! A write whose connection is lost is looked up afterwards: the nonce tells whether it happened. With a [`Fence`] every
//! write first checks that this scheduler still leads.
mod fencing;
mod left;

use super::record::{self, AuthorityRecord, DocumentHead, FleetRecord, FrameworkRecord, document_name};
use super::{DocumentChange, State, StateError, Stored, StoredFleet};
use crate::core::effects::{Change, LaunchRecord};
use crate::core::rollout::RolloutRecord;
use crate::ensemble::{Ensemble, is_lost};
use crate::ids::{AgentId, TaskId};
use crate::leader::Fence;
use config::document::{Document, Key, Revision};
use futures_util::stream::{StreamExt, TryStreamExt, iter};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use zookeeper_client::{Client, CreateMode, Error, MultiWriteError, MultiWriter, SessionState};

/// How many znodes are read at once.
const READS: usize = 64;
/// How many operations go into one multi: all together they must stay below ZooKeeper's 1 MiB.
const OPERATIONS: usize = 100;
/// The pause between two looks at a store that was lost.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// State in ZooKeeper.
#[derive(Debug)]
pub struct Zookeeper {
    ensemble: Ensemble,
    session_timeout: Duration,
    fence: Option<Fence>,
    client: Mutex<Option<Client>>,
    seen: Mutex<Seen>,
}

/// What was seen last, to be checked when writing.
#[derive(Debug, Default)]
struct Seen {
    framework: Option<i32>,
    authority: Option<i32>,
    rollout: bool,
    fleet: Option<i32>,
    revision: Revision,
    documents: BTreeMap<Key, i32>,
    launches: BTreeSet<TaskId>,
    left: BTreeSet<AgentId>,
}

/// The fleet's znode as it is.
struct FleetNode {
    version: Option<i32>,
    record: FleetRecord,
}

impl Zookeeper {
    /// A store at that address; connects when it is used first.
    pub fn new(ensemble: Ensemble, session_timeout: Duration) -> Self {
        let (client, seen) = (Mutex::new(None), Mutex::new(Seen::default()));
        Self { ensemble, session_timeout, fence: None, client, seen }
    }

    /// The same, but every write is refused once the leadership is over.
    #[must_use]
    pub fn fenced(self, fence: Fence) -> Self {
        Self { fence: Some(fence), ..self }
    }

    /// The session, a new one if there is none or the old one is over.
    async fn client(&self) -> Result<Client, Error> {
        let held = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(client) = held {
            let over = [SessionState::Expired, SessionState::Closed, SessionState::AuthFailed];
            if !over.contains(&client.state()) {
                return Ok(client);
            }
        }
        let client = self.ensemble.connect(self.session_timeout).await?;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
        Ok(client)
    }

    /// Waits for an answer, but not for ever: then the connection counts as lost.
    async fn answer<T, E: From<Error>>(&self, asked: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        timeout(self.session_timeout * 2, asked).await.unwrap_or(Err(E::from(Error::ConnectionLoss)))
    }

    async fn get(&self, client: &Client, path: &str) -> Result<Option<(Vec<u8>, i32)>, Error> {
        match self.answer(client.get_data(path)).await {
            Ok((data, stat)) => Ok(Some((data, stat.version))),
            Err(Error::NoNode) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads all records below a znode.
    async fn get_all<T: DeserializeOwned>(
        &self,
        client: &Client,
        kind: &str,
        under: &str,
    ) -> Result<Vec<(T, String, i32)>, StateError> {
        let dir = self.path(under);
        let names = self.answer(client.list_children(&dir)).await.map_err(|e| self.unreadable(&dir, &e))?;
        let reads = iter(names.into_iter().map(|name| {
            let path = format!("{dir}/{name}");
            async move {
                let found = self.get(client, &path).await.map_err(|e| self.unreadable(&path, &e))?;
                let Some((data, version)) = found else { return Ok(None) };
                let (head, text) = record::decode::<T>(kind, &path, &data)?;
                Ok::<_, StateError>(Some((head, text, version)))
            }
        }));
        let found: Vec<_> = reads.buffer_unordered(READS).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn fleet_node(&self, client: &Client) -> Result<FleetNode, StateError> {
        let path = self.path("fleet");
        match self.get(client, &path).await.map_err(|e| self.unreadable(&path, &e))? {
            None => Ok(FleetNode {
                version: None,
                record: FleetRecord { revision: Revision(0), nonce: String::new(), epoch: 0 },
            }),
            Some((data, version)) => {
                let (record, _) = record::decode::<FleetRecord>("fleet", &path, &data)?;
                Ok(FleetNode { version: Some(version), record })
            }
        }
    }

    /// Connects, makes the directories if need be, and sees to it that what is read is not older than what was written.
    async fn open(&self) -> Result<Client, StateError> {
        let client = self.client().await.map_err(|e| self.unavailable(&e))?;
        for dir in ["configs", "launches", "left"] {
            let options = CreateMode::Persistent.with_acls(self.ensemble.acls());
            match self.answer(client.mkdir(&self.path(dir), &options)).await {
                Ok(()) | Err(Error::NodeExists) => {}
                Err(error) => return Err(self.unreadable(&self.path(dir), &error)),
            }
        }
        let root = self.ensemble.path.clone();
        self.answer(client.sync(&root)).await.map_err(|e| self.unreadable(&root, &e))?;
        Ok(client)
    }

    /// The fingerprint of the authority that executors know.
    pub async fn load_authority(&self) -> Result<Option<String>, StateError> {
        let client = self.open().await?;
        self.read_authority(&client).await
    }

    async fn read_fleet(&self, client: &Client) -> Result<StoredFleet, StateError> {
        loop {
            let before = self.fleet_node(client).await?;
            let documents = self.get_all::<DocumentHead>(client, "document", "configs").await?;
            if self.fleet_node(client).await?.version != before.version {
                continue;
            }
            let mut loaded = StoredFleet::default();
            loaded.fleet.revision = before.record.revision;
            let mut seen = self.seen();
            (seen.fleet, seen.revision) = (before.version, before.record.revision);
            seen.documents.clear();
            for (head, text, version) in documents {
                seen.documents.insert(head.key.clone(), version);
                loaded.origins.insert(head.key.clone(), head.origin);
                loaded.fleet.documents.insert(head.key, Document { text, revision: head.revision });
            }
            return Ok(loaded);
        }
    }

    async fn read_launches(&self, client: &Client) -> Result<Vec<LaunchRecord>, StateError> {
        let found = self.get_all::<LaunchRecord>(client, "launch", "launches").await?;
        let launches: Vec<LaunchRecord> = found.into_iter().map(|(record, ..)| record).collect();
        self.seen().launches = launches.iter().map(|record| record.task.clone()).collect();
        Ok(launches)
    }

    async fn read_framework(&self, client: &Client) -> Result<Option<FrameworkRecord>, StateError> {
        let path = self.path("framework");
        let found = self.get(client, &path).await.map_err(|e| self.unreadable(&path, &e))?;
        self.seen().framework = found.as_ref().map(|(_, version)| *version);
        let Some((data, _)) = found else { return Ok(None) };
        Ok(Some(record::decode::<FrameworkRecord>("framework", &path, &data)?.0))
    }

    async fn read_authority(&self, client: &Client) -> Result<Option<String>, StateError> {
        let path = self.path("control-authority");
        let found = self.get(client, &path).await.map_err(|e| self.unreadable(&path, &e))?;
        self.seen().authority = found.as_ref().map(|(_, version)| *version);
        let Some((data, _)) = found else { return Ok(None) };
        Ok(Some(record::decode::<AuthorityRecord>("authority", &path, &data)?.0.fingerprint))
    }

    async fn read_rollout(&self, client: &Client) -> Result<RolloutRecord, StateError> {
        let path = self.path("rollout");
        let found = self.get(client, &path).await.map_err(|e| self.unreadable(&path, &e))?;
        self.seen().rollout = found.is_some();
        let Some((data, _)) = found else { return Ok(RolloutRecord::default()) };
        Ok(record::decode::<RolloutRecord>("rollout", &path, &data)?.0)
    }

    /// Writes a batch once. `Err(Some)`: for good; `Err(None)`: what was seen is out of date or the connection was lost.
    async fn save_once(&self, changes: &[Change]) -> Result<(), Option<StateError>> {
        let client =
            self.client().await.map_err(|e| if is_lost(&e) { None } else { Some(self.unavailable(&e)) })?;
        let mut writer = self.writer(&client).map_err(Some)?;
        let mut launches = self.seen().launches.clone();
        let mut left = self.seen().left.clone();
        for change in changes {
            self.add_change(&mut writer, (&mut launches, &mut left), change).map_err(Some)?;
        }
        match self.answer(writer.commit()).await {
            Ok(_) => {
                self.seen().launches = launches;
                self.seen().left = left;
                self.seen().rollout |= changes.iter().any(|change| matches!(change, Change::Rollout(_)));
                if changes
                    .iter()
                    .any(|change| matches!(change, Change::Framework(_) | Change::TearDown { .. }))
                {
                    // It is stored: if what it became cannot be seen it is written again, but it has not failed.
                    self.read_framework(&client).await.map_err(|_| None)?;
                }
                if changes.iter().any(|change| matches!(change, Change::Authority(_))) {
                    self.read_authority(&client).await.map_err(|_| None)?;
                }
                Ok(())
            }
            Err(error) if self.is_deposed(&error) => Err(Some(self.deposed())),
            Err(error) if is_stale(&error) || is_lost(&Error::from(error.clone())) => Err(None),
            Err(error) => Err(Some(self.unavailable(&Error::from(error)))),
        }
    }

    fn add_change(
        &self,
        writer: &mut MultiWriter<'_>,
        (launches, left): (&mut BTreeSet<TaskId>, &mut BTreeSet<AgentId>),
        change: &Change,
    ) -> Result<(), StateError> {
        let options = CreateMode::Persistent.with_acls(self.ensemble.acls());
        let added = match change {
            Change::Framework(id) | Change::TearDown { framework: id, .. } => {
                let torn_down = match change {
                    Change::TearDown { since, .. } => Some(*since),
                    _ => None,
                };
                let record = FrameworkRecord { id: id.clone(), torn_down };
                let data = record::encode("framework", &record, "")?;
                match self.seen().framework {
                    Some(version) => writer.add_set_data(&self.path("framework"), &data, Some(version)),
                    None => writer.add_create(&self.path("framework"), &data, &options),
                }
            }
            Change::Authority(fingerprint) => {
                let head = AuthorityRecord { fingerprint: fingerprint.clone() };
                let (path, data) = (self.path("control-authority"), record::encode("authority", &head, "")?);
                match self.seen().authority {
                    Some(version) => writer.add_set_data(&path, &data, Some(version)),
                    None => writer.add_create(&path, &data, &options),
                }
            }
            Change::Rollout(record) => {
                let (path, data) = (self.path("rollout"), record::encode("rollout", record, "")?);
                if std::mem::replace(&mut self.seen().rollout, true) {
                    writer.add_set_data(&path, &data, None)
                } else {
                    writer.add_create(&path, &data, &options)
                }
            }
            Change::Launch(record) => {
                let (path, data) = (self.launch_path(&record.task), record::encode("launch", record, "")?);
                if launches.insert(record.task.clone()) {
                    writer.add_create(&path, &data, &options)
                } else {
                    writer.add_set_data(&path, &data, None)
                }
            }
            Change::Ended(task) if launches.remove(task) => writer.add_delete(&self.launch_path(task), None),
            Change::Ended(_) => Ok(()),
            Change::Left(of) => self.add_left(writer, left, of)?,
            Change::Forgotten(agent) => self.add_forgotten(writer, left, agent),
        };
        added.map_err(|e| self.unavailable(&e))
    }

    /// Looks up whether a document change whose connection was lost has happened.
    async fn resolve(&self, change: &DocumentChange, nonce: &str, lost: &Error) -> Result<(), StateError> {
        let deadline = Instant::now() + self.session_timeout * 2;
        loop {
            if let Ok(client) = self.open().await
                && let Ok(node) = self.fleet_node(&client).await
            {
                if node.record.nonce == nonce {
                    return self.read_fleet(&client).await.map(drop);
                }
                if node.version == self.seen().fleet {
                    return Err(self.unavailable(lost));
                }
                return Err(self.conflict(change, node.record.revision));
            }
            if Instant::now() >= deadline {
                return Err(StateError::Unknown { place: self.ensemble.describe(), why: lost.to_string() });
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn commit_change(
        &self,
        client: &Client,
        change: &DocumentChange,
        nonce: &str,
    ) -> Result<Result<(), MultiWriteError>, StateError> {
        let epoch = self.fence.as_ref().map_or(0, |fence| fence.epoch);
        let record = FleetRecord { revision: change.revision(), nonce: nonce.to_owned(), epoch };
        let fleet = record::encode("fleet", &record, "")?;
        let options = CreateMode::Persistent.with_acls(self.ensemble.acls());
        let (version, known) = {
            let seen = self.seen();
            (seen.fleet, seen.documents.get(&change.key).copied())
        };
        let mut writer = self.writer(client)?;
        let added = match version {
            Some(version) => writer.add_set_data(&self.path("fleet"), &fleet, Some(version)),
            None => writer.add_create(&self.path("fleet"), &fleet, &options),
        };
        added.map_err(|e| self.unavailable(&e))?;
        let path = self.path(&format!("configs/{}", document_name(&change.key)));
        let added = match (&change.to, known) {
            (Some((text, origin)), known) => {
                let (key, origin) = (change.key.clone(), origin.clone());
                let head = DocumentHead { key, revision: change.revision(), origin, epoch };
                let data = record::encode("document", &head, text)?;
                match known {
                    Some(version) => writer.add_set_data(&path, &data, Some(version)),
                    None => writer.add_create(&path, &data, &options),
                }
            }
            (None, Some(version)) => writer.add_delete(&path, Some(version)),
            (None, None) => Ok(()),
        };
        added.map_err(|e| self.unavailable(&e))?;
        Ok(self.answer(writer.commit()).await.map(drop))
    }

    /// Moves what was seen on by a change that happened: a multi raises each version by one, a create begins at zero.
    fn note_change(&self, change: &DocumentChange) {
        let mut seen = self.seen();
        seen.revision = change.revision();
        seen.fleet = Some(seen.fleet.map_or(0, |version| version + 1));
        if change.to.is_some() {
            let version = seen.documents.get(&change.key).map_or(0, |version| version + 1);
            seen.documents.insert(change.key.clone(), version);
        } else {
            seen.documents.remove(&change.key);
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.ensemble.path)
    }

    fn launch_path(&self, task: &TaskId) -> String {
        self.path(&format!("launches/{task}"))
    }

    fn unavailable(&self, error: &Error) -> StateError {
        StateError::Unavailable { place: self.ensemble.describe(), why: error.to_string() }
    }

    /// A lost connection is no statement about what is stored.
    fn unreadable(&self, path: &str, error: &Error) -> StateError {
        if is_lost(error) {
            return self.unavailable(error);
        }
        let why = format!("{error}; check the credentials and the path");
        StateError::Unreadable { place: path.to_owned(), why }
    }

    fn conflict(&self, change: &DocumentChange, found: Revision) -> StateError {
        StateError::Conflict { place: self.ensemble.describe(), expected: change.on_top_of, found }
    }
}

impl State for Zookeeper {
    async fn load(&self) -> Result<Stored, StateError> {
        let client = self.open().await?;
        let framework = self.read_framework(&client).await?;
        let authority = self.read_authority(&client).await?;
        let launches = self.read_launches(&client).await?;
        let documents = self.read_fleet(&client).await?;
        let rollout = self.read_rollout(&client).await?;
        let stored = Stored::checked(&self.ensemble.describe(), framework, launches, documents)?;
        let left = self.read_left(&client).await?;
        Ok(Stored { authority, left, rollout, ..stored })
    }

    async fn load_fleet(&self) -> Result<StoredFleet, StateError> {
        let client = self.open().await?;
        self.read_fleet(&client).await
    }

    async fn save(&self, changes: &[Change]) -> Result<(), StateError> {
        let deadline = Instant::now() + self.session_timeout * 2;
        for batch in changes.chunks(OPERATIONS) {
            loop {
                match self.save_once(batch).await {
                    Ok(()) => break,
                    Err(Some(error)) => return Err(error),
                    Err(None) => {}
                }
                // Repeating is harmless once it is known again which znodes there are.
                let again = async {
                    let client = self.open().await?;
                    self.read_framework(&client).await?;
                    self.read_authority(&client).await?;
                    self.read_rollout(&client).await?;
                    self.read_left(&client).await?;
                    self.read_launches(&client).await
                };
                let looked = again.await;
                if Instant::now() >= deadline {
                    let why = looked
                        .err()
                        .map_or("the connection is lost again and again".to_owned(), |e| e.to_string());
                    return Err(StateError::Unknown { place: self.ensemble.describe(), why });
                }
                sleep(LOOK_AGAIN).await;
            }
        }
        Ok(())
    }

    async fn change(&self, change: &DocumentChange) -> Result<(), StateError> {
        let found = self.seen().revision;
        if found != change.on_top_of {
            return Err(self.conflict(change, found));
        }
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let client = self.client().await.map_err(|e| self.unavailable(&e))?;
        match self.commit_change(&client, change, &nonce).await? {
            Ok(()) => {
                self.note_change(change);
                Ok(())
            }
            Err(error) if self.is_deposed(&error) => Err(self.deposed()),
            Err(error) if is_stale(&error) => {
                let found = self.fleet_node(&client).await?.record.revision;
                Err(self.conflict(change, found))
            }
            Err(error) => match Error::from(error) {
                lost if is_lost(&lost) => self.resolve(change, &nonce, &lost).await,
                error => Err(self.unavailable(&error)),
            },
        }
    }

    fn describe(&self) -> String {
        format!("ZooKeeper {}", self.ensemble.describe())
    }
}

/// Whether a multi failed because something else is there than what was seen.
fn is_stale(error: &MultiWriteError) -> bool {
    matches!(
        error,
        MultiWriteError::OperationFailed {
            source: Error::BadVersion | Error::NoNode | Error::NodeExists,
            ..
        }
    )
}
