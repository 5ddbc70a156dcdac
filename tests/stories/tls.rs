//! Story: scheduler and executors talk TLS with each other, by an authority of their own.

use crate::eventually::eventually;
use crate::world::{Logherd, SOON, START, World, free_port};

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
