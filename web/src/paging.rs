//! Chooses some of many nodes, by words and by text, and shows them a page at a time.
use crate::names;
use crate::problem::Problem;
use crate::view::{Cause, Coverage, Node, View};
use serde::Deserialize;

/// The most nodes of one answer.
const LIMIT_MAX: usize = 10_000;

/// Which nodes are asked for.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    /// Words of coverage, several with commas between.
    pub(crate) state: Option<String>,
    /// Words of causes, the same way.
    pub(crate) cause: Option<String>,
    /// What their host, agent, reason, or the name, image or config of a container holds, in any case.
    pub(crate) text: Option<String>,
    /// The id of one agent: that node and no other.
    pub(crate) agent: Option<String>,
    /// The agent id of the last node of the page before.
    pub(crate) after: Option<String>,
    /// How many at most.
    pub(crate) limit: Option<String>,
}

/// Some nodes.
pub(crate) struct Page<'a> {
    pub(crate) nodes: Vec<&'a Node>,
    /// How many would be shown without pages.
    pub(crate) matching: usize,
    /// The query that asks for the next page, if there is one.
    pub(crate) next: Option<String>,
}

impl Wanted {
    /// The page of a view that is asked for; of so many nodes unless it is said of how many.
    pub(crate) fn page<'a>(&self, view: &'a View, limit: usize) -> Result<Page<'a>, Problem> {
        let limit = self.limit(limit)?;
        let states: Vec<&str> = Coverage::ALL.iter().map(|coverage| coverage.word()).collect();
        let causes: Vec<&str> = Cause::ALL.iter().map(|cause| cause.word()).collect();
        let states = words("state", self.state.as_deref(), &states)?;
        let causes = words("cause", self.cause.as_deref(), &causes)?;
        let text = self.text.as_deref().unwrap_or_default().trim().to_lowercase();
        let is_one = |words: &Option<Vec<&str>>, word: &str| words.as_ref().is_none_or(|w| w.contains(&word));
        let agent = self.agent.as_deref().unwrap_or_default();
        let after = self.after.as_deref().unwrap_or_default();
        let mut page = Page { nodes: Vec::new(), matching: 0, next: None };
        for node in view.nodes.iter().map(AsRef::as_ref) {
            if !is_one(&states, node.coverage.word()) || !is_one(&causes, node.cause.word()) {
                continue;
            }
            if !text.is_empty() && !holds(node, &text) {
                continue;
            }
            if !agent.is_empty() && node.agent_id != agent {
                continue;
            }
            page.matching += 1;
            // Nodes are in the order of their agents' ids.
            if node.agent_id.as_str() <= after {
                continue;
            }
            match page.nodes.last() {
                Some(last) if page.nodes.len() >= limit => {
                    if page.next.is_none() {
                        page.next = Some(self.query_after(&last.agent_id));
                    }
                }
                _ => page.nodes.push(node),
            }
        }
        Ok(page)
    }

    /// Whether it asks for less than all.
    pub(crate) fn chooses(&self) -> bool {
        [&self.state, &self.cause, &self.text, &self.agent]
            .iter()
            .any(|part| part.as_ref().is_some_and(|p| !p.is_empty()))
    }

    /// The same question for what comes after an agent.
    fn query_after(&self, agent: &str) -> String {
        let parts = [
            ("state", self.state.as_deref()),
            ("cause", self.cause.as_deref()),
            ("text", self.text.as_deref()),
            ("agent", self.agent.as_deref()),
            ("limit", self.limit.as_deref()),
            ("after", Some(agent)),
        ];
        let given = parts.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let given = given.filter(|(_, value)| !value.is_empty());
        given.map(|(name, value)| format!("{name}={}", names::encode(value))).collect::<Vec<_>>().join("&")
    }

    fn limit(&self, default: usize) -> Result<usize, Problem> {
        let Some(given) = self.limit.as_deref() else { return Ok(default) };
        match given.parse() {
            Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
            _ => {
                let detail = format!("`limit` is a number from 1 to {LIMIT_MAX}, not `{given}`");
                Err(Problem::bad_request(detail))
            }
        }
    }
}

fn holds(node: &Node, text: &str) -> bool {
    let found = |place: &str| place.to_lowercase().contains(text);
    found(&node.host)
        || found(&node.agent_id)
        || found(&node.reason)
        || node.containers.iter().any(|c| found(&c.name) || found(&c.image) || found(&c.config))
}

/// The words that are given; one that does not exist is refused with those that do. None given: any.
fn words<'a>(name: &str, given: Option<&'a str>, all: &[&str]) -> Result<Option<Vec<&'a str>>, Problem> {
    let Some(given) = given.filter(|given| !given.is_empty()) else { return Ok(None) };
    let given: Vec<&str> = given.split(',').map(str::trim).collect();
    match given.iter().find(|word| !all.contains(word)) {
        None => Ok(Some(given)),
        Some(word) => {
            let detail = format!("there is no {name} `{word}`; there are: {}", all.join(", "));
            Err(Problem::bad_request(detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn view(nodes: usize) -> View {
        let node = |n: usize| Node {
            agent_id: format!("agent-{n:04}"),
            host: format!("h{n}"),
            coverage: if n.is_multiple_of(7) { Coverage::Unreachable } else { Coverage::Running },
            ..Node::default()
        };
        View { nodes: (0..nodes).map(|n| Arc::new(node(n))).collect(), ..View::default() }
    }

    /// The value of a parameter in a query.
    fn after(query: &str) -> Wanted {
        let of = |name| names::in_query(query, name).unwrap();
        Wanted {
            state: of("state"),
            cause: of("cause"),
            text: of("text"),
            agent: of("agent"),
            after: of("after"),
            limit: of("limit"),
        }
    }

    proptest! {
        #[test]
        fn all_pages_together_are_all_nodes_each_once(
            nodes in 0_usize..60, limit in 1_usize..20, unreachable in any::<bool>(), text in "[h0-9]{0,2}"
        ) {
            let view = view(nodes);
            let state = unreachable.then(|| "unreachable".to_owned());
            let all = Wanted { state, text: Some(text), ..Wanted::default() };
            let expected = all.page(&view, 1000).unwrap();
            prop_assert!(expected.next.is_none());
            let mut wanted = Wanted { limit: Some(limit.to_string()), ..all };
            let mut seen = Vec::new();
            loop {
                let page = wanted.page(&view, 1000).unwrap();
                prop_assert_eq!(page.matching, expected.nodes.len());
                prop_assert!(page.nodes.len() <= limit);
                seen.extend(page.nodes.iter().map(|node| node.agent_id.clone()));
                match page.next {
                    Some(next) => wanted = after(&next),
                    None => break,
                }
            }
            let ids: Vec<String> = expected.nodes.iter().map(|node| node.agent_id.clone()).collect();
            prop_assert_eq!(seen, ids);
        }
    }

    #[test]
    fn one_agent_is_shown_alone_also_where_its_id_begins_those_of_others() {
        let mut view = view(12);
        for (n, node) in view.nodes.iter_mut().enumerate() {
            Arc::make_mut(node).agent_id = format!("S{n}");
        }
        let one = Wanted { agent: Some("S1".into()), ..Wanted::default() };
        let page = one.page(&view, 10).unwrap();
        assert!(one.chooses() && page.matching == 1 && page.nodes[0].agent_id == "S1");
    }

    #[test]
    fn a_limit_that_is_none_is_refused() {
        for bad in ["0", "10001", "many", "-1"] {
            assert!(Wanted { limit: Some(bad.into()), ..Wanted::default() }.page(&view(1), 10).is_err());
        }
    }
}
