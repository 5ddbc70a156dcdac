//! `logherd run`: just a pipeline on this machine, until its inputs end or a signal stops it.
pub(crate) mod dlq;
mod node_api;

use crate::check::{self, dialect};
use crate::exit::Exit;
use crate::sources::{self, Depth, Source};
use crate::terminal::complain;
use anyhow::{Context as _, bail};
use config::settings::{
    DeadLetterPolicy, DeadLetterSettings, DialectSettings, QueueSettings, QueueType, RunSettings, Sources,
    environment,
};
use pipeline::{Compiled, DeadLetterLimits, Plan, Scope, SourceText, Surroundings, WhenFull};
use std::fs::{File, TryLockError};
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// What a text given by `-e` has when it has no input, as with Logstash.
const DEFAULT_INPUT: &str = "input { stdin { type => stdin } }";
/// What it has when it has no output.
const DEFAULT_OUTPUT: &str = "output { stdout { codec => rubydebug } }";

/// The id of the pipeline, as with Logstash.
pub(crate) const PIPELINE: &str = "main";

/// Runs the pipeline; positions are saved, so that a second run goes on where the first stopped.
pub(crate) async fn run(settings: RunSettings, stop: CancellationToken) -> anyhow::Result<Exit> {
    let Some(plan) = plan(&settings.sources, settings.dialect) else { return Ok(Exit::BadConfiguration) };
    let data_dir = settings.data_dir();
    let keeps = plan.keeps_positions() || settings.queue.queue_type == QueueType::Persisted;
    let _lock = if keeps { Some(lock(&data_dir)?) } else { None };
    let mut around = Surroundings::new(data_dir, host_name(), PIPELINE);
    around.dead_letters = dead_letters(&settings.dead_letters);
    around.queue = queue(&settings.queue);
    around.workers = std::thread::available_parallelism().map_or(1, usize::from);
    let (host, workers) = (around.host.clone(), around.workers);
    let running = pipeline::start(plan, around).context("run the pipeline")?;
    let end_of_api = CancellationToken::new();
    let mut api = node_api::start(&settings.api, running.view(), host, workers, end_of_api.clone()).await;
    let ended = Box::pin(running.to_end(stop, settings.stop_deadline)).await;
    end_of_api.cancel();
    // A connection that is kept open does not keep the process.
    api.abort_all();
    let counters = ended.context("run the pipeline")?;
    tracing::info!(
        events_in = counters.events_in,
        events_out = counters.events_out,
        "the pipeline has ended"
    );
    Ok(Exit::Fine)
}

/// The disk queue that settings ask for.
fn queue(settings: &QueueSettings) -> Option<pipeline::QueueSettings> {
    (settings.queue_type == QueueType::Persisted).then(|| pipeline::QueueSettings {
        max_bytes: settings.queue_max_bytes.as_u64(),
        max_events: settings.queue_max_events,
        page_bytes: settings.queue_page_capacity.as_u64(),
        sync_events: settings.queue_checkpoint_writes,
        checkpoint: settings.queue_checkpoint_interval,
        drain: settings.queue_drain,
    })
}

/// The limits that settings name.
pub(crate) fn dead_letters(settings: &DeadLetterSettings) -> DeadLetterLimits {
    DeadLetterLimits {
        max_bytes: settings.dead_letter_queue_max_bytes.as_u64(),
        retain: settings.dead_letter_queue_retain_age,
        when_full: match settings.dead_letter_queue_storage_policy {
            DeadLetterPolicy::DropNewer => WhenFull::DropNewer,
            DeadLetterPolicy::DropOlder => WhenFull::DropOlder,
        },
    }
}

/// Locks the data directory: two processes that kept positions in it would lose each other's.
pub(crate) fn lock(data_dir: &Path) -> anyhow::Result<File> {
    let path = data_dir.join("lock");
    let shown = || format!("lock `{}`", path.display());
    std::fs::create_dir_all(data_dir).with_context(shown)?;
    let file = File::options().create(true).truncate(false).write(true).open(&path).with_context(shown)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "use `{}`, where another `logherd run` keeps its positions; give this one its own with --data-dir",
            data_dir.display()
        ),
        Err(TryLockError::Error(error)) => Err(error).with_context(shown),
    }
}

/// Makes the plan of all texts together; says what is wrong with them if there is none.
pub(crate) fn plan(named: &Sources, language: DialectSettings) -> Option<Plan> {
    let (mut found, failed) = sources::read(named, Depth::Own);
    for error in &failed {
        complain(&format!("error: {}", check::chain(error)));
    }
    if !failed.is_empty() {
        return None;
    }
    let plan = compile(language, &found)?;
    let missing = missing(&plan);
    if missing.is_empty() {
        return Some(plan);
    }
    if named.config_string.is_empty() {
        complain(
            "error: the configuration has no input or no output, so that nothing would happen; add what is missing",
        );
        return None;
    }
    found.extend(missing.into_iter().map(|text| Source { name: "default".into(), text: text.into() }));
    // What is to be said of the texts was said.
    all(language, &found).plan
}

fn missing(plan: &Plan) -> Vec<&'static str> {
    let input = (!plan.has_inputs()).then_some(DEFAULT_INPUT);
    let output = (!plan.has_outputs()).then_some(DEFAULT_OUTPUT);
    input.into_iter().chain(output).collect()
}

/// Makes the plan; tells the problems, warnings among them.
fn compile(language: DialectSettings, sources: &[Source]) -> Option<Plan> {
    let compiled = all(language, sources);
    for (text, problems) in &compiled.problems {
        check::show(&Source { name: text.name.into(), text: text.text.into() }, problems);
    }
    if compiled.plan.is_none() {
        complain("the configuration has errors; nothing was started");
    }
    compiled.plan
}

fn all<'a>(language: DialectSettings, sources: &'a [Source]) -> Compiled<'a> {
    let texts: Vec<SourceText<'_>> =
        sources.iter().map(|source| SourceText { name: &source.name, text: &source.text }).collect();
    pipeline::compile_all(dialect(language), Scope::Run, &texts, &environment)
}

/// The name of this machine, for the field `host` of events.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_do_not_keep_positions_in_one_directory() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("run");
        let first = lock(&own).unwrap();
        let refused = lock(&own).unwrap_err().to_string();
        assert!(refused.contains("--data-dir"), "{refused}");
        drop(first);
        lock(&own).unwrap();
    }

    #[test]
    fn only_what_reads_files_keeps_positions() {
        let keeps = |text: &str| pipeline::compile(Scope::Run, text, &|_| None).unwrap().keeps_positions();
        assert!(keeps("input { stdin { } file { path => '/var/log/a.log' } }"));
        assert!(!keeps("input { stdin { } generator { } }"));
        assert!(!keeps("input { file { path => '/var/log/a.log' sincedb_path => '/dev/null' } }"));
    }
}
