//! Writes down what a later run of the agent must know, and reads it back.
//!
//! Invariants: an update is written before it is acknowledged to its executor; an executor before its container starts;
//! its process as soon as it runs. `*.info` files are replaced as a whole; `task.updates` only grows. A record that is
//! cut off or damaged at the end of `task.updates` (the agent died while writing) ends the file; the next write goes
//! over it. A damaged `*.info` file leaves out what it describes, with a warning. Nothing is forced to the disk but the
//! agent's id: a machine that loses power loses its executors too.
//!
//! Format: `*.info` are checked files (`files.rs`) with one protobuf message. `task.updates` is a row of records: length
//! (u32), CRC-32 (u32), both little endian, and a message that holds a status or the uuid of an acknowledged one.
//! `pids/forked.pid` holds the process number, `pids/started` its start time. `executor.sentinel` marks a run that is over.

use super::core::{ContainerId, Keep, RecoveredExecutor, RecoveredFramework, RecoveredTask, RunKey};
use super::layout::{self, Layout};
use super::process::Process;
use crate::error::Error;
use crate::files;
use crate::ids::{AgentId, ExecutorId, FrameworkId, TaskId};
use prost::Message;
use proto::mesos::v1 as mesos;
use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 5] = b"LHMI\x01";
/// So many sandboxes of ended executors are kept.
const KEPT_SANDBOXES: usize = 20;

/// A change of the status of a task.
#[derive(Clone, PartialEq, Message)]
struct UpdateRecord {
    #[prost(message, optional, tag = "1")]
    status: Option<mesos::TaskStatus>,
    #[prost(bytes = "vec", optional, tag = "2")]
    acknowledged: Option<Vec<u8>>,
}

/// The written side of one agent.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    work_dir: PathBuf,
    layout: Option<Layout>,
    completed: VecDeque<(PathBuf, PathBuf)>,
}

/// What an earlier run of the agent left.
#[derive(Debug, Default)]
pub(crate) struct Left {
    pub(crate) info: Option<mesos::AgentInfo>,
    pub(crate) frameworks: Vec<RecoveredFramework>,
}

impl Checkpoint {
    /// Opens what is written under a work directory and reads it.
    pub(crate) fn open(work_dir: &Path) -> Result<(Self, Left), Error> {
        let mut checkpoint = Self { work_dir: work_dir.to_owned(), layout: None, completed: VecDeque::new() };
        let same_boot = checkpoint.same_boot()?;
        let Ok(current) = fs::canonicalize(layout::latest(work_dir)) else {
            return Ok((checkpoint, Left::default()));
        };
        let Some(id) = current.file_name().and_then(|name| name.to_str()).map(|id| AgentId(id.to_owned()))
        else {
            return Ok((checkpoint, Left::default()));
        };
        let layout = Layout::new(work_dir, &id);
        let info: Option<mesos::AgentInfo> = read_message(&layout.agent_info())?;
        let mut left = Left { info, frameworks: Vec::new() };
        for framework in directories(&layout.meta_frameworks()) {
            let directory = layout.meta_framework(&FrameworkId(framework));
            let path = directory.join("framework.info");
            let Some(info) = read_or_warn::<mesos::FrameworkInfo>(&path) else {
                end_orphans(&directory, same_boot);
                continue;
            };
            let Some(id) = info.id.as_ref().map(FrameworkId::from) else { continue };
            let executors = checkpoint.read_executors(&layout, &id, same_boot);
            left.frameworks.push(RecoveredFramework { info, executors });
        }
        checkpoint.layout = Some(layout);
        checkpoint.prune();
        Ok((checkpoint, left))
    }

    /// Whether the machine still runs as it did when process numbers were written.
    fn same_boot(&self) -> Result<bool, Error> {
        let path = layout::boot_id(&self.work_dir);
        let current = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let same = fs::read_to_string(&path).is_ok_and(|written| written == current);
        if !same {
            files::replace(&path, current.as_bytes())?;
        }
        Ok(same)
    }

