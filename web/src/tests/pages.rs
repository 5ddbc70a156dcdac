//! The page, as a browser without a script sees it.
use super::*;

/// Text that breaks out of HTML wherever it is not escaped.
const HOSTILE: &str = "</textarea><script>alert(1)</script>\"'&<img src=x onerror=alert(1)>";

fn busy_view() -> View {
    let mut view = View::default();
    view.status.phase = "subscribed".into();
    view.status.writable = true;
    view.status.nodes_known = 2;
    view.status.nodes_covered = 1;
    view.status.events_per_second = 1234.5;
    let mut covered = node("node-1", Coverage::Running);
    let mut streaming = container("shop", "web/nginx:1.27", ContainerState::Streaming);
    streaming.config = "web/nginx".into();
    streaming.tails = [Tail {
        path: "/var/log/access.log".into(),
        state: "reading".into(),
        read_position: 2_048_000,
        acknowledged_position: 1_024_000,
        spool_bytes: 1_024_000,
        dropped_lines: 3,
    }]
    .into();
    covered.containers = [streaming, container("cache", "redis:7", ContainerState::NotMatched)].into();
    view.nodes = vec![covered.into(), node("node-2", Coverage::NotOffered).into()];
    let name = key(Kind::Docker, "web/nginx");
    let document = Document { text: "filter { }".into(), revision: Revision(7) };
    view.documents = Arc::new([(name.clone(), document)].into());
    view.applied.insert(
        name,
        Applied {
            on: 1,
            of: 2,
            failed: 1,
            failures: vec![("node-2".into(), "no room".into())],
            problems: vec![],
        },
    );
    view
}

#[tokio::test]
async fn each_part_of_the_page_shows_what_is_to_be_seen() {
    let world = World::seeing(busy_view());
    for (path, expected) in [
        ("/", vec!["Nodes covered", ">1</strong> <span>of 2</span>", "1,235", "not covered: because"]),
        ("/dashboard", vec!["Write a host config", "aria-current=\"page\""]),
        (
            "/nodes",
            vec![
                "id=\"agent-node-1\"",
                "streaming",
                "not matched",
                "lag 1.0 MB",
                "3 lines dropped",
                "edit?kind=docker&#38;name=web%2Fnginx",
                "edit?kind=docker&#38;name=redis",
                "not covered",
                "awaiting_first_offer",
                "the master does not list its agents",
            ],
        ),
        (
            "/config",
            vec![
                "applied on 1 of 2 nodes",
                "node-2: no room",
                "matches 1 container",
                "None yet, so that events",
            ],
        ),
        (
            "/edit?kind=docker&name=web%2Fnginx",
            vec![
                "filter { }</textarea>",
                "data-etag=\"&#34;7&#34;\"",
                "applied on 1 of 2 nodes",
                "Matches 1 container",
                "shop",
            ],
        ),
        ("/edit?kind=host", vec!["New host config", "to-elasticsearch"]),
        ("/edit", vec!["New image config", "value=\"redis\""]),
    ] {
        let page = world.get(path).await;
        assert_eq!(page.status, 200);
        assert_eq!(page.header(header::CONTENT_TYPE), "text/html; charset=utf-8");
        for text in expected {
            assert!(page.text.contains(text), "`{text}` in {path}:\n{}", page.text);
        }
    }
    world.get("/edit?kind=moon").await.problem(400);
}

#[tokio::test]
async fn an_empty_fleet_says_what_to_do_next() {
    let world = World::new();
    assert!(world.get("/").await.text.contains("Until logs flow"));
    assert!(world.get("/nodes").await.text.contains("No node is known yet"));
    assert!(world.get("/config").await.text.contains("Write the first one"));
}

#[tokio::test]
async fn hostile_texts_are_shown_and_never_run() {
    let mut view = busy_view();
    view.status.detail = HOSTILE.into();
    view.status.decisions.push(Decision { at_ms: 1, node: HOSTILE.into(), text: HOSTILE.into() });
    view.status.tasks.push(BackgroundTask {
        name: HOSTILE.into(),
        what: HOSTILE.into(),
        last: HOSTILE.into(),
    });
    let mut bad = node(HOSTILE, Coverage::Unreachable);
    bad.reason = HOSTILE.into();
    bad.docker = Some(Docker { reachable: false, detail: HOSTILE.into() });
    bad.failures.push(Failure { key: key(Kind::Host, HOSTILE), reason: HOSTILE.into() });
    bad.containers = [container(HOSTILE, HOSTILE, ContainerState::Error)].into();
    view.nodes.push(bad.into());
    let document = Document { text: HOSTILE.into(), revision: Revision(1) };
    Arc::make_mut(&mut view.documents).insert(key(Kind::Host, HOSTILE), document);
    view.file_problems.push(FileProblem { path: HOSTILE.into(), reason: HOSTILE.into(), problems: vec![] });
    let world = World::seeing(view);
    let edit = format!("/edit?kind=host&name={}", crate::names::encode(HOSTILE));
    for path in ["/", "/nodes", "/config", edit.as_str()] {
        let page = world.get(path).await.text;
        assert!(page.contains("alert(1)"), "{path} shows it");
        assert!(
            !page.contains("<script>") && !page.contains("<img src=x"),
            "{path} does not run it:\n{page}"
        );
        assert_eq!(page.matches("</textarea>").count(), usize::from(path == edit), "{path}");
    }
}

