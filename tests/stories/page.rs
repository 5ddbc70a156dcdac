//! Story: a person edits a configuration in the page, in a real browser.

use crate::docker::{Docker, skip};
use crate::eventually::eventually;
use crate::world::{SOON, World};
use chromiumoxide::cdp::js_protocol::runtime::EventExceptionThrown;
use chromiumoxide::page::ScreenshotParams;
use chromiumoxide::{Browser, BrowserConfig, Element, Page};
use futures_util::StreamExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

/// A headless Chromium with one page, and what went wrong in its scripts.
struct Window {
    page: Page,
    errors: Arc<Mutex<Vec<String>>>,
    browser: Browser,
    _tasks: JoinSet<()>,
}

impl Window {
    /// Opens one, or returns `None` after saying loudly that there is no Chromium.
    async fn open(world: &World, url: &str) -> Option<Window> {
        let Some(chromium) = ["/usr/bin/chromium", "/usr/bin/chromium-browser"]
            .into_iter()
            .find(|path| Path::new(path).exists())
        else {
            skip("Chromium", "no /usr/bin/chromium");
            return None;
        };
        let config = BrowserConfig::builder()
            .chrome_executable(chromium)
            .no_sandbox()
            .new_headless_mode()
            .window_size(1280, 860);
        let config = config
            .viewport(None)
            .user_data_dir(world.path("chromium"))
            .arg("--hide-scrollbars")
            .build()
            .unwrap();
        let (browser, mut handler) = Browser::launch(config).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { while handler.next().await.is_some() {} });
        let page = browser.new_page("about:blank").await.unwrap();
        let errors = Arc::new(Mutex::new(Vec::new()));
        let mut thrown = page.event_listener::<EventExceptionThrown>().await.unwrap();
        let kept = errors.clone();
        tasks.spawn(async move {
            while let Some(event) = thrown.next().await {
                kept.lock().unwrap().push(format!("{:?}", event.exception_details));
            }
        });
        page.goto(url).await.unwrap();
        Some(Window { page, errors, browser, _tasks: tasks })
    }

    async fn find(&self, selector: &str) -> Element {
        let look = async || self.page.find_element(selector).await.map_err(|error| error.to_string());
        eventually(selector, SOON, look).await.0
    }

    async fn click(&self, selector: &str) {
        self.find(selector).await.click().await.unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    /// Puts the text of a field in place of what it holds, typing the last character.
    async fn write(&self, selector: &str, text: &str) {
        let field = self.find(selector).await;
        field.click().await.unwrap();
        let (head, last) = text.trim_end().split_at(text.trim_end().len() - 1);
        let head = serde_json::to_string(head).unwrap();
        let put = format!(
            "function() {{ this.value = {head}; this.setSelectionRange(this.value.length, this.value.length) }}"
        );
        field.call_js_fn(put, false).await.unwrap();
        field.type_str(last).await.unwrap();
    }

    /// Waits until an element says something.
    async fn says(&self, selector: &str, text: &str) -> Duration {
        let look = async || {
            let seen = self
                .find(selector)
                .await
                .inner_text()
                .await
                .map_err(|error| error.to_string())?
                .unwrap_or_default();
            if seen.contains(text) { Ok(()) } else { Err(format!("{selector} says `{seen}`")) }
        };
        eventually(&format!("{selector} says `{text}`"), SOON, look).await.1
    }

    async fn picture(&self, path: &Path) {
        self.page.save_screenshot(ScreenshotParams::builder().build(), path).await.unwrap();
    }

    async fn close(mut self) {
        assert_eq!(*self.errors.lock().unwrap(), Vec::<String>::new(), "errors in the page's scripts");
        self.browser.close().await.unwrap();
        self.browser.wait().await.unwrap();
    }
}

/// Where a picture goes: into the documents when they are being renewed (`UPDATE=1`), else away.
fn picture(world: &World, name: &str) -> PathBuf {
    let renewing = config::settings::environment("UPDATE").is_some();
    if renewing { Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name) } else { world.path(name) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_is_written_checked_saved_and_seen_to_stream_in_the_page() {
    let Some(docker) = Docker::here().await else { return };
    let world = World::alone().await;
    let logherd = world.local(&["--nodes", "3"]).await;
    let Some(window) = Window::open(&world, &format!("{}/config", logherd.api.url)).await else { return };
    let output = format!(
        r#"output {{ file {{ path => "{}" codec => json_lines }} }}"#,
        world.path("out.json").display()
    );
    logherd.api.put("host-configs", "to-a-file", &output).await;
    docker.tag(&world.image()).await;
    let script = "while :; do echo \"hello $(date +%s)\" >>/var/log/app.log; sleep 0.1; done";
    for _ in 0..4 {
        docker.run(&world.id, &world.image(), script).await;
    }
    let seen = async || match logherd.api.containers(&world.id).await?.len() {
        4 => Ok(()),
        number => Err(format!("{number} containers")),
    };
    eventually("the containers are seen", SOON, seen).await;

    window.click("a[href='edit?kind=docker']").await;
    window.write("#name", &world.image_name()).await;
    let broken =
        "input {\n  file { docker-path => \"/var/log/app.log\" start_positoin => \"beginning\" }\n}\n";
    window.write("#text", broken).await;
    window.says("#name-note", "matches 4 containers").await;
    window.says("#problems", "start_position").await;
    window.says("#problems", "2:").await;
    window.picture(&picture(&world, "editor.png")).await;
    window.click("#save").await;
    let refused = logherd.api.get(&format!("/configs/{}", world.image_name().replace('/', "%2F"))).await;
    assert!(
        refused.as_ref().is_err_and(|error| error.contains("404")),
        "a broken config is not saved: {refused:?}"
    );

    window.write("#text", &broken.replace("positoin", "position")).await;
    window.says("#verdict", "").await;
    let gone =
        async || match window.find("#problems").await.inner_text().await.ok().flatten().unwrap_or_default() {
            text if text.trim().is_empty() => Ok(()),
            text => Err(text),
        };
    eventually("no problem is left", SOON, gone).await;
    window.click("#save").await;
    let took = window.says("#applied", "3 of 3").await;
    println!("from the click on Save to `applied on 3 of 3` in the page: {took:?}");
    let saved =
        logherd.api.get(&format!("/configs/{}", world.image_name().replace('/', "%2F"))).await.unwrap();
    assert!(saved["input"].as_str().unwrap().contains("start_position"), "{saved:#}");

    window.click("a[href='nodes']").await;
    window.says("#nodes", "streaming").await;
    window.says("#nodes", "/var/log/app.log").await;
    window.click("a[href='dashboard']").await;
    window.says("main", "3").await;
    let flowing = async || match logherd.api.get("/api/v1/status").await?["events_per_second"].as_f64() {
        Some(rate) if rate > 0.0 => Ok(()),
        rate => Err(format!("{rate:?}")),
    };
    eventually("events flow", SOON, flowing).await;
    window.picture(&picture(&world, "page.png")).await;
    window.close().await;
}
