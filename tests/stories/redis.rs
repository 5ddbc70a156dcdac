//! Story: a real Redis, as the end and as the beginning of a pipeline; it is killed and none of it is lost.

use crate::eventually::eventually;
use crate::output::{Tally, tally};
use crate::service::{Peer, accepts, answer, program};
use crate::world::{SOON, START, World, free_port};
use std::fmt::Write as _;
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

/// A Redis that has everything on disk before it answers.
pub(crate) struct Redis {
    pub(crate) port: u16,
    client: PathBuf,
    service: Peer,
}

const PASSWORD: &str = "a-secret-of-the-story";

impl Redis {
    pub(crate) async fn here(world: &World) -> Option<Self> {
        let (server, client) =
            (program("redis-server", "redis-server")?, program("redis-cli", "redis-tools")?);
        let (port, dir) = (free_port(), world.path("redis"));
        std::fs::create_dir(&dir).unwrap();
        let mut command = Command::new(server);
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
        command.args(["--requirepass", PASSWORD, "--port", &port.to_string(), "--dir"]).arg(&dir);
        let redis = Self { port, client, service: Peer::start(world, "redis-server", command) };
        redis.up().await;
        Some(redis)
    }

    async fn up(&self) {
        accepts("Redis listens", self.port).await;
        eventually("Redis answers", START, async || self.ask(&["PING"]).await).await;
    }

    pub(crate) fn kill(&mut self) {
        self.service.kill();
    }

    pub(crate) async fn start_again(&mut self) {
        self.service.start_again();
        self.up().await;
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.client);
        command.args(["-e", "-p", &self.port.to_string()]).env("REDISCLI_AUTH", PASSWORD);
        command
    }

    /// What `redis-cli` prints for a command.
    pub(crate) async fn ask(&self, words: &[&str]) -> Result<String, String> {
        let mut command = self.command();
        command.args(words);
        Ok(answer(command).await?.trim_end().to_owned())
    }

    /// Appends numbered values to a list.
    fn push(&self, world: &World, list: &str, numbers: std::ops::RangeInclusive<usize>) {
        let mut commands = String::new();
        for number in numbers {
            writeln!(commands, r#"RPUSH {list} '{{"message":"line {number}."}}'"#).unwrap();
        }
        let path = world.path("commands");
        std::fs::write(&path, commands).unwrap();
        let done = self.command().stdin(File::open(path).unwrap()).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    /// The lines that a list holds.
    pub(crate) async fn tally(&self, list: &str) -> Result<Tally, String> {
        Ok(tally(&self.ask(&["LRANGE", list, "0", "-1"]).await?, "line ", "."))
    }

    /// What a plugin is to be told to reach it.
    pub(crate) fn options(&self) -> String {
        format!(r#"port => {} password => "${{STORY_PASSWORD:{PASSWORD}}}""#, self.port)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_a_list_of_redis_which_is_killed_in_the_middle() {
    const LINES: usize = 20_000;
    let world = World::new().await;
    let Some(mut redis) = Redis::here(&world).await else { return };
    let config = format!(
        r#"{} output {{ redis {{ {} data_type => list key => "story"
            codec => plain {{ format => "%{{message}}" }} }} }}"#,
        world.follows("in.txt"),
        redis.options()
    );
    world.append("in.txt", 1..=LINES / 2);
    let run = world.run(&config, &[]).await;
    let some = async || match redis.tally("story").await?.lines {
        lines if lines >= 100 => Ok(()),
        lines => Err(format!("{lines} lines")),
    };
    eventually("some lines are in the list", SOON, some).await;
    redis.kill();
    world.append("in.txt", LINES / 2 + 1..=LINES);
    let told = async || match run.printed() {
        printed if printed.contains("connect to 127.0.0.1") => Ok(()),
        printed => Err(printed),
    };
    eventually("it is said that Redis cannot be reached", SOON, told).await;
    redis.start_again().await;
    let all = async || match redis.tally("story").await? {
        tally if tally.distinct == LINES => Ok(tally),
        tally => Err(format!("{tally:?}")),
    };
    let (tally, took) = eventually("every line is in the list", START, all).await;
    println!("{LINES} lines into a list of Redis across its kill, {took:?}: {} duplicates", tally.duplicates);
    assert_eq!((tally.torn, tally.first_missing), (0, None));
    assert!(!run.printed().contains(PASSWORD), "{}", run.printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_a_list_of_redis_comes_out_once_also_after_the_server_was_killed() {
    const LINES: usize = 10_000;
    let world = World::new().await;
    let Some(mut redis) = Redis::here(&world).await else { return };
    let config = format!(
        r#"input {{ redis {{ {} data_type => list key => "story" }} }} {}"#,
        redis.options(),
        world.writes("out.log")
    );
    redis.push(&world, "story", 1..=LINES / 2);
    let run = world.run(&config, &[]).await;
    let output = world.output("out.log");
    let out = async |count: usize| match output.count() {
        lines if lines >= count => Ok(()),
        lines => Err(format!("{lines} lines")),
    };
    eventually("what waited is out", START, async || out(LINES / 2).await).await;
    redis.kill();
    redis.start_again().await;
    redis.push(&world, "story", LINES / 2 + 1..=LINES);
    eventually("what came later is out", START, async || out(LINES).await).await;
    let expected = Tally { lines: LINES, distinct: LINES, ascending: true, ..Tally::default() };
    assert_eq!(output.tally("line ", "."), expected);
    assert_eq!(redis.ask(&["LLEN", "story"]).await.unwrap(), "0", "taken");
    assert!(!run.printed().contains(PASSWORD), "{}", run.printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_on_channels_comes_out_with_the_name_of_its_channel_and_again_after_a_kill() {
    let world = World::new().await;
    let Some(mut redis) = Redis::here(&world).await else { return };
    let (options, out) = (redis.options(), world.path("out.log").display().to_string());
    let config = format!(
        r#"input {{ redis {{ {options} data_type => channel key => "news" }}
                    redis {{ {options} data_type => pattern_channel key => "app.*" }} }}
        output {{ file {{ path => "{out}" codec => line {{ format => "%{{[@metadata][redis_channel]}} %{{n}}" }} }} }}"#
    );
    let run = world.run(&config, &[]).await;
    let output = world.output("out.log");
    let listening = async |redis: &Redis| {
        let on_channel = redis.ask(&["PUBSUB", "NUMSUB", "news"]).await?;
        let on_pattern = redis.ask(&["PUBSUB", "NUMPAT"]).await?;
        let both = on_channel == "news\n1" && on_pattern == "1";
        if both { Ok(()) } else { Err(format!("{on_channel:?} {on_pattern:?}")) }
    };
    for round in 1..=2 {
        eventually("both listen", SOON, async || listening(&redis).await).await;
        for channel in ["news", "app.web", "app.db", "other"] {
            redis.ask(&["PUBLISH", channel, &format!(r#"{{"n":{round}}}"#)]).await.unwrap();
        }
        for channel in ["news", "app.web", "app.db"] {
            let line = format!("{channel} {round}");
            eventually("what was published", SOON, async || output.holds(&line)).await;
        }
        redis.kill();
        redis.start_again().await;
    }
    assert_eq!(output.count(), 6, "{}", output.text());
    assert!(!run.printed().contains(PASSWORD), "{}", run.printed());
}
