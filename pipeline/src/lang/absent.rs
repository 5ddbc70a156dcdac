//! Knows the plugins of Logstash that do not exist here, and says what to do instead.
use crate::spec::Kind;

/// What to do instead of a plugin of Logstash; `None` for names that Logstash has not either.
pub(crate) fn advice(kind: Kind, name: &str) -> Option<&'static str> {
    ABSENT.iter().find(|(k, n, _)| *k == kind && *n == name).map(|(_, _, advice)| *advice)
}

const TAIL: &str = "let the program write to a file, and read it with the `file` input";
const SENDER: &str =
    "send with one of the outputs that exist, or write a file for another program to pick up";
const LOOKUP: &str = "filters do not ask other systems: enrich the events where they are stored";

/// Plugins of Logstash's default distribution.
static ABSENT: &[(Kind, &str, &str)] = &[
    (Kind::Input, "azure_event_hubs", TAIL),
    (Kind::Input, "couchdb_changes", TAIL),
    (Kind::Input, "elastic_agent", TAIL),
    (Kind::Input, "elasticsearch", TAIL),
    (Kind::Input, "elastic_serverless_forwarder", TAIL),
    (
        Kind::Input,
        "exec",
        "configurations start no programs: let the program write to a file, and read it with the `file` input",
    ),
    (Kind::Input, "ganglia", TAIL),
    (Kind::Input, "gelf", TAIL),
    (Kind::Input, "graphite", TAIL),
    (Kind::Input, "http_poller", TAIL),
    (Kind::Input, "imap", TAIL),
    (Kind::Input, "jdbc", TAIL),
    (Kind::Input, "jms", TAIL),
    (Kind::Input, "kafka", TAIL),
    (Kind::Input, "log4j", TAIL),
    (Kind::Input, "logstash", TAIL),
    (
        Kind::Input,
        "pipe",
        "configurations start no programs: let the program write to a file, and read it with the `file` input",
    ),
    (Kind::Input, "pipeline", "there is one pipeline for each configuration: put everything into it"),
    (Kind::Input, "rabbitmq", TAIL),
    (Kind::Input, "s3", TAIL),
    (Kind::Input, "snmp", TAIL),
    (Kind::Input, "sqs", TAIL),
    (Kind::Input, "twitter", TAIL),
    (Kind::Codec, "avro", "use `json` or `plain`"),
    (Kind::Codec, "cef", "use `plain`, and take the text apart with the `grok` filter"),
    (Kind::Codec, "cloudfront", "use `plain`, and take the text apart with the `grok` filter"),
    (Kind::Codec, "collectd", "use `json` or `plain`"),
    (Kind::Codec, "edn", "use `json` or `plain`"),
    (Kind::Codec, "es_bulk", "use `json_lines`"),
    (Kind::Codec, "gzip_lines", "unpack the file before it is read"),
    (Kind::Codec, "netflow", "use `json` or `plain`"),
    (Kind::Codec, "nmap", "use `json` or `plain`"),
    (Kind::Codec, "protobuf", "use `json` or `plain`"),
    (Kind::Filter, "age", LOOKUP),
    (Kind::Filter, "aggregate", "events are looked at one by one: aggregate them where they are stored"),
    (Kind::Filter, "bytes", "outputs that take sizes read them themselves; for numbers use `mutate`"),
    (Kind::Filter, "cipher", "there is no encryption of fields: remove what must not be seen with `mutate`"),
    (Kind::Filter, "dns", LOOKUP),
    (Kind::Filter, "elapsed", "events are looked at one by one: compare them where they are stored"),
    (Kind::Filter, "elasticsearch", LOOKUP),
    (Kind::Filter, "environment", "use `${NAME}` in any value"),
    (Kind::Filter, "geoip", LOOKUP),
    (Kind::Filter, "http", LOOKUP),
    (Kind::Filter, "i18n", "use the `mutate` filter"),
    (Kind::Filter, "jdbc_static", LOOKUP),
    (Kind::Filter, "jdbc_streaming", LOOKUP),
    (Kind::Filter, "memcached", LOOKUP),
    (Kind::Filter, "metrics", "the counters of each pipeline are on the status page and at `/metrics`"),
    (Kind::Filter, "multiline", "each line becomes an event of its own"),
    (
        Kind::Filter,
        "ruby",
        "programs in configurations are not run: write it with `mutate`, `grok` and conditions",
    ),
    (Kind::Filter, "sleep", "filters do not wait: outputs slow the inputs down by themselves"),
    (Kind::Filter, "tld", "take the text apart with the `grok` filter"),
    (Kind::Filter, "useragent", LOOKUP),
    (Kind::Filter, "xml", "take the text apart with the `grok` filter"),
    (Kind::Output, "cloudwatch", SENDER),
    (Kind::Output, "csv", "use `file` with the codec `line` and a `format`"),
    (Kind::Output, "datadog", SENDER),
    (Kind::Output, "email", SENDER),
    (Kind::Output, "exec", "configurations start no programs: write a file for another program to pick up"),
    (Kind::Output, "gelf", SENDER),
    (Kind::Output, "logstash", SENDER),
    (Kind::Output, "loggly", SENDER),
    (Kind::Output, "lumberjack", SENDER),
    (Kind::Output, "mongodb", SENDER),
    (Kind::Output, "nagios", SENDER),
    (Kind::Output, "opensearch", "use `elasticsearch`: the bulk interface is the same"),
    (Kind::Output, "pagerduty", SENDER),
    (Kind::Output, "pipe", "configurations start no programs: write a file for another program to pick up"),
    (Kind::Output, "pipeline", "there is one pipeline for each configuration: put everything into it"),
    (Kind::Output, "rabbitmq", SENDER),
    (Kind::Output, "s3", SENDER),
    (Kind::Output, "sink", "use `null`"),
    (Kind::Output, "sns", SENDER),
    (Kind::Output, "sqs", SENDER),
    (Kind::Output, "webhdfs", SENDER),
    (Kind::Output, "websocket", SENDER),
    (Kind::Output, "zabbix", SENDER),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins;

    #[test]
    fn what_is_called_absent_is_absent() {
        for (kind, name, _) in ABSENT {
            assert!(plugins::find(*kind, name).is_none(), "{} {name} exists", kind.word());
        }
    }
}
