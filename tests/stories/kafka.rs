//! Story: a real Kafka; its broker is killed and every event is there, where Kafka's own clients look for it.

use crate::eventually::eventually;
use crate::output::tally;
use crate::service::{Peer, accepts, answer, parts};
use crate::world::{START, World, free_port};
use rand::Rng as _;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

/// One broker that is its own controller.
struct Kafka {
    jars: PathBuf,
    port: u16,
    service: Peer,
}

impl Kafka {
    async fn here(world: &World) -> Option<Self> {
        let jars = parts("Kafka", "LOGHERD_TEST_KAFKA")?;
        let (port, controller) = (free_port(), free_port());
        let (settings, data) = (world.path("kafka.properties"), world.path("kafka-data"));
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
            listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
            controller.listener.names=CONTROLLER\nlog.dirs={}\nnum.partitions=3\n\
            offsets.topic.replication.factor=1\ngroup.initial.rebalance.delay.ms=0\n\
            message.max.bytes=100000\n",
            data.display()
        );
        std::fs::write(&settings, text).unwrap();
        let mut format = java(&jars, "kafka.tools.StorageTool");
        format.args(["format", "--cluster-id", "MkU3OEVBNTcwNTJENDM2Qg", "--config"]).arg(&settings);
        answer(format).await.unwrap();
        let mut broker = java(&jars, "kafka.Kafka");
        broker.arg(settings);
        let kafka = Self { jars, port, service: Peer::start(world, "kafka", broker) };
        accepts("the broker listens", kafka.port).await;
        Some(kafka)
    }

    async fn start_again(&mut self) {
        self.service.start_again();
        accepts("the broker listens", self.port).await;
    }

    fn servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many records the partitions of a topic hold.
    async fn count(&self, topic: &str) -> Result<usize, String> {
        let mut offsets = java(&self.jars, "org.apache.kafka.tools.GetOffsetShell");
        offsets.args(["--bootstrap-server", &self.servers(), "--topic", topic]);
        let printed = answer(offsets).await?;
        let ends = printed.lines().filter_map(|line| line.rsplit(':').next()?.parse::<usize>().ok());
        Ok(ends.sum())
    }

    /// The first `count` records of a topic as Kafka's own consumer prints them: partition, headers, key and value, with tabs
    /// between them.
    async fn records(&self, topic: &str, count: usize) -> Result<String, String> {
        let mut consumer = java(&self.jars, "org.apache.kafka.tools.consumer.ConsoleConsumer");
        consumer.args(["--bootstrap-server", &self.servers(), "--topic", topic, "--from-beginning"]);
        consumer.args(["--timeout-ms", "20000", "--max-messages", &count.to_string()]);
        for shown in ["print.key=true", "print.headers=true", "print.partition=true"] {
            consumer.args(["--property", shown]);
        }
        answer(consumer).await
    }
}

fn java(jars: &std::path::Path, class: &str) -> Command {
    let mut command = Command::new("java");
    command.args(["-Xmx300m", "-cp", &format!("{}/*", jars.display()), class]);
    command
}

/// Waits until a topic holds so many distinct lines; returns the lines of its records.
async fn all_lines(kafka: &Kafka, topic: &str, lines: usize) -> Vec<String> {
    let all = async || {
        let count = kafka.count(topic).await?;
        if count < lines {
            return Err(format!("{count} records"));
        }
        let records: Vec<String> = kafka.records(topic, count).await?.lines().map(str::to_owned).collect();
        let distinct: BTreeSet<_> = records.iter().filter_map(|record| record.rsplit('\t').next()).collect();
        if distinct.len() == lines { Ok(records) } else { Err(format!("{} lines", distinct.len())) }
    };
    eventually("every line is in the topic", 2 * START, all).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_kafka_whose_broker_is_killed_and_each_key_keeps_its_partition_and_its_order() {
    const LINES: usize = 20_000;
    let world = World::new().await;
    let Some(mut kafka) = Kafka::here(&world).await else { return };
    let config = format!(
        r#"{} filter {{ grok {{ match => {{ message => "line %{{INT}}(?<digit>\d)\." }} }} }}
        output {{ kafka {{ bootstrap_servers => "{}" topic_id => "story" acks => all message_key => "%{{digit}}"
            message_headers => {{ "from" => "%{{digit}}th" }} codec => plain {{ format => "%{{message}}" }} }} }}"#,
        world.follows("in.txt"),
        kafka.servers()
    );
    world.append("in.txt", 10..=LINES / 2);
    let run = world.run(&config, &[]).await;
    let some = async || match kafka.count("story").await? {
        count if count >= 100 => Ok(()),
        count => Err(format!("{count} records")),
    };
    eventually("some records", START, some).await;
    kafka.service.kill();
    world.append("in.txt", LINES / 2 + 1..=LINES);
    let told = async || match run.printed() {
        printed if printed.contains("connect to") || printed.contains("127.0.0.1") => Ok(()),
        printed => Err(printed),
    };
    eventually("it is said that the broker cannot be reached", START, told).await;
    kafka.start_again().await;

    let records = all_lines(&kafka, "story", LINES - 9).await;
    let duplicates = records.len() - (LINES - 9);
    println!("{LINES} lines into Kafka across a kill of the broker: {duplicates} duplicates");
    let mut partitions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut of_key: BTreeMap<String, String> = BTreeMap::new();
    for record in &records {
        let parts: Vec<&str> = record.split('\t').collect();
        let [partition, headers, key, value] = parts[..] else { panic!("{record}") };
        assert_eq!(headers, format!("from:{key}th"), "{record}");
        assert!(value.ends_with(&format!("{key}.")), "{record}");
        partitions.entry(key.to_owned()).or_default().insert(partition.to_owned());
        of_key.entry(key.to_owned()).or_default().push_str(&format!("{value}\n"));
    }
    assert_eq!(partitions.len(), 10);
    assert!(partitions.values().all(|seen| seen.len() == 1), "{partitions:?}");
    if duplicates == 0 {
        assert!(of_key.values().all(|lines| tally(lines, "line ", ".").ascending), "in their order");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_takes_what_is_compressed_and_a_record_too_large_for_it_becomes_a_dead_letter() {
    const LINES: usize = 2_000;
    let world = World::new().await;
    let Some(kafka) = Kafka::here(&world).await else { return };
    let config = format!(
        r#"{} output {{ kafka {{ bootstrap_servers => "{}" topic_id => "packed" compression_type => gzip
            codec => plain {{ format => "%{{message}}" }} }} }}"#,
        world.follows("in.txt"),
        kafka.servers()
    );
    world.append("in.txt", 1..=LINES / 2);
    // By chance, so that packing does not help.
    let large: String = (0..300_000).map(|_| rand::rng().random_range('a'..='z')).collect();
    world.write("in.txt", &format!("{large}\n"));
    world.append("in.txt", LINES / 2 + 1..=LINES);
    let run = world.run(&config, &[]).await;
    all_lines(&kafka, "packed", LINES).await;
    let counted = async || {
        let stats = run.api.get("/_node/stats").await?;
        match &stats["pipelines"]["main"]["dead_letter_queue"] {
            queue if queue["events"] == 1 => Ok(()),
            queue => Err(queue.to_string()),
        }
    };
    eventually("the dead letter is kept", START, counted).await;
}
