//! Knows options that plugins had once, or that people give by another name, and says what to write instead.
//!
//! A plugin's own declaration comes first: what it has, accepts or explains itself is never looked for here.
use crate::spec::{Kind, Spec};

/// What to write instead of an option that a plugin has not.
pub(super) fn instead(spec: &Spec, option: &str) -> Option<&'static str> {
    let of = |plugin: &str| {
        SLIPS.iter().find(|(kind, name, slip, _)| (*kind, *name, *slip) == (spec.kind, plugin, option))
    };
    of(spec.name).or_else(|| of(EVERY)).map(|(_, _, _, instead)| *instead)
}

const EVERY: &str = "*";
const CONDITION: &str =
    "put the plugin into a condition: `if [type] == \"…\" { … }`, `if \"…\" in [tags] { … }`";
const BATCHES: &str = "remove it: events are sent in batches as they come";
const ALWAYS_HTTP: &str = "remove it: it is always HTTP";
const CODEC: &str = "choose a codec: `codec => line { format => \"…\" }`";

static SLIPS: &[(Kind, &str, &str, &str)] = &[
    (Kind::Input, EVERY, "message_format", "choose a codec: `codec => json`, `codec => plain`"),
    (Kind::Input, EVERY, "add_tag", "for an input it is called `tags`"),
    (Kind::Input, EVERY, "debug", "give `--log-level debug` on the command line"),
    (Kind::Input, "file", "paths", "it is called `path`"),
    (Kind::Input, "file", "filename", "it is called `path`"),
    (Kind::Filter, EVERY, "type", CONDITION),
    (Kind::Filter, EVERY, "tags", CONDITION),
    (Kind::Filter, EVERY, "exclude_tags", CONDITION),
    (Kind::Filter, EVERY, "exclude_any", CONDITION),
    (Kind::Filter, EVERY, "add_tags", "it is called `add_tag`"),
    (Kind::Filter, EVERY, "add_fields", "it is called `add_field`"),
    (Kind::Filter, EVERY, "remove_fields", "it is called `remove_field`"),
    (Kind::Filter, EVERY, "codec", "filters have none: use the `json` or the `csv` filter"),
    (Kind::Filter, "grok", "pattern", "write `match => { \"message\" => \"…\" }`"),
    (
        Kind::Filter,
        "grok",
        "patterns",
        "write `match => { \"message\" => [\"…\", \"…\"] }`, or definitions into `pattern_definitions`",
    ),
    (Kind::Filter, "grok", "source", "write `match => { \"field\" => \"…\" }`"),
    (Kind::Filter, "grok", "singles", "remove it: single values are never lists"),
    (
        Kind::Filter,
        "date",
        "source",
        "the field is the first of the list: `match => [\"field\", \"ISO8601\"]`",
    ),
    (Kind::Filter, "date", "format", "write `match => [\"field\", \"format\"]`"),
    (Kind::Filter, "date", "pattern", "write `match => [\"field\", \"format\"]`"),
    (Kind::Filter, "mutate", "add", "it is called `add_field`"),
    (Kind::Filter, "mutate", "remove", "it is called `remove_field`"),
    (Kind::Filter, "mutate", "set", "it is called `replace` (or `update`, for fields that are there)"),
    (Kind::Filter, "json", "field", "it is called `source`"),
    (
        Kind::Filter,
        "kv",
        "separator",
        "between pairs it is `field_split`, between a key and its value `value_split`",
    ),
    (Kind::Filter, "split", "delimiter", "it is called `terminator`"),
    (Kind::Output, EVERY, "type", CONDITION),
    (Kind::Output, EVERY, "tags", CONDITION),
    (Kind::Output, EVERY, "exclude_tags", CONDITION),
    (Kind::Output, EVERY, "fields", CONDITION),
    (Kind::Output, EVERY, "message_format", CODEC),
    (Kind::Output, EVERY, "flush_size", BATCHES),
    (Kind::Output, EVERY, "idle_flush_time", BATCHES),
    (Kind::Output, EVERY, "max_retries", "remove it: what was not taken is sent again until it is"),
    (Kind::Output, "elasticsearch", "host", "it is called `hosts`: `hosts => [\"http://host:9200\"]`"),
    (Kind::Output, "elasticsearch", "port", "it is part of `hosts`: `hosts => [\"http://host:9200\"]`"),
    (Kind::Output, "elasticsearch", "url", "it is called `hosts`: `hosts => [\"http://host:9200\"]`"),
    (Kind::Output, "elasticsearch", "protocol", ALWAYS_HTTP),
    (Kind::Output, "elasticsearch", "cluster", ALWAYS_HTTP),
    (Kind::Output, "elasticsearch", "node_name", ALWAYS_HTTP),
    (Kind::Output, "elasticsearch", "transport", ALWAYS_HTTP),
    (Kind::Output, "elasticsearch", "embedded", ALWAYS_HTTP),
    (Kind::Output, "elasticsearch", "index_type", "mapping types do not exist any more: remove it"),
    (
        Kind::Output,
        "elasticsearch",
        "truststore",
        "give certificates in PEM form: `ssl_certificate_authorities`",
    ),
    (Kind::Output, "elasticsearch", "keystore", "give certificates in PEM form"),
    (Kind::Output, "stdout", "debug", "write `codec => rubydebug`"),
    (Kind::Output, "stdout", "message", CODEC),
    (Kind::Output, "stdout", "format", CODEC),
    (Kind::Output, "file", "message", CODEC),
    (Kind::Output, "file", "filename", "it is called `path`"),
    (Kind::Output, "http", "method", "it is called `http_method`"),
    (Kind::Output, "http", "hosts", "it is called `url`"),
    (Kind::Output, "redis", "hosts", "it is called `host`, and may be a list"),
    (Kind::Output, "kafka", "topic", "it is called `topic_id`"),
    (Kind::Output, "kafka", "broker_list", "it is called `bootstrap_servers`"),
    (Kind::Output, "kafka", "hosts", "it is called `bootstrap_servers`"),
];
