//! Story: scheduler and executors talk TLS with each other, by an authority of their own.

use crate::ensemble::Ensemble;
use crate::eventually::eventually;
use crate::world::{Logherd, SOON, START, World, free_port};
use std::path::Path;
use std::process::Command;

struct Fleet<'a> {
    world: &'a World,
    master: String,
    control: String,
    _mesos: Logherd,
}

impl<'a> Fleet<'a> {
    fn start(world: &'a World) -> Self {
        let master = format!("127.0.0.1:{}", free_port());
        let data = world.path("mesos");
        let arguments =
            ["local", "--mesos-only", "--mesos-listen", &master, "--data-dir", data.to_str().unwrap()];
        let mesos = world.start("mesos", &arguments);
        Self { world, master, control: format!("127.0.0.1:{}", free_port()), _mesos: mesos }
    }

    /// Starts a scheduler of this fleet, with the authority in that directory if one is named.
    fn scheduler(&self, name: &str, authority: Option<&str>) -> Logherd {
        let state = self.world.path("state").display().to_string();
        let authority = authority.map(|dir| self.world.path(dir).display().to_string());
        let mut arguments =
            vec!["scheduler", "--master", &self.master, "--state", &state, "--control-listen", &self.control];
        if let Some(dir) = &authority {
            arguments.extend(["--control-tls", "--control-ca-dir", dir]);
        }
        self.world.start(name, &arguments)
    }
}

async fn says(logherd: &Logherd, text: &str) {
    let said = async || match logherd.printed() {
        all if all.contains(text) => Ok(()),
        all => Err(all),
    };
    eventually(text, SOON, said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn executors_attach_by_tls_over_restarts_and_a_scheduler_with_another_authority_does_not_lead() {
    let world = World::new().await;
    let fleet = Fleet::start(&world);
    let mut scheduler = fleet.scheduler("scheduler", Some("authority"));
    eventually("ready", START, async || scheduler.api.ready().await).await;
    scheduler.api.put("host-configs", "out", "output { null { } }").await;
    eventually("attached and applied", SOON, async || scheduler.api.applied().await).await;
    let executors = world.executors();
    assert_eq!(executors.len(), 1);
    scheduler.kill();
    scheduler.start_again();
    eventually("ready again", START, async || scheduler.api.ready().await).await;
    scheduler.api.put("host-configs", "more", "filter { mutate { } }").await;
    eventually("attached again and applied", SOON, async || scheduler.api.applied().await).await;
    assert_eq!(world.executors(), executors, "no executor was restarted");
    let printed = scheduler.printed();
    assert!(!printed.contains("PRIVATE KEY") && !printed.contains("LOGHERD_CONTROL_IDENTITY"), "{printed}");
    scheduler.stop().await;

    let other = fleet.scheduler("other", Some("another-authority"));
    says(&other, "copy `ca.pem` and `ca-key.pem` from a scheduler that has led").await;
    let without = fleet.scheduler("without", None);
    says(&without, "start with --control-tls").await;
    assert_eq!(world.executors(), executors, "they work on");

    scheduler.start_again();
    eventually("the first one leads on", START, async || scheduler.api.ready().await).await;
    eventually("attached", SOON, async || scheduler.api.applied().await).await;
    assert_eq!(world.executors(), executors);
}

/// Makes an authority by the command in `docs/tls.md`.
fn make_authority(dir: &Path) {
    std::fs::create_dir(dir).unwrap();
    let page = include_str!("../../docs/tls.md");
    let start = page.find("openssl req").expect("docs/tls.md says how an authority is made");
    let command = page[start..].split("\n```").next().unwrap();
    let made = Command::new("sh").args(["-c", &format!("umask 077; {command}")]).current_dir(dir).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{made:?}");
}

fn copy_authority(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for name in ["ca.pem", "ca-key.pem"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schedulers_of_one_authority_take_over_and_their_executors_follow_by_tls_to_the_new_address() {
    let world = World::new().await;
    let Some(servers) = Ensemble::start(&world).await else { return };
    let (one, copied, other) = (world.path("one"), world.path("copied"), world.path("other"));
    make_authority(&one);
    copy_authority(&one, &copied);
    make_authority(&other);
    let master = format!("127.0.0.1:{}", free_port());
    let (data, state) = (world.path("mesos"), servers.address("logherd"));
    let _mesos = world.start(
        "mesos",
        &["local", "--mesos-only", "--mesos-listen", &master, "--data-dir", data.to_str().unwrap()],
    );
    let start = |name: &str, authority: Option<&Path>| {
        let control = format!("127.0.0.1:{}", free_port());
        let mut arguments =
            vec!["scheduler", "--master", &master, "--state", &state, "--control-listen", &control];
        arguments.extend(["--zk-session-timeout", "4s"]);
        if let Some(dir) = authority {
            arguments.extend(["--control-tls", "--control-ca-dir", dir.to_str().unwrap()]);
        }
        world.start(name, &arguments)
    };
    let detail = async |scheduler: &Logherd, text: &str| {
        let said = async || {
            let status = scheduler.api.get("/api/v1/status").await?;
            let is =
                status["phase"] == "standby" && status["detail"].as_str().is_some_and(|d| d.contains(text));
            if is { Ok(()) } else { Err(status["detail"].to_string()) }
        };
        eventually(text, START, said).await;
    };
    let mut leads = start("leads", Some(&one));
    eventually("ready", START, async || leads.api.ready().await).await;
    leads.api.put("host-configs", "out", "output { null { } }").await;
    eventually("attached and applied", SOON, async || leads.api.applied().await).await;
    let executors = world.executors();

    let follows = start("follows", Some(&copied));
    detail(&follows, "leads").await;
    let wrong = start("wrong", Some(&other));
    detail(&wrong, "this one cannot: the executors of this fleet know the authority").await;
    let without = start("without", None);
    detail(&without, "this one cannot: the executors of this fleet talk TLS").await;

    leads.kill();
    let took_over = async || {
        let status = follows.api.get("/api/v1/status").await?;
        let leads = status["phase"] == "subscribed" && status["nodes_covered"] == 1;
        if leads { Ok(()) } else { Err(status["detail"].to_string()) }
    };
    eventually("the one with the same authority leads", START, took_over).await;
    follows.api.put("host-configs", "more", "filter { mutate { } }").await;
    eventually("attached to it and applied", SOON, async || follows.api.applied().await).await;
    let nodes = follows.api.nodes().await.unwrap();
    assert!(nodes.iter().all(|node| node["attached"] == true), "{nodes:?}");
    assert_eq!(world.executors(), executors, "no executor was restarted");
}