#[tokio::test]
async fn the_page_works_under_a_prefix_and_without_inline_scripts() {
    let world = World::seeing(busy_view());
    for path in ["/", "/nodes", "/config", "/edit?kind=docker&name=web%2Fnginx"] {
        let page = world.get(path).await.text;
        for absolute in ["href=\"/", "src=\"/", "action=\"/", "http://", "https://"] {
            assert!(!page.contains(absolute), "`{absolute}` in {path}");
        }
        assert!(!page.contains(" style=\"") && !page.contains(" onclick="), "{path}");
        assert_eq!(page.matches("<script").count(), 1, "{path}");
        // What can be replaced live has an id of its own.
        for part in page.split(" data-live").skip(1).map(|rest| rest.split('>').next().unwrap()) {
            assert!(!part.contains('<'), "{path}: {part}");
        }
    }
    let script = world.get("/assets/page.js").await;
    assert!(script.header(header::CONTENT_TYPE).starts_with("text/javascript"));
    assert!(
        !script.text.contains("\"/api")
            && !script.text.contains("'/api")
            && !script.text.contains("innerHTML")
    );
}

#[tokio::test]
async fn the_dashboard_says_how_a_rollout_stands_and_that_launches_are_held_back() {
    let world = World::new();
    assert!(!world.get("/").await.text.contains("<h2>Executors</h2>"));
    world.change(|view| {
        let rollout = &mut view.rollout;
        (rollout.generation, rollout.older, rollout.advice) =
            ("abc".into(), 2, "2 executors run an older one".into());
        rollout.held =
            Some(rollout::Held { agents: 3, failure: "cannot <fetch>".into(), ..rollout::Held::default() });
        rollout.rollout = Some(rollout::Rollout {
            state: "rolling".into(),
            to: "abc".into(),
            ..rollout::Rollout::default()
        });
    });
    let page = world.get("/").await.text;
    for part in
        ["<h2>Executors</h2>", "to abc: rolling", "2 executors run an older one", "cannot &lt;fetch&gt;"]
    {
        assert!(page.contains(part), "{part} in {page}");
    }
    let metrics = world.get("/metrics").await.text;
    assert!(
        metrics.contains("logherd_launches_held 1") && metrics.contains("logherd_executors_older 2"),
        "{metrics}"
    );
}

#[tokio::test]
async fn thousands_of_nodes_are_shown_a_hundred_at_a_time_and_found_by_what_they_hold() {
    let mut view = busy_view();
    view.nodes = (0..2500).map(|n| node(&format!("host-{n:04}"), Coverage::Running).into()).collect();
    Arc::make_mut(&mut view.nodes[1700]).coverage = Coverage::Unreachable;
    let world = World::seeing(view);
    let first = world.get("/nodes").await.text;
    assert_eq!(first.matches("class=\"card node\"").count(), 100);
    assert!(first.contains("100 of 2,500 nodes shown"), "{first}");
    let next = "nodes?after=agent-host-0099";
    assert!(first.contains(&format!("href=\"{next}\"")), "{first}");
    assert!(world.get(&format!("/{next}")).await.text.contains("id=\"agent-host-0100\""));
    for query in ["text=HOST-1700", "state=unreachable"] {
        let found = world.get(&format!("/nodes?{query}")).await.text;
        assert_eq!(found.matches("class=\"card node\"").count(), 1, "{query}");
        assert!(found.contains("id=\"agent-host-1700\""), "{query}");
    }
    assert!(world.get("/nodes?text=nowhere").await.text.contains("No node is like that"));
    assert!(world.get("/dashboard").await.text.contains("nodes?agent=agent-host-1700#agent-host-1700"));
}

#[tokio::test]
async fn a_page_of_a_large_fleet_holds_what_is_wrong_and_leads_to_the_rest() {
    let world = World::new();
    world.change(|view| {
        let image = "registry.example/web/shop:1.27";
        view.nodes = (0..1000)
            .map(|n| {
                let mut node = node(&format!("worker-{n:04}"), Coverage::Running);
                let of = |c: usize| {
                    let broken = n == 7 && c == 3;
                    let state = if broken { ContainerState::Error } else { ContainerState::Streaming };
                    container(&format!("shop-{n}-{c}"), image, state)
                };
                node.containers = (0..10).map(of).collect();
                Arc::new(node)
            })
            .collect();
    });
    let many = world.get("/nodes").await.text;
    assert!(many.contains("100 of 1,000 nodes shown"));
    assert!(many.len() < 200_000, "{} bytes for a hundred nodes", many.len());
    assert!(
        many.contains("shop-7-3") && !many.contains("shop-7-4"),
        "the container with the error, no other"
    );
    let link = "nodes?agent=agent-worker-0007#agent-worker-0007";
    assert!(many.contains(link), "{many}");
    let one = world.get("/nodes?agent=agent-worker-0007").await.text;
    assert!(one.contains("1 of 1 node shown") && one.contains("shop-7-3") && one.contains("shop-7-4"));
    assert!(!one.contains(link) && one.contains("Executor"));
}
