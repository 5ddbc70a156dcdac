//! Keeps state in a directory: checksummed files, each replaced as a whole by write, fsync, rename, fsync.
//!
//! ```text
//! DIR/lock            held by flock while a scheduler lives
//! DIR/framework       who we are
//! DIR/control-authority  by whom executors know a scheduler, where the control plane talks TLS
//! DIR/fleet           the fleet's revision
//! DIR/configs/NAME    one document each ([`record::document_name`])
//! DIR/launches/NN     launches, spread over sixteen files by agent
//! DIR/left            what executors left on agents
//! DIR/rollout         generations and the newest rollout
//! ```
//! A document change writes `fleet` first and the document second. A crash in between leaves a revision that changed
//! nothing, which is allowed; a document newer than the fleet would be an edit that nobody was told of.
use super::record::{self, AuthorityRecord, DocumentHead, FleetRecord, FrameworkRecord, document_name};
use super::{DocumentChange, State, StateError, Stored, StoredFleet};
use crate::core::effects::{Change, LaunchRecord, LeftData};
use crate::core::rollout::RolloutRecord;
use crate::ids::{AgentId, TaskId};
use config::document::{Document, Revision};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

const SHARDS: u32 = 16;

/// State in a directory.
#[derive(Clone, Debug)]
pub struct Directory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// Keeps the lock while it lives.
    _lock: File,
    memory: Mutex<Memory>,
}

/// What the files hold, as far as it is needed to change them.
#[derive(Debug, Default)]
struct Memory {
    revision: Revision,
    shards: BTreeMap<u32, BTreeMap<TaskId, LaunchRecord>>,
    left: BTreeMap<AgentId, LeftData>,
}

impl Memory {
    fn shard(&self, shard: u32) -> BTreeMap<TaskId, LaunchRecord> {
        self.shards.get(&shard).cloned().unwrap_or_default()
    }
}

impl Directory {
    /// Opens the directory, makes it if need be, and takes its lock.
    pub fn open(root: &Path) -> Result<Self, StateError> {
        for dir in [root.to_path_buf(), root.join("configs"), root.join("launches")] {
            // Configs may hold passwords.
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
            made.map_err(|e| unavailable(&dir, &e))?;
        }
        let place = root.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&place);
        let lock = lock.map_err(|e| unavailable(&place, &e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(StateError::Locked { place: place.display().to_string() });
            }
            Err(fs::TryLockError::Error(e)) => return Err(unavailable(&place, &e)),
        }
        let inner = Inner { root: root.to_path_buf(), _lock: lock, memory: Mutex::new(Memory::default()) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Runs `work` where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let inner = Arc::clone(&self.inner);
        let place = inner.root.display().to_string();
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.map_err(|e| StateError::Unknown { place, why: e.to_string() })?
    }
}

impl State for Directory {
    async fn load(&self) -> Result<Stored, StateError> {
        self.blocking(Inner::load).await
    }

    async fn load_fleet(&self) -> Result<StoredFleet, StateError> {
        self.blocking(Inner::load_fleet).await
    }

    async fn save(&self, changes: &[Change]) -> Result<(), StateError> {
        let changes = changes.to_vec();
        self.blocking(move |inner| inner.save(changes)).await
    }

    async fn change(&self, change: &DocumentChange) -> Result<(), StateError> {
        let change = change.clone();
        self.blocking(move |inner| inner.change(&change)).await
    }

    fn describe(&self) -> String {
        format!("directory {}", self.inner.root.display())
    }
}

impl Inner {
    fn load(&self) -> Result<Stored, StateError> {
        let framework = self.read::<FrameworkRecord>("framework", "framework")?.map(|(record, _)| record);
        let mut shards = BTreeMap::new();
        for shard in 0..SHARDS {
            if let Some((held, _)) =
                self.read::<BTreeMap<TaskId, LaunchRecord>>("launches", &shard_name(shard))?
            {
                shards.insert(shard, held);
            }
        }
        let launches = shards.values().flat_map(|held| held.values().cloned()).collect();
        self.memory().shards = shards;
        let left = self.read::<BTreeMap<AgentId, LeftData>>("left", "left")?.map(|(left, _)| left);
        let left = left.unwrap_or_default();
        self.memory().left.clone_from(&left);
        let authority = self.read::<AuthorityRecord>("authority", "control-authority")?;
        let authority = authority.map(|(record, _)| record.fingerprint);
        let rollout = self.read::<RolloutRecord>("rollout", "rollout")?.map(|(record, _)| record);
        let stored =
            Stored::checked(&self.root.display().to_string(), framework, launches, self.load_fleet()?)?;
        let left = left.into_values().collect();
        Ok(Stored { authority, left, rollout: rollout.unwrap_or_default(), ..stored })
    }

