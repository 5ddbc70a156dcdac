//! Reads values of any type: what a configuration writes into an event as it stands.
use super::ast::{Node, Raw};
use super::kinds::{FromSetting, OptionKind, wrong_type};
use super::problems::Problems;
use crate::hash_order;
use crate::ruby;
use crate::template::Template;
use crate::value::{Map, Value};

/// A value of any type. A number is a number; a word is a text, `true` and `false`, too, as in Logstash.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Written(pub(crate) Value);

impl FromSetting for Written {
    const KIND: OptionKind = OptionKind::Any;

    fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self> {
        read(node, problems).map(Self)
    }
}

/// A template; a list or a hash is the text that Ruby makes of it, with what is filled into it.
#[derive(Clone, Debug)]
pub(crate) struct ShownTemplate(pub(crate) Template);

impl FromSetting for ShownTemplate {
    const KIND: OptionKind = OptionKind::Template;

    fn from_setting(node: &Node, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Raw::List(_) | Raw::Hash(_) => {
                read(node, problems).map(|value| Self(Template::parse(&ruby::to_s(&value))))
            }
            _ => Template::from_setting(node, problems).map(Self),
        }
    }
}

fn read(node: &Node, problems: &mut Problems) -> Option<Value> {
    match &node.value {
        Raw::Text(text) | Raw::Word(text) => Some(Value::from(text.as_str())),
        Raw::Number(number) => match (number.parse::<i64>(), number.parse::<f64>()) {
            (Ok(number), _) => Some(Value::Int(number)),
            (_, Ok(number)) => Some(Value::Float(number)),
            _ => Some(Value::from(number.as_str())),
        },
        Raw::List(items) => {
            let items: Vec<Option<Value>> = items.iter().map(|item| read(item, problems)).collect();
            items.into_iter().collect::<Option<Vec<_>>>().map(Value::List)
        }
        Raw::Hash(entries) => {
            let entries: Vec<Option<(String, Value)>> = entries
                .iter()
                .map(|(key, value)| Some((key.text().unwrap_or_default().to_owned(), read(value, problems)?)))
                .collect();
            let mut entries = entries.into_iter().collect::<Option<Vec<_>>>()?;
            hash_order::sort(&mut entries, |(name, _)| name);
            Some(Value::Map(entries.into_iter().collect::<Map>()))
        }
        Raw::Plugin(_) => wrong_type(node, OptionKind::Any, problems).none(),
    }
}
