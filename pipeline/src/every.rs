//! Declares the options that every plugin of a kind has.
use std::sync::Arc;

use crate::field::FieldRef;
use crate::lang::ast::{Node, Raw, Setting, Span};
use crate::lang::kinds::{CodecCall, FromSetting, Hash, OptionKind, Placed};
use crate::lang::problems::Problems;
use crate::plan::{Common, CommonFilter, CommonInput};
use crate::spec::{Kind, Options, Spec, plugin};
use crate::template::Template;

plugin! {
    /// Every input has these options, too.
    input "every input" => pub(crate) struct EveryInput {
        /// A name for this use of the plugin, for logs and counters; made up when left out.
        id: Option<String>,
        /// Accepted for Logstash's sake: counters are always kept.
        enable_metric: bool = true,
        /// Fields to add to each event. Names and values may be templates.
        add_field: AddFields = {},
        /// Tags to add to each event.
        tags: Vec<Template> = [],
        /// The value of the field `type`, for events that do not have one.
        r#type: Option<String>,
        /// How bytes become events. The inputs say what they use when it is left out.
        codec: Option<Placed<CodecCall>>,
    }
    unsupported {
        "charset" => "give it to the codec: `codec => plain { charset => \"…\" }`",
        "format" => "choose a codec: `codec => json`",
    }
}

plugin! {
    /// Every codec has these options, too.
    codec "every codec" => pub(crate) struct EveryCodec {
        /// A name for this use of the plugin, for logs and counters; made up when left out.
        id: Option<String>,
        /// Accepted for Logstash's sake: counters are always kept.
        enable_metric: bool = true,
    }
}

plugin! {
    /// Every filter has these options, too; all but `id` apply to the events on which the filter succeeds.
    filter "every filter" => pub(crate) struct EveryFilter {
        /// A name for this use of the plugin, for logs and counters; made up when left out.
        id: Option<String>,
        /// Accepted for Logstash's sake: counters are always kept.
        enable_metric: bool = true,
        /// Fields to add. Names and values may be templates; a field that is there already becomes a list.
        add_field: AddFields = {},
        /// Fields to remove. Names may be templates.
        remove_field: Vec<FieldName> = [],
        /// Tags to add. They may be templates.
        add_tag: Vec<Template> = [],
        /// Tags to remove. They may be templates.
        remove_tag: Vec<Template> = [],
    }
    accepted {
        "periodic_flush" => "filters that hold something back give it out by themselves",
    }
}

plugin! {
    /// Every output has these options, too.
    output "every output" => pub(crate) struct EveryOutput {
        /// A name for this use of the plugin, for logs and counters; made up when left out.
        id: Option<String>,
        /// Accepted for Logstash's sake: counters are always kept.
        enable_metric: bool = true,
    }
    unsupported {
        "workers" => "remove it: each output decides by itself how much it does at once",
    }
}

/// The description of the options that every plugin of this kind has.
pub(crate) fn spec(kind: Kind) -> &'static Spec {
    match kind {
        Kind::Input => EveryInput::SPEC,
        Kind::Codec => EveryCodec::SPEC,
        Kind::Filter => EveryFilter::SPEC,
        Kind::Output => EveryOutput::SPEC,
    }
}

/// What the options that every plugin of a kind has come to.
pub(crate) struct Every {
    pub(crate) id: Option<String>,
    pub(crate) common: Common,
}

/// Reads the options that every plugin of this kind has.
pub(crate) fn read(kind: Kind, call: Span, settings: &[Setting], problems: &mut Problems) -> Option<Every> {
    let (id, enable_metric, common) = match kind {
        Kind::Input => {
            let every = EveryInput::read(call, settings, problems)?;
            every.codec.iter().for_each(|codec| must_read(codec, problems));
            let common = CommonInput {
                add_field: every.add_field.0,
                tags: every.tags,
                set_type: every.r#type,
                codec: every.codec.map(|codec| codec.value.0),
            };
            (every.id, every.enable_metric, Common::Input(Arc::new(common)))
        }
        Kind::Codec => {
            let every = EveryCodec::read(call, settings, problems)?;
            (every.id, every.enable_metric, Common::Other)
        }
        Kind::Filter => {
            let every = EveryFilter::read(call, settings, problems)?;
            let common = CommonFilter {
                add_field: every.add_field.0,
                remove_field: every.remove_field.into_iter().map(|name| name.0).collect(),
                add_tag: every.add_tag,
                remove_tag: every.remove_tag,
            };
            (every.id, every.enable_metric, Common::Filter(Arc::new(common)))
        }
        Kind::Output => {
            let every = EveryOutput::read(call, settings, problems)?;
            (every.id, every.enable_metric, Common::Other)
        }
    };
    if !enable_metric && let Some(setting) = settings.iter().find(|s| s.key.text == "enable_metric") {
        problems.warning(setting.value.span, "counters are always kept").hint("remove `enable_metric`");
    }
    Some(Every { id, common })
}

/// Names of fields and the values to add to them.
#[derive(Clone, Debug)]
pub(crate) struct AddFields(Vec<(Template, Vec<Template>)>);

impl FromSetting for AddFields {
    const KIND: OptionKind = Hash::<Vec<Template>>::KIND;

    fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self> {
        let errors = problems.errors();
        for key in keys(node) {
            FieldName::from_setting(key, problems);
        }
        let fields = Hash::<Vec<Template>>::from_setting(node, problems)?;
        let named = fields.0.into_iter().map(|(name, values)| (Template::parse(&name), values));
        (problems.errors() == errors).then(|| Self(named.collect()))
    }
}

/// The keys of a hash, written as one or as an array of keys and values in turn.
fn keys(node: &Node) -> Vec<&Node> {
    match &node.value {
        Raw::Hash(entries) => entries.iter().map(|(key, _)| key).collect(),
        Raw::List(items) => items.iter().step_by(2).collect(),
        _ => Vec::new(),
    }
}

/// The name of a field, which each event may fill in.
#[derive(Clone, Debug)]
pub(crate) struct FieldName(Template);

impl FromSetting for FieldName {
    const KIND: OptionKind = OptionKind::Template;

    fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self> {
        let template = Template::from_setting(node, problems)?;
        if template.as_literal().is_some() {
            FieldRef::from_setting(node, problems)?;
        }
        Some(Self(template))
    }
}

/// An input needs a codec that can read.
fn must_read(codec: &Placed<CodecCall>, problems: &mut Problems) {
    let call = &codec.value.0;
    if crate::plugins::build_codec(call).is_ok_and(|codec| codec.decode.is_none()) {
        problems
            .error(codec.span, format!("the codec `{}` can only write", call.spec.name))
            .hint("choose one that can read: `plain`, `line`, `json` or `json_lines`");
    }
}
