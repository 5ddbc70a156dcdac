//! `logherd dlq`: lists, shows and sends again the events that outputs were refused for good.
use crate::exit::Exit;
use crate::run;
use crate::terminal::{complain, say, table};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use config::settings::{DeadLetterSettings, DialectSettings, DlqFormat, DlqSettings, Sources};
use pipeline::{DeadLetter, DeadLetterSummary, Surroundings};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// List the pipelines that have dead letters.
    List(DlqSettings),
    /// Print the dead letters of a pipeline, the oldest first.
    Show(ShowArguments),
    /// Send the dead letters of a pipeline once more to the outputs that refused them, and remove those that arrive.
    Replay(Box<ReplayArguments>),
}

/// Which letters to print.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// The id of the pipeline.
    #[arg(default_value = run::PIPELINE)]
    pipeline: String,
    /// Print only the last so many.
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// Where they are.
    #[command(flatten)]
    dlq: DlqSettings,
}

/// What to send again, and where to.
#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    /// The id of the pipeline.
    #[arg(default_value = run::PIPELINE)]
    pipeline: String,
    /// The configuration with the outputs. Its inputs and filters are not run: the events were filtered before.
    #[command(flatten)]
    sources: Sources,
    /// How it is read.
    #[command(flatten)]
    dialect: DialectSettings,
    /// Send all letters to the output with this id, whichever output refused them.
    #[arg(long, value_name = "OUTPUT")]
    to: Option<String>,
    /// How long stopping may take.
    #[arg(long, env = "LOGHERD_STOP_DEADLINE", default_value = "30s", value_parser = humantime::parse_duration)]
    stop_deadline: Duration,
    /// Where they are.
    #[command(flatten)]
    dlq: DlqSettings,
    /// What is kept of events that are refused again.
    #[command(flatten)]
    limits: DeadLetterSettings,
}

/// Does it.
pub(crate) async fn call(command: DlqCommand, stop: CancellationToken) -> anyhow::Result<Exit> {
    match command {
        DlqCommand::List(settings) => list(&settings),
        DlqCommand::Show(arguments) => show(&arguments),
        DlqCommand::Replay(arguments) => replay(*arguments, stop).await,
    }
}

fn list(settings: &DlqSettings) -> anyhow::Result<Exit> {
    let data_dir = settings.data_dir();
    let found = summaries(&data_dir)?;
    match settings.format {
        DlqFormat::Json => found.iter().for_each(|summary| say(&summary_json(summary).to_string())),
        DlqFormat::Text if found.is_empty() => say(&format!("no dead letters in `{}`", data_dir.display())),
        DlqFormat::Text => {
            let heading = ["PIPELINE", "LETTERS", "SIZE", "FIRST", "LAST", ""].map(str::to_owned).to_vec();
            let rows = found.iter().map(row);
            say(&table(&[heading].into_iter().chain(rows).collect::<Vec<_>>()));
        }
    }
    Ok(Exit::Fine)
}

fn summaries(data_dir: &Path) -> anyhow::Result<Vec<DeadLetterSummary>> {
    pipeline::dead_letter_summaries(data_dir)
        .with_context(|| format!("read the dead letters in `{}`", data_dir.display()))
}

fn row(summary: &DeadLetterSummary) -> Vec<String> {
    let (first, last) = summary.first_and_last.unzip();
    let shown = |time: Option<String>| time.unwrap_or_else(|| "-".to_owned());
    let damaged = match summary.damaged_bytes {
        0 => String::new(),
        bytes => format!("{bytes} bytes cannot be read"),
    };
    vec![
        summary.pipeline.clone(),
        summary.letters.to_string(),
        bytesize::ByteSize(summary.bytes).to_string(),
        shown(first.map(|time| time.to_string())),
        shown(last.map(|time| time.to_string())),
        damaged,
    ]
}

fn summary_json(summary: &DeadLetterSummary) -> serde_json::Value {
    let (first, last) = summary.first_and_last.unzip();
    serde_json::json!({
        "pipeline": summary.pipeline,
        "letters": summary.letters,
        "bytes": summary.bytes,
        "damaged_bytes": summary.damaged_bytes,
        "first": first.map(|time| time.to_string()),
        "last": last.map(|time| time.to_string()),
    })
}

