//! Gives each plugin that can name its fields in several ways the way of the whole pipeline, unless it says its own.
use crate::lang::ast::{Call, Item, Name, Node, Raw, SectionKind, Setting, Text};
use crate::plugins;
use crate::spec::Kind;

const OPTION: &str = "ecs_compatibility";

/// Adds the option to every plugin of a tree that has it and does not give it.
pub(super) fn fill_in(text: &mut Text, way: &str) {
    for section in &mut text.sections {
        let kind = match section.kind {
            SectionKind::Input => Kind::Input,
            SectionKind::Filter => Kind::Filter,
            SectionKind::Output => Kind::Output,
        };
        items(kind, &mut section.body, way);
    }
}

fn items(kind: Kind, body: &mut [Item], way: &str) {
    for item in body {
        match item {
            Item::Plugin(call) => self::call(kind, call, way),
            Item::If(branches) => {
                branches.arms.iter_mut().for_each(|arm| items(kind, &mut arm.body, way));
                items(kind, branches.otherwise.as_deref_mut().unwrap_or_default(), way);
            }
        }
    }
}

fn call(kind: Kind, call: &mut Call, way: &str) {
    for setting in &mut call.settings {
        if setting.key.text == "codec" {
            codec(&mut setting.value, way);
        }
    }
    let has = |kind: Kind, name: &str| {
        plugins::find(kind, name).is_some_and(|plugin| plugin.spec.options.iter().any(|o| o.name == OPTION))
    };
    if has(kind, &call.name.text) && !call.settings.iter().any(|setting| setting.key.text == OPTION) {
        let span = call.name.span;
        let key = Name { text: OPTION.to_owned(), span };
        call.settings.push(Setting { key, value: Node::new(Raw::Word(way.to_owned()), span) });
    }
}

/// A codec with settings, or one that is given by its name alone.
fn codec(node: &mut Node, way: &str) {
    if let Raw::Text(name) | Raw::Word(name) = &node.value {
        let name = Name { text: name.clone(), span: node.span };
        node.value = Raw::Plugin(Call { name, settings: Vec::new(), whole: true });
    }
    if let Raw::Plugin(codec) = &mut node.value {
        call(Kind::Codec, codec, way);
    }
}
