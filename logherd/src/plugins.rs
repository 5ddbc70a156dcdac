//! `logherd plugins`: says what plugins there are and what they take.
use crate::exit::Exit;
use crate::terminal::{complain, say, table};
use config::settings::{PluginsSettings, PrintFormat};
use pipeline::PluginPage;

/// Prints the list of plugins, or the pages of those that are asked for.
pub(crate) fn plugins(settings: &PluginsSettings) -> anyhow::Result<Exit> {
    let all = pipeline::plugin_pages();
    let Some(name) = &settings.name else {
        return print(&all, settings.format, list);
    };
    let of_kind: Vec<PluginPage> = all.iter().filter(|page| is_kind(page, name)).cloned().collect();
    if !of_kind.is_empty() {
        return print(&of_kind, settings.format, list);
    }
    let found: Vec<PluginPage> = all.iter().filter(|page| is_named(page, name)).cloned().collect();
    if found.is_empty() {
        complain(&format!("error: there is no plugin `{name}`"));
        complain(&format!("  = help: {}", pipeline::no_plugin_hint(name)));
        return Ok(Exit::Usage);
    }
    let pages = |found: &[PluginPage]| {
        let texts: Vec<&str> = found.iter().map(|page| page.markdown.trim_end()).collect();
        texts.join("\n\n---\n\n")
    };
    print(&found, settings.format, pages)
}

fn print(
    pages: &[PluginPage],
    format: PrintFormat,
    text: impl Fn(&[PluginPage]) -> String,
) -> anyhow::Result<Exit> {
    match format {
        PrintFormat::Text => say(text(pages).trim_end()),
        PrintFormat::Json => say(&serde_json::to_string_pretty(pages)?),
    }
    Ok(Exit::Fine)
}

fn list(pages: &[PluginPage]) -> String {
    let heading = vec!["KIND".to_owned(), "NAME".to_owned(), "WHAT IT DOES".to_owned()];
    let row = |page: &PluginPage| vec![page.kind.to_owned(), page.name.to_owned(), page.summary.clone()];
    table(&std::iter::once(heading).chain(pages.iter().map(row)).collect::<Vec<_>>())
}

/// `filter` and `filters` are one kind.
fn is_kind(page: &PluginPage, name: &str) -> bool {
    name.strip_suffix('s').unwrap_or(name) == page.kind
}

/// `json` is every plugin of that name, `codec/json` and `codec-json` the codec.
fn is_named(page: &PluginPage, name: &str) -> bool {
    let with_kind = name.strip_prefix(page.kind).and_then(|rest| rest.strip_prefix(['/', '-']));
    name == page.name || with_kind == Some(page.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_found_by_name_and_kind() {
        let all = pipeline::plugin_pages();
        let named = |name: &str| {
            let found = all.iter().filter(|page| is_named(page, name));
            found.map(|page| format!("{}/{}", page.kind, page.name)).collect::<Vec<_>>()
        };
        assert_eq!(named("json"), ["codec/json", "filter/json"]);
        assert_eq!(named("codec/json"), ["codec/json"]);
        assert_eq!(named("filter-json"), ["filter/json"]);
        assert_eq!(named("nothing"), [""; 0]);
        assert!(all.iter().filter(|page| is_kind(page, "codecs")).all(|page| page.kind == "codec"));
        let shown = list(&all);
        assert_eq!(shown.lines().count(), all.len() + 1);
        assert!(shown.contains("grok"), "{shown}");
    }
}