    fn read_executors(
        &mut self,
        layout: &Layout,
        framework: &FrameworkId,
        same_boot: bool,
    ) -> Vec<RecoveredExecutor> {
        let mut executors = Vec::new();
        for name in directories(&layout.meta_framework(framework).join("executors")) {
            let executor = ExecutorId(name);
            let directory = layout.meta_executor(framework, &executor);
            let Some(info) = read_or_warn::<mesos::ExecutorInfo>(&directory.join("executor.info")) else {
                continue;
            };
            for container in directories(&directory.join("runs")) {
                let run = RunKey {
                    framework: framework.clone(),
                    executor: executor.clone(),
                    container: ContainerId(container),
                };
                if layout.meta_run(&run).join("executor.sentinel").exists() {
                    self.completed.push_back((layout.sandbox(&run), directory.clone()));
                } else {
                    executors.push(read_run(layout, &run, &info, same_boot));
                }
            }
        }
        executors
    }

    /// Writes one thing down.
    pub(crate) fn keep(&mut self, keep: &Keep) -> Result<(), Error> {
        if let Keep::Agent(info) = keep {
            return self.keep_agent(info);
        }
        let Some(layout) = &self.layout else { return Ok(()) };
        match keep {
            Keep::Agent(_) => Ok(()),
            Keep::Framework(info) => {
                let id =
                    info.id.as_ref().map(FrameworkId::from).unwrap_or_else(|| FrameworkId(String::new()));
                write_message(&layout.meta_framework(&id).join("framework.info"), &**info)
            }
            Keep::Executor(run, info) => {
                make_directory(&layout.meta_run(run).join("tasks"))?;
                write_message(
                    &layout.meta_executor(&run.framework, &run.executor).join("executor.info"),
                    &**info,
                )
            }
            Keep::Process(run, process) => {
                let pids = layout.meta_run(run).join("pids");
                files::replace(&pids.join("started"), process.started.to_string().as_bytes())?;
                files::replace(&pids.join("forked.pid"), process.pid.to_string().as_bytes())
            }
            Keep::Task(run, info) => {
                let task = TaskId::from(&info.task_id);
                write_message(&layout.meta_task(run, &task).join("task.info"), &**info)
            }
            Keep::Update(run, task, status) => {
                let record = UpdateRecord { status: Some((**status).clone()), acknowledged: None };
                append(&layout.meta_task(run, task).join("task.updates"), &record)
            }
            Keep::Acknowledged(run, task, uuid) => {
                let record = UpdateRecord { status: None, acknowledged: Some(uuid.clone()) };
                append(&layout.meta_task(run, task).join("task.updates"), &record)
            }
            Keep::Completed(run) => {
                files::replace(&layout.meta_run(run).join("executor.sentinel"), b"")?;
                let meta = layout.meta_executor(&run.framework, &run.executor);
                self.completed.push_back((layout.sandbox(run), meta));
                self.prune();
                Ok(())
            }
            Keep::ForgetFramework(id) => {
                remove(&layout.meta_framework(id));
                Ok(())
            }
        }
    }

    fn keep_agent(&mut self, info: &mesos::AgentInfo) -> Result<(), Error> {
        let Some(id) = info.id.as_ref().map(AgentId::from) else { return Ok(()) };
        let layout = Layout::new(&self.work_dir, &id);
        write_message(&layout.agent_info(), info)?;
        let latest = layout::latest(&self.work_dir);
        let beside = latest.with_extension("new");
        let linked = fs::remove_file(&beside)
            .or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
            .and_then(|()| symlink(layout.meta(), &beside))
            .and_then(|()| fs::rename(&beside, &latest));
        linked.map_err(|source| Error::File { doing: "link", path: latest, source })?;
        self.layout = Some(layout);
        Ok(())
    }

    /// Removes the oldest sandboxes when there are too many.
    fn prune(&mut self) {
        while self.completed.len() > KEPT_SANDBOXES {
            if let Some((sandbox, meta)) = self.completed.pop_front() {
                remove(&sandbox);
                remove(&meta);
                if let Some(executor) = sandbox.parent().and_then(Path::parent) {
                    remove(executor);
                }
            }
        }
    }
}