    fn load_fleet(&self) -> Result<StoredFleet, StateError> {
        let mut loaded = StoredFleet::default();
        if let Some((record, _)) = self.read::<FleetRecord>("fleet", "fleet")? {
            loaded.fleet.revision = record.revision;
        }
        let configs = self.root.join("configs");
        for entry in fs::read_dir(&configs).map_err(|e| unreadable(&configs, &e))? {
            let name = entry.map_err(|e| unreadable(&configs, &e))?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') {
                continue;
            }
            let Some((head, text)) = self.read::<DocumentHead>("document", &format!("configs/{name}"))?
            else {
                continue;
            };
            loaded.fleet.revision = loaded.fleet.revision.max(head.revision);
            loaded.origins.insert(head.key.clone(), head.origin);
            loaded.fleet.documents.insert(head.key, Document { text, revision: head.revision });
        }
        let mut memory = self.memory();
        memory.revision = memory.revision.max(loaded.fleet.revision);
        Ok(loaded)
    }

    fn save(&self, changes: Vec<Change>) -> Result<(), StateError> {
        let mut memory = self.memory();
        let mut touched: BTreeMap<u32, BTreeMap<TaskId, LaunchRecord>> = BTreeMap::new();
        let mut left = memory.left.clone();
        for change in changes {
            match change {
                Change::Rollout(record) => self.write("rollout", "rollout", &record, "")?,
                Change::Framework(id) => {
                    let record = FrameworkRecord { id, torn_down: None };
                    self.write("framework", "framework", &record, "")?;
                }
                Change::TearDown { framework: id, since } => {
                    let record = FrameworkRecord { id, torn_down: Some(since) };
                    self.write("framework", "framework", &record, "")?;
                }
                Change::Launch(record) => {
                    let shard = shard_of(&record);
                    let held = touched.entry(shard).or_insert_with(|| memory.shard(shard));
                    held.insert(record.task.clone(), record);
                }
                Change::Left(of) => drop(left.insert(of.agent.clone(), of)),
                Change::Forgotten(agent) => drop(left.remove(&agent)),
                Change::Authority(fingerprint) => {
                    self.write("authority", "control-authority", &AuthorityRecord { fingerprint }, "")?;
                }
                Change::Ended(task) => {
                    for shard in 0..SHARDS {
                        let known = touched.get(&shard).or_else(|| memory.shards.get(&shard));
                        if known.is_some_and(|held| held.contains_key(&task)) {
                            touched.entry(shard).or_insert_with(|| memory.shard(shard)).remove(&task);
                        }
                    }
                }
            }
        }
        // Before the launches that left it are forgotten.
        if left != memory.left {
            self.write("left", "left", &left, "")?;
            memory.left = left;
        }
        for (shard, held) in touched {
            self.write("launches", &shard_name(shard), &held, "")?;
            memory.shards.insert(shard, held);
        }
        Ok(())
    }

    fn change(&self, change: &DocumentChange) -> Result<(), StateError> {
        let found = self.memory().revision;
        if found != change.on_top_of {
            let place = self.root.join("fleet").display().to_string();
            return Err(StateError::Conflict { place, expected: change.on_top_of, found });
        }
        let record = FleetRecord { revision: change.revision(), nonce: String::new(), epoch: 0 };
        self.write("fleet", "fleet", &record, "")?;
        // From here on the revision is used, whatever becomes of the document.
        self.memory().revision = change.revision();
        let name = format!("configs/{}", document_name(&change.key));
        match &change.to {
            Some((text, origin)) => {
                let head = DocumentHead {
                    key: change.key.clone(),
                    revision: change.revision(),
                    origin: origin.clone(),
                    epoch: 0,
                };
                self.write("document", &name, &head, text)
            }
            None => self.remove(&name),
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T: serde::de::DeserializeOwned>(
        &self,
        kind: &str,
        name: &str,
    ) -> Result<Option<(T, String)>, StateError> {
        let path = self.root.join(name);
        match fs::read(&path) {
            Ok(bytes) => record::decode(kind, &path.display().to_string(), &bytes).map(Some),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(unreadable(&path, &e)),
        }
    }

    fn write(
        &self,
        kind: &str,
        name: &str,
        head: &impl serde::Serialize,
        text: &str,
    ) -> Result<(), StateError> {
        let path = self.root.join(name);
        let bytes = record::encode(kind, head, text)?;
        let parent = path.parent().unwrap_or(&self.root);
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        let temp = parent.join(format!(".{file_name}.new"));
        let written =
            File::create(&temp).and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
        written.and_then(|()| fs::rename(&temp, &path)).map_err(|e| unavailable(&path, &e))?;
        sync(parent)
    }

    fn remove(&self, name: &str) -> Result<(), StateError> {
        let path = self.root.join(name);
        match fs::remove_file(&path) {
            Ok(()) => sync(path.parent().unwrap_or(&self.root)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(unavailable(&path, &e)),
        }
    }
}

/// Makes a rename or a removal in a directory durable. If that fails, nobody knows whether it is.
fn sync(dir: &Path) -> Result<(), StateError> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|e| StateError::Unknown { place: dir.display().to_string(), why: e.to_string() })
}

fn shard_of(record: &LaunchRecord) -> u32 {
    crc32fast::hash(record.agent.0.as_bytes()) % SHARDS
}

fn shard_name(shard: u32) -> String {
    format!("launches/{shard:02}")
}

fn unavailable(path: &Path, error: &std::io::Error) -> StateError {
    StateError::Unavailable { place: path.display().to_string(), why: error.to_string() }
}

fn unreadable(path: &Path, error: &std::io::Error) -> StateError {
    let why = format!("{error}; make it readable for this program, then it goes on by itself");
    StateError::Unreadable { place: path.display().to_string(), why }
}