fn show(arguments: &ShowArguments) -> anyhow::Result<Exit> {
    let data_dir = arguments.dlq.data_dir();
    let letters = || pipeline::dead_letters(&data_dir, &arguments.pipeline);
    let all = match arguments.last {
        Some(_) => letters().count(),
        None => 0,
    };
    let skip = arguments.last.map_or(0, |last| all.saturating_sub(last));
    let mut any = false;
    for letter in letters().skip(skip) {
        let letter = letter.with_context(|| format!("read the dead letters of `{}`", arguments.pipeline))?;
        any = true;
        say(&match arguments.dlq.format {
            DlqFormat::Json => letter.to_json(),
            DlqFormat::Text => for_people(&letter),
        });
    }
    if !any && arguments.dlq.format == DlqFormat::Text {
        say(&format!(
            "the pipeline `{}` has no dead letters in `{}`",
            arguments.pipeline,
            data_dir.display()
        ));
    }
    Ok(Exit::Fine)
}

fn for_people(letter: &DeadLetter) -> String {
    let clean = |text: &str| text.chars().map(|c| if c.is_control() { '?' } else { c }).collect::<String>();
    format!(
        "{}  {} ({})  {}\n    {}",
        letter.time,
        clean(&letter.plugin_id),
        clean(&letter.plugin_type),
        clean(&letter.reason),
        letter.event.to_json()
    )
}

async fn replay(arguments: ReplayArguments, stop: CancellationToken) -> anyhow::Result<Exit> {
    let data_dir = arguments.dlq.data_dir();
    let id = &arguments.pipeline;
    let Some(plan) = run::plan(&arguments.sources, arguments.dialect) else {
        return Ok(Exit::BadConfiguration);
    };
    let _lock = run::lock(&data_dir)?;
    // What comes from now on, also from a pipeline that runs beside this, is not sent and stays.
    let last = pipeline::set_dead_letters_apart(&data_dir, id)
        .with_context(|| format!("set the dead letters of `{id}` apart"))?;
    let (mut count, mut wanted) = (0_u64, BTreeSet::new());
    for letter in pipeline::dead_letters(&data_dir, id) {
        let letter = letter.with_context(|| format!("read the dead letters of `{id}`"))?;
        if letter.number > last {
            break;
        }
        count += 1;
        wanted.insert(letter.plugin_id);
    }
    if count == 0 {
        say(&format!("the pipeline `{id}` has no dead letters in `{}`", data_dir.display()));
        return Ok(Exit::Fine);
    }
    let there = plan.output_ids().join("`, `");
    let directory = pipeline::dead_letter_directory(&data_dir, id);
    let plan = match plan.replaying(&directory, last, &wanted, arguments.to.as_deref()) {
        Ok(plan) => plan,
        Err(missing) => {
            complain(&format!(
                "error: the configuration has no output with the id `{}`; its outputs are `{there}`. \
                 Choose one of them by --to OUTPUT; nothing was sent",
                missing.join("`, `")
            ));
            return Ok(Exit::BadConfiguration);
        }
    };
    let mut around = Surroundings::new(&data_dir, run::host_name(), id);
    around.dead_letters = run::dead_letters(&arguments.limits);
    let counters = Box::pin(pipeline::run_to_end(plan, around, stop.clone(), arguments.stop_deadline))
        .await
        .context("send dead letters")?;
    let (sent, again) = (counters.events_out, counters.dead_letters);
    if stop.is_cancelled() {
        say(&format!("{sent} sent, {again} of them refused again; stopped before the end, call it again"));
        return Ok(Exit::Failed);
    }
    if counters.events_in != count || sent != count {
        complain(&format!(
            "error: {sent} of {count} dead letters were sent; those that were not are still there, call it again"
        ));
        return Ok(Exit::Failed);
    }
    pipeline::remove_dead_letters(&data_dir, id, last).context("remove the dead letters that arrived")?;
    say(&format!("{sent} sent, {again} of them refused again"));
    Ok(if again == 0 { Exit::Fine } else { Exit::Failed })
}