fn read_run(layout: &Layout, run: &RunKey, info: &mesos::ExecutorInfo, same_boot: bool) -> RecoveredExecutor {
    let directory = layout.meta_run(run);
    let process = read_process(&directory).filter(|_| same_boot);
    let tasks = directories(&directory.join("tasks"))
        .into_iter()
        .filter_map(|task| {
            let task = layout.meta_task(run, &TaskId(task));
            let info: mesos::TaskInfo = read_or_warn(&task.join("task.info"))?;
            let (updates, acknowledged) = read_updates(&task.join("task.updates"));
            Some(RecoveredTask { info, updates, acknowledged })
        })
        .collect();
    RecoveredExecutor { info: info.clone(), container: run.container.clone(), process, tasks }
}

fn read_process(run: &Path) -> Option<Process> {
    let number =
        |name: &str| fs::read_to_string(run.join("pids").join(name)).ok()?.trim().parse::<u64>().ok();
    let pid = u32::try_from(number("forked.pid")?).ok()?;
    Some(Process { pid, started: number("started")? })
}

/// Executors of a framework that does not want to be remembered do not outlive their agent.
fn end_orphans(framework: &Path, same_boot: bool) {
    let executors = framework.join("executors");
    let runs = directories(&executors).into_iter().map(|executor| executors.join(executor).join("runs"));
    for run in runs.flat_map(|runs| directories(&runs).into_iter().map(move |run| runs.join(run))) {
        if let Some(process) = read_process(&run).filter(|process| same_boot && process.is_alive()) {
            process.kill_group();
        }
    }
    remove(framework);
}

fn read_updates(path: &Path) -> (Vec<mesos::TaskStatus>, Vec<Vec<u8>>) {
    let bytes = fs::read(path).unwrap_or_default();
    let (records, sound) = decode_records(&bytes);
    if sound < bytes.len() {
        tracing::warn!(path = %path.display(), at = sound, "cut-off record at the end of updates is left out");
        let cut = OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(sound as u64));
        if let Err(error) = cut {
            tracing::warn!(path = %path.display(), %error, "cannot cut the damaged end off");
        }
    }
    let mut updates = Vec::new();
    let mut acknowledged = Vec::new();
    for record in records {
        updates.extend(record.status);
        acknowledged.extend(record.acknowledged);
    }
    (updates, acknowledged)
}

/// All whole records, and where the first bad one starts.
fn decode_records(bytes: &[u8]) -> (Vec<UpdateRecord>, usize) {
    let mut records = Vec::new();
    let mut rest = bytes;
    while let Some((record, after)) = decode_record(rest) {
        records.push(record);
        rest = after;
    }
    (records, bytes.len() - rest.len())
}

fn decode_record(bytes: &[u8]) -> Option<(UpdateRecord, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let (payload, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    if crc32fast::hash(payload) != u32::from_le_bytes(*sum) {
        return None;
    }
    Some((UpdateRecord::decode(payload).ok()?, rest))
}

fn encode_record(record: &UpdateRecord) -> Vec<u8> {
    let payload = record.encode_to_vec();
    let mut bytes = Vec::with_capacity(8 + payload.len());
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    bytes.extend_from_slice(&payload);
    bytes
}

fn append(path: &Path, record: &UpdateRecord) -> Result<(), Error> {
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(&encode_record(record)));
    written.map_err(|source| Error::File { doing: "append to", path: path.to_owned(), source })
}

fn write_message<M: Message>(path: &Path, message: &M) -> Result<(), Error> {
    files::write_checked(path, MAGIC, &message.encode_to_vec())
}

fn read_message<M: Message + Default>(path: &Path) -> Result<Option<M>, Error> {
    let Some(payload) = files::read_checked(path, MAGIC)? else { return Ok(None) };
    M::decode(payload.as_slice())
        .map(Some)
        .map_err(|problem| Error::Damaged { path: path.to_owned(), problem: problem.to_string() })
}

fn read_or_warn<M: Message + Default>(path: &Path) -> Option<M> {
    read_message(path).unwrap_or_else(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "left out");
        None
    })
}

