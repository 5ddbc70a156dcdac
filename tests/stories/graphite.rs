//! Story: a real Carbon stores numbers; it is stopped, the inputs wait, and what came meanwhile is stored as well.

use crate::eventually::eventually;
use crate::service::{Peer, accepts, answer, program};
use crate::world::{START, World, free_port};
use std::path::PathBuf;
use std::process::Command;

struct Carbon {
    port: u16,
    whisper: PathBuf,
    fetch: PathBuf,
    service: Peer,
}

/// The first second of the numbers: within what Carbon keeps, the last day.
fn begin() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_secs() - 20_000
}

impl Carbon {
    async fn here(world: &World) -> Option<Self> {
        let server = program("carbon-cache", "graphite-carbon")?;
        let fetch = program("whisper-fetch", "graphite-carbon")?;
        let (port, dir) = (free_port(), world.path("carbon"));
        std::fs::create_dir(&dir).unwrap();
        let shown = dir.display();
        let settings = format!(
            "[cache]\nSTORAGE_DIR = {shown}/\nLOCAL_DATA_DIR = {shown}/whisper/\nCONF_DIR = {shown}/\n\
            LOG_DIR = {shown}/log/\nPID_DIR = {shown}/\nUSER =\nENABLE_LOGROTATION = False\nENABLE_TAGS = False\n\
            MAX_CREATES_PER_MINUTE = inf\nMAX_UPDATES_PER_SECOND = inf\nMAX_UPDATES_PER_SECOND_ON_SHUTDOWN = inf\n\
            LINE_RECEIVER_INTERFACE = 127.0.0.1\nLINE_RECEIVER_PORT = {port}\nPICKLE_RECEIVER_INTERFACE = 127.0.0.1\n\
            PICKLE_RECEIVER_PORT = {}\nCACHE_QUERY_INTERFACE = 127.0.0.1\nCACHE_QUERY_PORT = {}\n",
            free_port(),
            free_port()
        );
        std::fs::write(dir.join("carbon.conf"), settings).unwrap();
        std::fs::write(dir.join("storage-schemas.conf"), "[all]\npattern = .*\nretentions = 1s:1d\n")
            .unwrap();
        let mut command = Command::new(server);
        command.arg(format!("--config={shown}/carbon.conf")).args(["--nodaemon", "start"]);
        let service = Peer::start(world, "carbon", command);
        let carbon = Self { port, whisper: dir.join("whisper"), fetch, service };
        accepts("Carbon listens", port).await;
        Some(carbon)
    }

    /// The values that a metric has from a second on, whatever the seconds between them.
    async fn values(&self, metric: &str, from: u64) -> Result<Vec<f64>, String> {
        let file = self.whisper.join(metric.replace('.', "/")).with_extension("wsp");
        let mut command = Command::new(&self.fetch);
        command.arg(format!("--from={}", from - 1)).arg(file);
        let printed = answer(command).await?;
        Ok(printed.lines().filter_map(|line| line.split('\t').nth(1)?.parse().ok()).collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_reach_carbon_and_those_that_came_while_it_was_down_as_well() {
    const HALF: u64 = 5_000;
    let world = World::new().await;
    let Some(mut carbon) = Carbon::here(&world).await else { return };
    let begin = begin();
    let config = format!(
        r#"{} filter {{ grok {{ match => {{ message => "line %{{INT:second}} %{{INT:n}}" }} }}
            date {{ match => ["second", "UNIX"] }} }}
        output {{ graphite {{ host => "127.0.0.1" port => {} metrics => {{ "story.lines" => "%{{n}}" }} }} }}"#,
        world.follows("in.txt"),
        carbon.port
    );
    let append = |from: u64, to: u64| {
        let lines: String = (from..=to).map(|n| format!("line {} {n}\n", begin + n)).collect();
        world.write("in.txt", &lines);
    };
    let stored = async |carbon: &Carbon, count: u64| match carbon.values("story.lines", begin).await? {
        values if values.len() as u64 >= count => Ok(values),
        values => Err(format!("{} numbers", values.len())),
    };
    append(1, HALF);
    let run = world.run(&config, &[]).await;
    eventually("the first half", START, async || stored(&carbon, HALF).await).await;
    carbon.service.end().await;
    append(HALF + 1, 2 * HALF);
    let told = async || match run.printed() {
        printed if printed.contains("send to 127.0.0.1") => Ok(()),
        printed => Err(printed),
    };
    eventually("it is said that Carbon cannot be reached", START, told).await;
    carbon.service.start_again();
    let (values, took) = eventually("both halves", START, async || stored(&carbon, 2 * HALF).await).await;
    println!("{HALF} numbers that waited for Carbon: stored {took:?} after its start");
    let expected: Vec<f64> = (1..=2 * HALF).map(|n| n as f64).collect();
    assert_eq!(values, expected);
}
