//! Checks the options of the output as a whole: what excludes each other, and what cannot be.
use super::{ElasticsearchOptions, Maybe};
use crate::bulk::Action;
use crate::bulk::cluster::{cloud_url, host_url};
use crate::client::both_or_none;
use crate::ecs::Ecs;
use crate::lang::ast::Span;
use crate::lang::problems::Problems;

/// What names of parts of data streams do not have.
const NOT_IN_STREAMS: &[char] = &['\\', '/', '*', '?', '"', '<', '>', '|', ' ', ',', '#', ':'];
/// The longest name of a part of a data stream, in bytes.
const STREAM_PART_MAX: usize = 100;

pub(super) fn check(options: &ElasticsearchOptions, problems: &mut Problems) {
    hosts(options, problems);
    who(options, problems);
    both_or_none(options.ssl_certificate.as_ref(), options.ssl_key.as_ref(), problems);
    if let Some(action) = &options.action
        && let Some(name) = action.value.as_literal()
        && Action::named(name).is_none()
    {
        problems
            .error(action.span, "there is no such action")
            .hint("there are `index`, `create`, `update` and `delete`, or a template such as \"%{[@metadata][action]}\"");
    }
    if let Some(level) = options.compression_level.as_ref().filter(|level| level.value > 9) {
        problems.error(level.span, "the `compression_level` is too high").hint("it can be from 0 to 9");
    }
    for code in &options.dlq_custom_codes.value {
        if [200, 201, 400, 404, 409].contains(code) {
            let what = format!("what {code} means is fixed");
            problems.error(options.dlq_custom_codes.span, what).hint("leave it out of `dlq_custom_codes`");
        }
    }
    streams(options, problems);
}

fn hosts(options: &ElasticsearchOptions, problems: &mut Problems) {
    let span = options.hosts.span;
    if options.hosts.value.is_empty() {
        problems.error(span, "there are no hosts");
    }
    for host in &options.hosts.value {
        if host_url(host, options.ssl_enabled).is_err() {
            // Not shown: it may hold a password.
            problems
                .error(span, "a host is neither `host:port` nor a URL")
                .hint("write it like \"https://es-1:9200\"");
        }
    }
    if let Some(id) = &options.cloud_id
        && let Err(why) = cloud_url(&id.value)
    {
        problems
            .error(id.span, format!("the `cloud_id` cannot be read: {why}"))
            .hint("copy it from the console");
    }
}

fn who(options: &ElasticsearchOptions, problems: &mut Problems) {
    let user = options.user.as_ref().map(|user| (user.span, "user"));
    let ways = [
        user,
        options.api_key.as_ref().map(|key| (key.span, "api_key")),
        options.cloud_auth.as_ref().map(|both| (both.span, "cloud_auth")),
    ];
    let mut ways = ways.into_iter().flatten();
    if let (Some((span, first)), Some((_, second))) = (ways.next(), ways.next()) {
        problems
            .error(span, format!("both `{first}` and `{second}` are given"))
            .hint("leave one of them out");
    }
    match (&options.user, &options.password) {
        (Some(user), None) if options.api_key.is_none() => {
            problems
                .error(user.span, "the `user` has no `password`")
                .hint("add `password => \"${ES_PASSWORD}\"`");
        }
        (None, Some(password)) => {
            problems.error(password.span, "the `password` is nobody's").hint("add `user => …`");
        }
        _ => {}
    }
    if let Some(both) = &options.cloud_auth
        && both
            .value
            .reveal()
            .split_once(':')
            .is_none_or(|(user, password)| user.is_empty() || password.is_empty())
    {
        problems.error(both.span, "the `cloud_auth` is not `user:password`");
    }
}

fn streams(options: &ElasticsearchOptions, problems: &mut Problems) {
    let parts = [&options.data_stream_dataset, &options.data_stream_namespace];
    for part in parts.into_iter().flatten() {
        if part.value.is_empty() || part.value.len() > STREAM_PART_MAX || part.value.contains(NOT_IN_STREAMS)
        {
            problems
                .error(part.span, "this cannot be part of a data stream's name")
                .hint("it has 1 to 100 bytes and none of \\ / * ? \" < > | space , # :");
        }
    }
    let given = options.stream_options();
    let against = options.against_streams();
    let wanted = options.data_stream.as_ref().map(|wanted| (wanted.span, wanted.value));
    if let Some((_, Maybe::True)) = wanted {
        for (span, name) in against {
            problems
                .error(span, format!("`{name}` does not go with a data stream"))
                .hint("leave it out, or say `data_stream => false`");
        }
    } else if !options.uses_stream() {
        for (span, name) in given {
            problems
                .error(span, format!("`{name}` without a data stream"))
                .hint("add `data_stream => true`, or leave it out");
        }
    }
}

impl ElasticsearchOptions {
    /// The options for data streams that are given.
    fn stream_options(&self) -> Vec<(Span, &'static str)> {
        let all = [
            self.data_stream_type.as_ref().map(|given| (given.span, "data_stream_type")),
            self.data_stream_dataset.as_ref().map(|given| (given.span, "data_stream_dataset")),
            self.data_stream_namespace.as_ref().map(|given| (given.span, "data_stream_namespace")),
            self.data_stream_sync_fields.as_ref().map(|given| (given.span, "data_stream_sync_fields")),
            self.data_stream_auto_routing.as_ref().map(|given| (given.span, "data_stream_auto_routing")),
        ];
        all.into_iter().flatten().collect()
    }

    /// The options that are given and do not go with data streams.
    fn against_streams(&self) -> Vec<(Span, &'static str)> {
        let other_action =
            self.action.as_ref().filter(|action| action.value.as_literal().is_none_or(|a| a != "create"));
        let template = self.manage_template.as_ref().filter(|manage| manage.value);
        let all = [
            self.index.as_ref().map(|given| (given.span, "index")),
            other_action.map(|given| (given.span, "action")),
            template.map(|given| (given.span, "manage_template")),
            self.template.as_ref().map(|given| (given.span, "template")),
            self.template_name.as_ref().map(|given| (given.span, "template_name")),
            self.ilm_rollover_alias.as_ref().map(|given| (given.span, "ilm_rollover_alias")),
            self.parent.as_ref().map(|given| (given.span, "parent")),
            self.join_field.as_ref().map(|given| (given.span, "join_field")),
            self.version.as_ref().map(|given| (given.span, "version")),
            self.version_type.as_ref().map(|given| (given.span, "version_type")),
        ];
        all.into_iter().flatten().collect()
    }

    /// Whether events go to a data stream.
    pub(super) fn uses_stream(&self) -> bool {
        match self.data_stream.as_ref().map(|wanted| wanted.value) {
            Some(Maybe::True) => true,
            Some(Maybe::False) => false,
            _ => self.ecs_compatibility != Ecs::Disabled && self.against_streams().is_empty(),
        }
    }
}