fn make_directory(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| Error::File { doing: "create", path: path.to_owned(), source })
}

/// The names of the directories in a directory, sorted; links do not count.
fn directories(path: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    names
}

fn remove(path: &Path) {
    match fs::remove_dir_all(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(path = %path.display(), %error, "cannot remove"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = UpdateRecord> {
        let uuid = proptest::collection::vec(any::<u8>(), 0..20);
        (uuid, any::<bool>()).prop_map(|(uuid, acknowledged)| {
            let status = mesos::TaskStatus { uuid: Some(uuid.clone()), ..Default::default() };
            if acknowledged {
                UpdateRecord { status: None, acknowledged: Some(uuid) }
            } else {
                UpdateRecord { status: Some(status), acknowledged: None }
            }
        })
    }

    proptest! {
        #[test]
        fn a_file_that_was_cut_off_keeps_its_whole_records(
            records in proptest::collection::vec(record(), 0..8), lost in 0_usize..200
        ) {
            let encoded: Vec<Vec<u8>> = records.iter().map(encode_record).collect();
            let whole = encoded.concat();
            let cut = &whole[..whole.len() - lost.min(whole.len())];
            let (read, sound) = decode_records(cut);
            let expected = {
                let mut ends = encoded.iter().scan(0, |end, record| { *end += record.len(); Some(*end) });
                ends.by_ref().take_while(|end| *end <= cut.len()).count()
            };
            prop_assert_eq!(&read[..], &records[..expected]);
            prop_assert_eq!(sound, encoded[..expected].concat().len());
        }

        #[test]
        fn damage_is_left_out_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (_, sound) = decode_records(&bytes);
            prop_assert!(sound <= bytes.len());
        }
    }

    #[test]
    fn what_was_kept_is_read_back_without_what_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let (mut checkpoint, left) = Checkpoint::open(dir.path()).unwrap();
        assert!(left.info.is_none());
        let framework_id = mesos::FrameworkId { value: "F".into() };
        let info = mesos::AgentInfo { id: Some(mesos::AgentId { value: "S0".into() }), ..Default::default() };
        let framework = mesos::FrameworkInfo { id: Some(framework_id.clone()), ..Default::default() };
        let task = mesos::TaskInfo { task_id: mesos::TaskId { value: "t".into() }, ..Default::default() };
        let status = mesos::TaskStatus { uuid: Some(vec![1]), ..Default::default() };
        checkpoint.keep(&Keep::Agent(Box::new(info))).unwrap();
        checkpoint.keep(&Keep::Framework(Box::new(framework))).unwrap();
        let run = |name: &str| RunKey {
            framework: FrameworkId("F".into()),
            executor: ExecutorId(name.into()),
            container: ContainerId(format!("container of {name}")),
        };
        for name in ["live", "over"] {
            let executor = mesos::ExecutorInfo {
                executor_id: mesos::ExecutorId { value: name.into() },
                framework_id: Some(framework_id.clone()),
                ..Default::default()
            };
            checkpoint.keep(&Keep::Executor(run(name), Box::new(executor))).unwrap();
            checkpoint.keep(&Keep::Process(run(name), Process { pid: 7, started: 11 })).unwrap();
            checkpoint.keep(&Keep::Task(run(name), Box::new(task.clone()))).unwrap();
        }
        let of_task = TaskId("t".into());
        checkpoint.keep(&Keep::Update(run("live"), of_task.clone(), Box::new(status))).unwrap();
        checkpoint.keep(&Keep::Acknowledged(run("live"), of_task, vec![1])).unwrap();
        checkpoint.keep(&Keep::Completed(run("over"))).unwrap();
        let (_, left) = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(left.info.unwrap().id.unwrap().value, "S0");
        let executors = &left.frameworks[0].executors;
        assert_eq!(executors.len(), 1);
        assert_eq!(executors[0].container, run("live").container);
        assert_eq!(executors[0].process, Some(Process { pid: 7, started: 11 }));
        assert_eq!(executors[0].tasks[0].updates.len(), 1);
        assert_eq!(executors[0].tasks[0].acknowledged, [vec![1]]);
    }
}
