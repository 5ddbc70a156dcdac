//! Holds what a checked configuration says to do: inputs, steps of filters, steps of outputs.
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::field::FieldRef;
use crate::lang::ast::CompareOp;
use crate::lang::kinds::{FromSetting, OptionKind, read_word};
use crate::spec::{AnyOptions, Kind, Spec};
use crate::template::Template;

/// A configuration that can be run.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub(crate) inputs: Vec<PluginCall>,
    pub(crate) filters: Vec<Step>,
    pub(crate) outputs: Vec<Step>,
    /// Whether anything may look at metadata. What nobody looks at, inputs need not set.
    pub(crate) tells_metadata: bool,
}

/// One thing to do with each event.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Plugin(PluginCall),
    /// The first arm whose condition holds, else `otherwise`.
    If {
        arms: Vec<(Condition, Vec<Step>)>,
        otherwise: Vec<Step>,
    },
}

/// One use of a plugin, its options read and checked.
#[derive(Clone)]
pub(crate) struct PluginCall {
    pub(crate) spec: &'static Spec,
    /// Given by `id => …`, else made of kind, name and how many came before: `grok-2`. Unique in its plan.
    pub(crate) id: String,
    /// The line of the text it stands in, from 1.
    pub(crate) line: usize,
    pub(crate) options: AnyOptions,
    pub(crate) common: Common,
}

impl std::fmt::Debug for PluginCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} `{}` (line {})", self.spec, self.id, self.line)
    }
}

/// The options that every plugin of a kind has.
#[derive(Clone, Debug)]
pub(crate) enum Common {
    Input(Arc<CommonInput>),
    Filter(Arc<CommonFilter>),
    /// Codecs and outputs have none that change events.
    Other,
}

/// The options of every input.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommonInput {
    /// Fields to add to each event.
    pub(crate) add_field: Vec<(Template, Vec<Template>)>,
    /// Tags to add to each event.
    pub(crate) tags: Vec<Template>,
    /// The value of the field `type`, unless the event has one.
    pub(crate) set_type: Option<String>,
    /// How bytes become events; `None` when the input has its own way.
    pub(crate) codec: Option<PluginCall>,
}

/// The options of every filter: what to do with an event on which the filter succeeded.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommonFilter {
    pub(crate) add_field: Vec<(Template, Vec<Template>)>,
    pub(crate) remove_field: Vec<Template>,
    pub(crate) add_tag: Vec<Template>,
    pub(crate) remove_tag: Vec<Template>,
}

/// When something applies.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    /// All hold.
    And(Vec<Condition>),
    /// Any holds.
    Or(Vec<Condition>),
    /// Folded from the left: an odd number of them holds.
    Xor(Vec<Condition>),
    /// Folded from the left: `a nand b nand c` is `(a nand b) nand c`.
    Nand(Vec<Condition>),
    Not(Box<Condition>),
    Compare {
        left: Operand,
        op: CompareOp,
        right: Operand,
    },
    /// `=~`, or `!~` with `negate`.
    Matches {
        subject: Operand,
        pattern: Pattern,
        negate: bool,
    },
    /// `in`, or `not in` with `negate`.
    In {
        item: Operand,
        of: Operand,
        negate: bool,
    },
    /// The operand alone: it is there, and neither null nor `false` nor an empty text.
    Truthy(Operand),
}

/// A value in a condition.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    Text(String),
    Integer(i64),
    Float(f64),
    Field(FieldRef),
    List(Vec<Operand>),
}

/// A compiled regular expression of Ruby's syntax.
#[derive(Clone)]
pub(crate) struct Pattern {
    pub(crate) source: String,
    pub(crate) regex: Arc<onig::Regex>,
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}/", self.source)
    }
}

/// Where reading a file begins that was never read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFrom {
    /// At the first byte.
    Beginning,
    /// After the last byte there is.
    End,
}

impl FromSetting for StartFrom {
    const KIND: OptionKind = OptionKind::Words(&["beginning", "end"]);

    fn from_setting(
        node: &crate::lang::ast::Node,
        problems: &mut crate::lang::problems::Problems,
    ) -> Option<Self> {
        let word = read_word(node, &["beginning", "end"], problems)?;
        Some(if word == "beginning" { Self::Beginning } else { Self::End })
    }
}

/// A file inside a container that an input wants to be fed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedWanted {
    /// Which input of the plan, from 0.
    pub input: usize,
    /// The absolute path inside the container.
    pub path: String,
    /// Where to begin.
    pub from: StartFrom,
}

