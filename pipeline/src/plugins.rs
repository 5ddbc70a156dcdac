//! The table of all plugins: one line for each.
use std::any::Any;
use std::sync::Arc;

use crate::batch::Filter;
use crate::codec::Codec;
use crate::lang::ast::{Setting, Span};
use crate::lang::problems::Problems;
use crate::plan::{Common, CommonFilter, PluginCall, StartFrom};
use crate::runtime::load::Output;
use crate::runtime::source::Input;
use crate::spec::{AnyOptions, Kind, Options, Spec, load};
use crate::topology::OutputSite;
use crate::{codecs, filters, inputs, outputs};

/// Every plugin there is, sorted by kind and name.
pub(crate) static PLUGINS: &[Plugin] = &[
    // inputs
    Plugin::input::<inputs::beats::BeatsOptions>(),
    Plugin::input::<inputs::dead_letter_queue::DeadLetterQueueOptions>(),
    Plugin::input::<inputs::file::FileOptions>(),
    Plugin::input::<inputs::generator::GeneratorOptions>(),
    Plugin::input::<inputs::heartbeat::HeartbeatOptions>(),
    Plugin::input::<inputs::http::HttpOptions>(),
    Plugin::input::<inputs::redis::RedisOptions>(),
    Plugin::input::<inputs::stdin::StdinOptions>(),
    Plugin::input::<inputs::syslog::SyslogOptions>(),
    Plugin::input::<inputs::tcp::TcpOptions>(),
    Plugin::input::<inputs::udp::UdpOptions>(),
    Plugin::input::<inputs::unix::UnixOptions>(),
    // codecs
    Plugin::codec::<codecs::csv::CsvOptions>(),
    Plugin::codec::<codecs::dots::DotsOptions>(),
    Plugin::codec::<codecs::fluent::FluentOptions>(),
    Plugin::codec::<codecs::graphite::GraphiteOptions>(),
    Plugin::codec::<codecs::json::JsonOptions>(),
    Plugin::codec::<codecs::json_lines::JsonLinesOptions>(),
    Plugin::codec::<codecs::line::LineOptions>(),
    Plugin::codec::<codecs::msgpack::MsgpackOptions>(),
    Plugin::codec::<codecs::multiline::MultilineOptions>(),
    Plugin::codec::<codecs::plain::PlainOptions>(),
    Plugin::codec::<codecs::rubydebug::RubydebugOptions>(),
    // filters
    Plugin::filter::<filters::cidr::CidrOptions>(),
    Plugin::filter::<filters::clone::CloneOptions>(),
    Plugin::filter::<filters::csv::CsvOptions>(),
    Plugin::filter::<filters::date::DateOptions>(),
    Plugin::filter::<filters::de_dot::DeDotOptions>(),
    Plugin::filter::<filters::dissect::DissectOptions>(),
    Plugin::filter::<filters::drop::DropOptions>(),
    Plugin::filter::<filters::fingerprint::FingerprintOptions>(),
    Plugin::filter::<filters::grok::GrokOptions>(),
    Plugin::filter::<filters::json::JsonOptions>(),
    Plugin::filter::<filters::kv::KvOptions>(),
    Plugin::filter::<filters::mutate::MutateOptions>(),
    Plugin::filter::<filters::prune::PruneOptions>(),
    Plugin::filter::<filters::split::SplitOptions>(),
    Plugin::filter::<filters::syslog_pri::SyslogPriOptions>(),
    Plugin::filter::<filters::throttle::ThrottleOptions>(),
    Plugin::filter::<filters::translate::TranslateOptions>(),
    Plugin::filter::<filters::truncate::TruncateOptions>(),
    Plugin::filter::<filters::urldecode::UrldecodeOptions>(),
    Plugin::filter::<filters::uuid::UuidOptions>(),
    // outputs
    Plugin::output::<outputs::elasticsearch::ElasticsearchOptions>(),
    Plugin::output::<outputs::file::FileOptions>(),
    Plugin::output::<outputs::graphite::GraphiteOptions>(),
    Plugin::output::<outputs::http::HttpOptions>(),
    Plugin::output::<outputs::influxdb::InfluxdbOptions>(),
    Plugin::output::<outputs::kafka::KafkaOptions>(),
    Plugin::output::<outputs::null::NullOptions>(),
    Plugin::output::<outputs::redis::RedisOptions>(),
    Plugin::output::<outputs::statsd::StatsdOptions>(),
    Plugin::output::<outputs::stdout::StdoutOptions>(),
    Plugin::output::<outputs::syslog::SyslogOptions>(),
    Plugin::output::<outputs::tcp::TcpOptions>(),
    Plugin::output::<outputs::udp::UdpOptions>(),
];

/// One line of the table: what is known of a plugin, how its settings are read, and how it is built from them.
pub(crate) struct Plugin {
    pub(crate) spec: &'static Spec,
    /// Reads and validates settings.
    pub(crate) load: fn(Span, &[Setting], &mut Problems) -> Option<AnyOptions>,
    pub(crate) build: Build,
}

/// How a plugin is made from its options.
pub(crate) enum Build {
    Input(fn(&AnyOptions) -> Built<dyn Input>),
    Codec(fn(&AnyOptions) -> Result<Codec, String>),
    Output(fn(&AnyOptions, OutputSite) -> Built<dyn Output>),
    Filter(fn(&AnyOptions, &Arc<CommonFilter>, &mut Shared) -> Built<dyn Filter>),
}

/// A plugin ready to work, or the reason, for people, why it cannot be made.
type Built<T> = Result<Box<T>, String>;

/// The options of a filter, which know how to make it.
pub(crate) trait FilterOptions: Options {
    /// Makes the filter. `on_success` is for each event on which the filter did what it is for: the filter knows which
    /// those are. The reason why it cannot be made is for people.
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String>;

