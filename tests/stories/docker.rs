//! Starts containers of a locally made image and runs commands in them, with the `docker` command line.

use crate::eventually::eventually;
use crate::world::SOON;
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// The image of the stories: busybox from Debian's busybox-static, made here, pulled from nowhere.
const IMAGE: &str = "busybox:local";

/// Whether an outside part may be missing.
pub(crate) fn skip(part: &str, why: &str) {
    let strict = config::settings::environment("CI").is_some_and(|value| value == "true");
    assert!(!strict, "{part} is missing, and CI=true: {why}");
    eprintln!(
        "\n*** SKIPPED for want of {part}: {why}\n*** tests/run installs and starts what the stories need\n"
    );
}

/// A Docker daemon that runs containers.
#[derive(Clone, Copy)]
pub(crate) struct Docker;

impl Docker {
    /// The daemon of this machine (`DOCKER_HOST`), or `None` after saying so loudly.
    pub(crate) async fn here() -> Option<Docker> {
        static READY: OnceCell<Result<(), String>> = OnceCell::const_new();
        match READY.get_or_init(prepare).await {
            Ok(()) => Some(Docker),
            Err(why) => {
                skip("Docker", why);
                None
            }
        }
    }

    /// Names the image anew, so that a story has containers that no other story matches.
    pub(crate) async fn tag(self, name: &str) {
        docker(&["tag", IMAGE, name]).await.unwrap();
    }

    /// Starts a container that runs a shell script.
    pub(crate) async fn run(self, story: &str, image: &str, script: &str) -> Container {
        let label = format!("logherd.story={story}");
        let id = docker(&[
            "run",
            "--detach",
            "--init",
            "--network=none",
            "--label",
            &label,
            image,
            "sh",
            "-c",
            script,
        ])
        .await;
        Container { id: id.unwrap() }
    }
}

async fn prepare() -> Result<(), String> {
    docker(&["version", "--format", "{{.Server.Version}}"]).await?;
    if docker(&["image", "inspect", IMAGE]).await.is_ok() {
        return Ok(());
    }
    if !Path::new("/bin/busybox").exists() {
        return Err("no /bin/busybox to make an image of (package busybox-static)".into());
    }
    let root = tempfile::tempdir().map_err(|error| error.to_string())?;
    let script = r#"cd "$1" && mkdir -p bin etc tmp var/log && cp /bin/busybox bin/busybox &&
        for applet in $(bin/busybox --list); do [ "$applet" = busybox ] || ln -sf busybox "bin/$applet"; done &&
        echo 'root:x:0:0:root:/:/bin/sh' >etc/passwd &&
        tar -c . | docker import --change 'CMD ["/bin/sh"]' --change 'ENV PATH=/bin' - "$2""#;
    run("sh", &["-c", script, "make-image", &root.path().to_string_lossy(), IMAGE]).await.map(drop)
}

/// Runs the docker command line and returns what it printed, trimmed.
pub(crate) async fn docker(arguments: &[&str]) -> Result<String, String> {
    run("docker", arguments).await
}

async fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().await;
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// A container; it is removed with the story's [`World`](crate::world::World).
pub(crate) struct Container {
    pub(crate) id: String,
}

impl Container {
    /// Runs a shell script in it.
    pub(crate) async fn sh(&self, script: &str) -> String {
        docker(&["exec", &self.id, "sh", "-c", script]).await.unwrap()
    }

    /// Appends a line to a file in it.
    pub(crate) async fn log(&self, path: &str, line: &str) {
        docker(&["exec", &self.id, "sh", "-c", "echo \"$1\" >>\"$2\"", "log", line, path]).await.unwrap();
    }

    /// The command lines of its processes, with their process ids before them.
    pub(crate) async fn processes(&self) -> Vec<String> {
        let listed = docker(&["exec", &self.id, "ps", "-o", "pid,args"]).await.unwrap_or_default();
        listed.lines().map(|line| line.trim().to_owned()).collect()
    }

    /// The processes that follow the given file.
    pub(crate) async fn tails_of(&self, path: &str) -> Vec<String> {
        let follows = |line: &String| {
            let words: Vec<&str> = line.split(' ').collect();
            words.get(1) == Some(&"tail") && words.contains(&path)
        };
        self.processes().await.into_iter().filter(follows).collect()
    }

    /// Stops it as `docker stop` does.
    pub(crate) async fn stop(&self) {
        docker(&["stop", "--time=1", &self.id]).await.unwrap();
    }

    /// Starts it again.
    pub(crate) async fn start(&self) {
        docker(&["start", &self.id]).await.unwrap();
    }

    /// Removes it, running or not. Docker cannot while somebody copies a file out of it, which an executor does when a container
    /// ends; it can when that is over.
    pub(crate) async fn remove(&self) {
        let removed = async || match docker(&["rm", "--force", &self.id]).await {
            Err(why) if why.contains("failed to remove root filesystem") || why.contains("in progress") => {
                Err(why)
            }
            // The try before has removed it after all.
            Err(why) if why.contains("No such container") => Ok(()),
            removed => removed.map(drop).map_err(|why| panic!("{why}")),
        };
        eventually("the container is removed", SOON, removed).await;
    }
}