impl Plan {
    /// The plan of one container's pipeline, or of the host's when there is no docker plan.
    ///
    /// With a docker plan: its inputs; its filters, then each host plan's; its outputs, then each host plan's. Without:
    /// everything of the host plans. Ids that several plans use get a number.
    pub fn joined(docker: Option<Plan>, hosts: &[Plan]) -> Plan {
        let with_host_inputs = docker.is_none();
        let mut joined = docker.unwrap_or_default();
        for host in hosts {
            if with_host_inputs {
                joined.inputs.extend(host.inputs.iter().cloned());
            }
            joined.filters.extend(host.filters.iter().cloned());
            joined.outputs.extend(host.outputs.iter().cloned());
            joined.tells_metadata |= host.tells_metadata;
        }
        joined.make_ids_unique();
        joined
    }

    /// The files inside of the container that the inputs want to be fed from, one by one.
    pub fn feeds_wanted(&self) -> Vec<FeedWanted> {
        let feeds = self.inputs.iter().enumerate();
        feeds
            .flat_map(|(input, call)| {
                let (paths, from) = crate::plugins::feeds(call);
                paths.into_iter().map(move |path| FeedWanted { input, path, from })
            })
            .collect()
    }

    /// Whether an input remembers how far it has read, so that its data directory is for one process only.
    pub fn keeps_positions(&self) -> bool {
        self.inputs.iter().any(crate::plugins::keeps_positions)
    }

    /// Whether an input brings what nobody can send or read again: what of it is not delivered when the pipeline ends is lost.
    pub fn takes_once(&self) -> bool {
        let once = ["redis", "stdin", "syslog", "tcp", "udp", "unix"];
        self.inputs.iter().any(|call| once.contains(&call.spec.name))
    }

    /// The plan that gives the dead letters of a pipeline once more to the outputs that refused them, whatever the
    /// conditions around these, or all of them to the output `to`. Letters that arrived are removed; filters are not run
    /// again. `letters` is their directory, `until` the number of the last one; `wanted` are the ids of the outputs that letters
    /// name; an error is the ids that are missing here.
    pub fn replaying(
        mut self,
        letters: &Path,
        until: u64,
        wanted: &BTreeSet<String>,
        to: Option<&str>,
    ) -> Result<Plan, Vec<String>> {
        let mut calls = Vec::new();
        each_call(&mut self.outputs, &mut |call| calls.push(call.clone()));
        let needed: BTreeSet<&str> = match to {
            Some(to) => [to].into(),
            None => wanted.iter().map(String::as_str).collect(),
        };
        calls.retain(|call| needed.contains(call.id.as_str()));
        let missing: Vec<String> = needed
            .into_iter()
            .filter(|id| !calls.iter().any(|call| call.id == *id))
            .map(str::to_owned)
            .collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let field = FieldRef::from_names(&["@metadata", "dead_letter_queue", "plugin_id"]);
        let step = |call: PluginCall| match to {
            Some(_) => Step::Plugin(call),
            None => Step::If {
                arms: vec![(
                    Condition::Compare {
                        left: Operand::Field(field.clone()),
                        op: CompareOp::Equal,
                        right: Operand::Text(call.id.clone()),
                    },
                    vec![Step::Plugin(call)],
                )],
                otherwise: Vec::new(),
            },
        };
        let inputs = vec![crate::inputs::dead_letter_queue::Replay::call(letters, until)];
        let outputs = calls.into_iter().map(step).collect();
        Ok(Plan { inputs, filters: Vec::new(), outputs, tells_metadata: self.tells_metadata })
    }

    /// The ids of all outputs.
    pub fn output_ids(&self) -> Vec<String> {
        let mut ids = Vec::new();
        each_call(&mut self.outputs.clone(), &mut |call| ids.push(call.id.clone()));
        ids
    }

    /// Whether anything comes in.
    pub fn has_inputs(&self) -> bool {
        !self.inputs.is_empty()
    }

    /// Whether anything goes out.
    pub fn has_outputs(&self) -> bool {
        !self.outputs.is_empty()
    }

    pub(crate) fn make_ids_unique(&mut self) {
        let mut seen = std::collections::HashSet::new();
        let mut rename = |call: &mut PluginCall| {
            let mut id = call.id.clone();
            let mut number = 2;
            while !seen.insert(id.clone()) {
                id = format!("{}-{number}", call.id);
                number += 1;
            }
            call.id = id;
        };
        self.inputs.iter_mut().for_each(&mut rename);
        each_call(&mut self.filters, &mut rename);
        each_call(&mut self.outputs, &mut rename);
    }
}

/// Visits every plugin of these steps, in the order written.
pub(crate) fn each_call(steps: &mut [Step], visit: &mut impl FnMut(&mut PluginCall)) {
    for step in steps {
        match step {
            Step::Plugin(call) => visit(call),
            Step::If { arms, otherwise } => {
                for (_, body) in arms {
                    each_call(body, visit);
                }
                each_call(otherwise, visit);
            }
        }
    }
}

impl Kind {
    /// All kinds, in the order that reference pages have.
    pub(crate) const ALL: [Self; 4] = [Self::Input, Self::Codec, Self::Filter, Self::Output];
}
