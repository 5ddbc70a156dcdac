//! Fetches what a command needs into its sandbox: files of this machine, and files over plain http.
//!
//! As with a real fetcher: one after the other, any failure fails the launch; `executable` sets the mode bits,
//! otherwise archives are unpacked by their extension (with `tar`, `unzip` and `gunzip` of this machine, given argv).

use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mesos::command_info::Uri;
use proto::mesos::v1 as mesos;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use tokio::io::AsyncWriteExt;

/// Fetches all, in order; says what failed.
pub(crate) async fn fetch_all(uris: &[Uri], sandbox: &Path) -> Result<(), String> {
    for uri in uris {
        fetch(uri, sandbox).await.map_err(|problem| format!("fetch '{}': {problem}", uri.value))?;
    }
    Ok(())
}

async fn fetch(uri: &Uri, sandbox: &Path) -> Result<(), String> {
    let target = sandbox.join(local_name(uri)?);
    if let Some(parent) = target.parent() {
        tokio::fs::create_dir_all(parent).await.map_err(|e| format!("create '{}': {e}", parent.display()))?;
    }
    match local_path(&uri.value) {
        Some(source) => {
            tokio::fs::copy(&source, &target)
                .await
                .map_err(|e| format!("copy '{}': {e}", source.display()))?;
        }
        None if uri.value.starts_with("http://") => download(&uri.value, &target).await?,
        None => return Err("only http://, file:// and absolute paths can be fetched here".into()),
    }
    if uri.executable() {
        let mode = std::fs::Permissions::from_mode(0o755);
        return tokio::fs::set_permissions(&target, mode)
            .await
            .map_err(|e| format!("make it executable: {e}"));
    }
    if uri.extract() { unpack(&target, sandbox).await } else { Ok(()) }
}

/// The file in the sandbox: what the URI says, or the text after its last slash.
fn local_name(uri: &Uri) -> Result<PathBuf, String> {
    if uri.value.contains(['\\', '\'']) {
        return Err("URIs must not contain \\ or '".into());
    }
    let name = match &uri.output_file {
        Some(name) => name.as_str(),
        None => uri.value.rsplit_once('/').map_or("", |(_, name)| name),
    };
    let path = Path::new(name);
    let stays_inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !stays_inside {
        return Err(format!("'{name}' is no name of a file in the sandbox"));
    }
    Ok(path.to_owned())
}

fn local_path(uri: &str) -> Option<PathBuf> {
    let path = uri.strip_prefix("file://").unwrap_or(uri);
    path.starts_with('/').then(|| PathBuf::from(path))
}

async fn download(url: &str, target: &Path) -> Result<(), String> {
    let uri: http::Uri = url.parse().map_err(|e| format!("{e}"))?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
    let answer = client.get(uri).await.map_err(|e| format!("{e}"))?;
    if answer.status() != http::StatusCode::OK {
        return Err(format!("the server answered {}", answer.status()));
    }
    let mut file =
        tokio::fs::File::create(target).await.map_err(|e| format!("create '{}': {e}", target.display()))?;
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| format!("{e}"))?;
        if let Some(data) = frame.data_ref() {
            file.write_all(data).await.map_err(|e| format!("write '{}': {e}", target.display()))?;
        }
    }
    file.flush().await.map_err(|e| format!("write '{}': {e}", target.display()))
}

/// Unpacks an archive beside itself; anything else stays as it is.
async fn unpack(file: &Path, sandbox: &Path) -> Result<(), String> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or("");
    const TARS: [&str; 7] = [".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz"];
    let mut command = if TARS.iter().any(|end| name.ends_with(end)) {
        let mut command = tokio::process::Command::new("tar");
        command.arg("-x").arg("-f").arg(file).arg("-C").arg(sandbox);
        command
    } else if name.ends_with(".zip") {
        let mut command = tokio::process::Command::new("unzip");
        command.arg("-q").arg("-o").arg(file).arg("-d").arg(sandbox);
        command
    } else if name.ends_with(".gz") {
        let mut command = tokio::process::Command::new("gunzip");
        command.arg("-k").arg("-f").arg(file);
        command
    } else {
        return Ok(());
    };
    let done = command.kill_on_drop(true).output().await.map_err(|e| format!("unpack '{name}': {e}"))?;
    if done.status.success() {
        Ok(())
    } else {
        Err(format!("unpack '{name}': {}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(value: &str) -> Uri {
        Uri { value: value.into(), ..Default::default() }
    }

    #[tokio::test]
    async fn a_file_is_copied_under_its_name_and_made_executable() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let source = from.path().join("tool");
        std::fs::write(&source, "#!/bin/sh\n").unwrap();
        let named = Uri {
            executable: Some(true),
            output_file: Some("bin/renamed".into()),
            ..uri(&format!("file://{}", source.display()))
        };
        fetch_all(&[uri(&source.display().to_string()), named], to.path()).await.unwrap();
        assert!(to.path().join("tool").exists());
        let mode = std::fs::metadata(to.path().join("bin/renamed")).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111);
    }

    /// A server that answers one request with this.
    async fn one_answer(answer: &'static str) -> (String, tokio::task::JoinSet<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/artifacts/logherd-0123", listener.local_addr().unwrap());
        let mut server = tokio::task::JoinSet::new();
        server.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                tokio::io::AsyncReadExt::read_buf(&mut stream, &mut asked).await.unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        (url, server)
    }

    #[tokio::test]
    async fn a_program_is_fetched_over_http_whole_or_not_at_all() {
        let to = tempfile::tempdir().unwrap();
        let program =
            |url: &str| Uri { executable: Some(true), output_file: Some("logherd".into()), ..uri(url) };
        let (url, _server) = one_answer("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
        fetch_all(&[program(&url)], to.path()).await.unwrap();
        assert_eq!(std::fs::read(to.path().join("logherd")).unwrap(), b"hello");
        let mode = std::fs::metadata(to.path().join("logherd")).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111);
        for bad in [
            "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        ] {
            let (url, _server) = one_answer(bad).await;
            let problem = fetch_all(&[program(&url)], to.path()).await.unwrap_err();
            assert!(problem.contains(&url), "{problem}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_fetched_is_an_error_that_names_it() {
        let to = tempfile::tempdir().unwrap();
        for bad in ["/no/such/file", "ftp://host/x", "relative", "file:///", "/a/it's"] {
            let problem = fetch_all(&[uri(bad)], to.path()).await.unwrap_err();
            assert!(problem.contains(bad), "{problem}");
        }
        let outside = Uri { output_file: Some("../x".into()), ..uri("/etc/hostname") };
        assert!(fetch_all(&[outside], to.path()).await.is_err());
    }
}
