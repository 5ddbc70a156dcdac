//! Story: executors that run in an image, by the agents' Docker containerizer: nothing in it but the program.

use crate::docker::{Docker, docker};
use crate::eventually::eventually;
use crate::output::Output;
use crate::service::answer;
use crate::world::{Logherd, SOON, START, World, binary, free_port};
use std::path::Path;
use std::process::Command;

/// Makes the image as `packaging/Dockerfile` ends: the program on nothing. What it is linked with is put beside it, unless
/// `LOGHERD_TEST_STATIC` names a program that needs nothing.
async fn make(world: &World) -> String {
    let fixed = config::settings::environment("LOGHERD_TEST_STATIC");
    let program = fixed.map_or_else(binary, Into::into);
    let (name, root) = (format!("{}/logherd:0.1.0", world.id), world.path("image"));
    std::fs::create_dir(&root).unwrap();
    std::fs::copy(&program, root.join("logherd")).unwrap();
    let mut linked = Command::new("ldd");
    linked.arg(&program);
    // One that is linked with nothing is an error to `ldd`.
    let linked = answer(linked).await.unwrap_or_default();
    for library in linked.split_whitespace().filter(|word| word.starts_with('/')) {
        let inside = root.join(library.trim_start_matches('/'));
        std::fs::create_dir_all(inside.parent().unwrap()).unwrap();
        std::fs::copy(library, inside).unwrap();
    }
    let script = r#"tar --directory "$1" --create . |
        docker import --change 'ENTRYPOINT ["/logherd"]' --change 'USER 65532:65532' - "$2""#;
    let mut import = Command::new("sh");
    import.args(["-c", script, "make-image"]).arg(&root).arg(&name);
    answer(import).await.unwrap();
    std::fs::remove_dir_all(&root).unwrap();
    name
}

/// The embedded Mesos, and a scheduler whose executors run in that image.
async fn cluster(world: &World, image: &str, data: &Path) -> (Logherd, Logherd) {
    let (master, control) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let (mesos, state, logs) = (world.path("mesos"), world.path("state"), world.path("logs"));
    let place = ["local", "--mesos-only", "--mesos-listen", &master, "--data-dir", mesos.to_str().unwrap()];
    let mesos = world.start("mesos", &place);
    let place = ["scheduler", "--master", &master, "--state", state.to_str().unwrap()];
    let own = ["--control-listen", &control, "--executor-image", image];
    let sees = ["--executor-data-dir", data.to_str().unwrap(), "--executor-mounts", logs.to_str().unwrap()];
    let scheduler = world.start("scheduler", &[&place[..], &own[..], &sees[..]].concat());
    eventually("ready", START, async || scheduler.api.ready().await).await;
    (mesos, scheduler)
}

/// The containers of an image, running or not.
async fn containers_of(image: &str) -> Vec<String> {
    let listed = docker(&["ps", "--all", "--quiet", "--filter", &format!("ancestor={image}")]).await;
    listed.unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_in_an_image_collects_from_its_node_and_leaves_no_container_behind() {
    let Some(docker_daemon) = Docker::here().await else { return };
    let world = World::new().await;
    let image = make(&world).await;
    let data = world.path("executor-data");
    for dir in [&data, &world.path("logs")] {
        std::fs::create_dir(dir).unwrap();
    }
    let (mut mesos, scheduler) = cluster(&world, &image, &data).await;
    let first = containers_of(&image).await;
    assert_eq!(first.len(), 1, "one executor, in a container");
    let shown = "{{.Name}} {{.HostConfig.NetworkMode}} {{.Config.User}}";
    let run = docker(&["inspect", "--format", shown, &first[0]]).await.unwrap();
    assert!(run.starts_with("/mesos-") && run.ends_with(" host 0"), "{run}");

    // What is written has to be where it can be written.
    let out = data.join("out.log").display().to_string();
    let output =
        format!(r#"output {{ file {{ path => "{out}" codec => line {{ format => "%{{message}}" }} }} }}"#);
    let log = world.path("logs/host.log").display().to_string();
    let input = format!(r#"input {{ file {{ host-path => "{log}" start_position => "beginning" }} }}"#);
    scheduler.api.put("host-configs", "all", &format!("{input} {output}")).await;
    let input = r#"input { file { docker-path => "/var/log/app.log" start_position => "beginning" } }"#;
    scheduler.api.put("configs", &world.image_name(), input).await;
    docker_daemon.tag(&world.image()).await;
    let container = docker_daemon.run(&world.id, &world.image(), "sleep 1000000").await;
    let output = Output { path: data.join("out.log") };
    world.write("logs/host.log", "of the host\n");
    container.log("/var/log/app.log", "of a container").await;
    eventually("the line of the host", SOON, async || output.holds("of the host")).await;
    eventually("the line of the container", SOON, async || output.holds("of a container")).await;

    docker(&["kill", &first[0]]).await.unwrap();
    world.write("logs/host.log", "meanwhile\n");
    container.log("/var/log/app.log", "meanwhile, too").await;
    let replaced = async || match containers_of(&image).await {
        now if now.len() == 1 && now != first => Ok(()),
        now => Err(format!("{now:?}")),
    };
    eventually("another container runs", START, replaced).await;
    eventually("the line of the host", START, async || output.holds("meanwhile")).await;
    eventually("the line of the container", START, async || output.holds("meanwhile, too")).await;
    container.remove().await;
    assert!(mesos.stop().await.success(), "{}", mesos.printed());
    let none = async || match containers_of(&image).await {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    };
    eventually("no container is left", SOON, none).await;
}