    /// Makes the filter of one more worker; `shared` holds what the filter's instances of all workers have together.
    fn build_shared(
        &self,
        on_success: &Arc<CommonFilter>,
        _shared: &mut Shared,
    ) -> Result<Box<dyn Filter>, String> {
        self.build(on_success)
    }
}

/// What the instances of one filter, one for each worker of a pipeline, have together: at most one value.
#[derive(Clone, Default)]
pub(crate) struct Shared(Option<Arc<dyn Any + Send + Sync>>);

impl Shared {
    /// The value, made by the first that asks.
    pub(crate) fn take_or_make<T: Send + Sync + 'static>(&mut self, make: impl FnOnce() -> T) -> Arc<T> {
        if let Some(value) = self.0.clone().and_then(|value| value.downcast::<T>().ok()) {
            return value;
        }
        let value = Arc::new(make());
        self.0 = Some(value.clone());
        value
    }
}

/// The options of an input, which know how to make it.
pub(crate) trait InputOptions: Options {
    /// Makes the input. The reason why it cannot be made is for people.
    fn build(&self) -> Result<Box<dyn Input>, String>;
}

/// The options of a codec, which know how to make it.
pub(crate) trait CodecOptions: Options {
    /// Makes the codec. The reason why it cannot be made is for people.
    fn build(&self) -> Result<Codec, String>;
}

/// The options of an output, which know how to make it.
pub(crate) trait OutputOptions: Options {
    /// Makes the output. The reason why it cannot be made is for people.
    fn build(&self, site: OutputSite) -> Result<Box<dyn Output>, String>;
}

impl Plugin {
    /// The line of an input.
    pub(crate) const fn input<O: InputOptions>() -> Self {
        Self { spec: O::SPEC, load: load::<O>, build: Build::Input(|options| typed::<O>(options)?.build()) }
    }

    /// The line of a codec.
    pub(crate) const fn codec<O: CodecOptions>() -> Self {
        Self { spec: O::SPEC, load: load::<O>, build: Build::Codec(|options| typed::<O>(options)?.build()) }
    }

    /// The line of an output.
    pub(crate) const fn output<O: OutputOptions>() -> Self {
        Self {
            spec: O::SPEC,
            load: load::<O>,
            build: Build::Output(|options, site| typed::<O>(options)?.build(site)),
        }
    }

    /// The line of a filter.
    pub(crate) const fn filter<O: FilterOptions>() -> Self {
        Self {
            spec: O::SPEC,
            load: load::<O>,
            build: Build::Filter(|options, common, shared| typed::<O>(options)?.build_shared(common, shared)),
        }
    }
}

/// The options as the type that the plugin declared.
fn typed<O: Options>(options: &AnyOptions) -> Result<&O, String> {
    options.downcast_ref().ok_or_else(|| format!("the options are not those of {:?}", O::SPEC))
}

/// The plugin of this kind and name.
pub(crate) fn find(kind: Kind, name: &str) -> Option<&'static Plugin> {
    PLUGINS.iter().find(|p| p.spec.kind == kind && p.spec.name == name)
}

/// The names of all plugins of a kind.
pub(crate) fn names(kind: Kind) -> impl Iterator<Item = &'static str> {
    PLUGINS.iter().filter(move |p| p.spec.kind == kind).map(|p| p.spec.name)
}

/// The files inside of a container that an input wants to be fed from, and where to begin in them.
pub(crate) fn feeds(input: &PluginCall) -> (Vec<String>, StartFrom) {
    match typed::<inputs::file::FileOptions>(&input.options) {
        Ok(options) => {
            (options.docker_path.0.clone(), options.start_position.unwrap_or(StartFrom::Beginning))
        }
        Err(_) => (Vec::new(), StartFrom::Beginning),
    }
}

/// Whether an input remembers how far it has read.
pub(crate) fn keeps_positions(input: &PluginCall) -> bool {
    match typed::<inputs::file::FileOptions>(&input.options) {
        Ok(options) => options.remembers(),
        Err(_) => input.spec.name == "dead_letter_queue",
    }
}

/// Makes the input of a call.
pub(crate) fn build_input(call: &PluginCall) -> Result<Box<dyn Input>, String> {
    if let Some(replay) = call.options.downcast_ref::<inputs::dead_letter_queue::Replay>() {
        return Ok(replay.build());
    }
    match find(call.spec.kind, call.spec.name).map(|plugin| &plugin.build) {
        Some(Build::Input(build)) => build(&call.options),
        _ => Err(format!("{:?} is not an input", call.spec)),
    }
}

/// Makes the codec of a call.
pub(crate) fn build_codec(call: &PluginCall) -> Result<Codec, String> {
    match find(call.spec.kind, call.spec.name).map(|plugin| &plugin.build) {
        Some(Build::Codec(build)) => build(&call.options),
        _ => Err(format!("{:?} is not a codec", call.spec)),
    }
}

/// Makes the filter of a call.
pub(crate) fn build_filter(call: &PluginCall, shared: &mut Shared) -> Result<Box<dyn Filter>, String> {
    match (find(call.spec.kind, call.spec.name).map(|plugin| &plugin.build), &call.common) {
        (Some(Build::Filter(build)), Common::Filter(common)) => build(&call.options, common, shared),
        _ => Err(format!("{:?} is not a filter", call.spec)),
    }
}

/// Makes the output of a call.
pub(crate) fn build_output(call: &PluginCall, site: OutputSite) -> Result<Box<dyn Output>, String> {
    match find(call.spec.kind, call.spec.name).map(|plugin| &plugin.build) {
        Some(Build::Output(build)) => build(&call.options, site),
        _ => Err(format!("{:?} is not an output", call.spec)),
    }
}
