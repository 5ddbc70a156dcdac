//! Checks one use of a plugin: that it exists, that its options exist, once each, and that their values fit.
use super::repeated::{again, duplicate_keys};
use super::slips;
use crate::every;
use crate::lang::absent;
use crate::lang::ast::{Call, Setting};
use crate::lang::problems::Problems;
use crate::lang::suggest::{closest, listed};
use crate::plan::PluginCall;
use crate::plugins::{self, Plugin};
use crate::spec::{Kind, Spec};

/// Reads a call; `None` when something is wrong, which has then been reported. The id is the one given, else the name.
pub(super) fn load(kind: Kind, call: &Call, problems: &mut Problems) -> Option<PluginCall> {
    let plugin = find(kind, call, problems)?;
    let (settings, misspelled) = known_once(plugin.spec, call, problems);
    let mark = problems.mark();
    let options = (plugin.load)(call.name.span, &settings, problems);
    let every = every::read(kind, call.name.span, &settings, problems);
    // What could not be read may have been what is missing.
    problems.forgive_missing(mark, |names| {
        !call.whole || names.split('|').any(|name| misspelled.contains(&name))
    });
    let every = every?;
    Some(PluginCall {
        spec: plugin.spec,
        id: every.id.unwrap_or_else(|| plugin.spec.name.to_owned()),
        line: problems.line_of(call.name.span),
        options: options?,
        common: every.common,
    })
}

fn find(kind: Kind, call: &Call, problems: &mut Problems) -> Option<&'static Plugin> {
    let name = call.name.text.as_str();
    if let Some(plugin) = plugins::find(kind, name) {
        return Some(plugin);
    }
    let word = kind.word();
    let others = [Kind::Input, Kind::Filter, Kind::Output, Kind::Codec];
    let other = others.into_iter().find(|other| *other != kind && plugins::find(*other, name).is_some());
    let names = listed(plugins::names(kind));
    let hint = if let Some(advice) = absent::advice(kind, name) {
        format!("Logstash has it, Logherd has not: {advice}")
    } else if let Some(near) = closest(name, plugins::names(kind)) {
        format!("did you mean `{near}`? There are {names}")
    } else if let Some(other) = other {
        let place = match other {
            Kind::Codec => "give it to an input or output: `codec => …`".to_owned(),
            other => format!("put it into `{} {{ … }}`", other.word()),
        };
        format!("`{name}` is {} {}: {place}", article(other), other.word())
    } else {
        format!("there are {names}")
    };
    problems.error(call.name.span, format!("there is no {word} `{name}`")).hint(hint);
    None
}

fn article(kind: Kind) -> &'static str {
    match kind {
        Kind::Input | Kind::Output => "an",
        Kind::Codec | Kind::Filter => "a",
    }
}

/// The settings whose options exist, each once; the rest is reported. Also the options that were meant by other names.
fn known_once(
    spec: &'static Spec,
    call: &Call,
    problems: &mut Problems,
) -> (Vec<Setting>, Vec<&'static str>) {
    let every = every::spec(spec.kind);
    let mut known: Vec<Setting> = Vec::with_capacity(call.settings.len());
    let mut misspelled = Vec::new();
    for setting in &call.settings {
        duplicate_keys(&setting.value, problems);
        let name = setting.key.text.as_str();
        if spec.accepted.iter().chain(every.accepted).any(|(accepted, _)| *accepted == name) {
            continue;
        }
        let Some(option) = spec.options.iter().chain(every.options).find(|o| o.name == name) else {
            misspelled.extend(unknown(spec, every, setting, problems));
            continue;
        };
        match known.iter_mut().find(|s| s.key.text == name) {
            None => known.push(setting.clone()),
            Some(first) => again(first, setting, option.kind, problems),
        }
    }
    (known, misspelled)
}

/// Reports an option that does not exist; answers the one that was probably meant.
fn unknown(
    spec: &'static Spec,
    every: &'static Spec,
    setting: &Setting,
    problems: &mut Problems,
) -> Option<&'static str> {
    let name = setting.key.text.as_str();
    let owner = format!("the {} `{}`", spec.kind.word(), spec.name);
    let gone = spec.unsupported.iter().chain(every.unsupported).find(|(gone, _)| *gone == name);
    if let Some((_, instead)) = gone {
        problems.error(setting.key.span, format!("{owner} does not support `{name}`")).hint(*instead);
        return None;
    }
    if let Some(instead) = slips::instead(spec, name) {
        problems.error(setting.key.span, format!("{owner} has no option `{name}`")).hint(instead);
        return None;
    }
    let names = || spec.options.iter().chain(every.options).map(|o| o.name);
    let near = closest(name, names());
    let hint = match near {
        Some(near) => format!("did you mean `{near}`? It has {}", listed(names())),
        None => format!("it has {}", listed(names())),
    };
    problems.error(setting.key.span, format!("{owner} has no option `{name}`")).hint(hint);
    near
}
