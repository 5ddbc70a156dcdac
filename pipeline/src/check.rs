//! Checks a configuration as a whole and makes its plan: all problems at once, nothing of it run.
mod conditions;
mod ecs;
mod repeated;
mod settings;
mod slips;

use std::collections::HashMap;

use config::diagnostic::{Diagnostic, has_errors};

use crate::lang::ast::{Branches, Call, Item, Section, SectionKind, Span};
use crate::lang::environment::{Environment, substitute};
use crate::lang::escapes;
use crate::lang::parse::parse;
use crate::lang::problems::Problems;
use crate::plan::{Plan, PluginCall, Step};
use crate::spec::Kind;

/// Where a configuration is to run, which decides what it may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// By itself, on this machine.
    Run,
    /// Once for each container of an image: its inputs may read files inside of the container.
    Docker,
    /// Once on each node.
    Host,
}

/// A configuration text with the name that people know it by.
#[derive(Clone, Copy, Debug)]
pub struct SourceText<'a> {
    /// A path, or the name of a document.
    pub name: &'a str,
    /// The text itself.
    pub text: &'a str,
}

/// What a text means depends on these, as it does in Logstash.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dialect {
    /// Whether `\n`, `\t`, `\r`, `\0`, `\\` and quotes after a backslash are undone in quoted texts
    /// (`config.support_escapes`).
    pub support_escapes: bool,
    /// What `ecs_compatibility` is where a plugin has it and does not give it: `disabled`, `v1` or `v8`
    /// (`pipeline.ecs_compatibility`).
    pub ecs_compatibility: Option<&'static str>,
}

/// Finds everything that is wrong with a text; `env` answers the variables it names.
pub fn check(scope: Scope, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Vec<Diagnostic> {
    check_in(Dialect::default(), scope, text, env)
}

/// Finds everything that is wrong with a text in a dialect.
pub fn check_in(
    dialect: Dialect,
    scope: Scope,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Vec<Diagnostic> {
    read(dialect, scope, text, Environment::Known(env)).1
}

/// Finds everything that is wrong with a text that is to run on other machines, whose environments are not known here.
pub fn check_remote(scope: Scope, text: &str) -> Vec<Diagnostic> {
    read(Dialect::default(), scope, text, Environment::Elsewhere).1
}

/// Makes the plan of a text, unless anything is wrong with it.
pub fn compile(
    scope: Scope,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Plan, Vec<Diagnostic>> {
    let (mut plan, problems) = read(Dialect::default(), scope, text, Environment::Known(env));
    if has_errors(&problems) {
        return Err(problems);
    }
    plan.make_ids_unique();
    Ok(plan)
}

/// What several texts come to.
#[derive(Debug)]
pub struct Compiled<'a> {
    /// The plan, unless there is an error.
    pub plan: Option<Plan>,
    /// The errors and warnings of each text that has any.
    pub problems: Vec<(SourceText<'a>, Vec<Diagnostic>)>,
}

/// Makes one plan of several texts, in their order, as `-f DIR` does; the problems of each are told by its name.
pub fn compile_all<'a>(
    dialect: Dialect,
    scope: Scope,
    sources: &[SourceText<'a>],
    env: &dyn Fn(&str) -> Option<String>,
) -> Compiled<'a> {
    let mut plans = Vec::with_capacity(sources.len());
    let mut all = Vec::new();
    for source in sources {
        let (plan, problems) = read(dialect, scope, source.text, Environment::Known(env));
        if !has_errors(&problems) {
            plans.push(plan);
        }
        if !problems.is_empty() {
            all.push((*source, problems));
        }
    }
    let plan = (plans.len() == sources.len()).then(|| Plan::joined(None, &plans));
    Compiled { plan, problems: all }
}

/// Reads the codec that an option names.
pub(crate) fn load_codec(call: &Call, problems: &mut Problems) -> Option<PluginCall> {
    settings::load(Kind::Codec, call, problems)
}

fn read(dialect: Dialect, scope: Scope, text: &str, env: Environment<'_>) -> (Plan, Vec<Diagnostic>) {
    let mut problems = Problems::of(text);
    let mut tree = parse(text, &mut problems);
    if dialect.support_escapes {
        escapes::undo(&mut tree);
    }
    if let Some(way) = dialect.ecs_compatibility {
        ecs::fill_in(&mut tree, way);
    }
    substitute(&mut tree, env, &mut problems);
    let mut checker = Checker { scope, problems, counts: HashMap::new(), ids: HashMap::new() };
    let mut plan = Plan { tells_metadata: text.contains("metadata"), ..Plan::default() };
    for section in &tree.sections {
        checker.section(section, &mut plan);
    }
    (plan, checker.problems.into_diagnostics(text))
}

struct Checker {
    scope: Scope,
    problems: Problems,
    /// How often each plugin was used, for ids.
    counts: HashMap<(Kind, &'static str), usize>,
    /// The ids given, and where.
    ids: HashMap<String, Span>,
}

impl Checker {
    fn section(&mut self, section: &Section, plan: &mut Plan) {
        if section.body.is_empty() {
            self.problems
                .warning(section.head, "this section is empty")
                .hint("remove it, or put a plugin into it");
        }
        match section.kind {
            SectionKind::Input => self.inputs(&section.body, plan),
            SectionKind::Filter => plan.filters.extend(self.steps(Kind::Filter, &section.body)),
            SectionKind::Output => plan.outputs.extend(self.steps(Kind::Output, &section.body)),
        }
    }

    fn inputs(&mut self, items: &[Item], plan: &mut Plan) {
        for item in items {
            match item {
                Item::Plugin(call) => plan.inputs.extend(self.call(Kind::Input, call)),
                Item::If(branches) => {
                    let head = branches.arms.first().map_or(Span::default(), |arm| arm.head);
                    self.problems
                        .error(head, "inputs cannot depend on conditions: there is no event yet")
                        .hint("put the input outside of the `if`, and the condition into `filter { … }`");
                    for arm in &branches.arms {
                        self.inputs(&arm.body, plan);
                    }
                    self.inputs(branches.otherwise.as_deref().unwrap_or_default(), plan);
                }
            }
        }
    }

    fn steps(&mut self, kind: Kind, items: &[Item]) -> Vec<Step> {
        let mut steps = Vec::with_capacity(items.len());
        let mut dropped = false;
        for item in items {
            if std::mem::take(&mut dropped) {
                self.problems
                    .warning(item_head(item), "nothing gets here: the `drop` before it drops every event")
                    .hint("put the `drop` into an `if`, or remove what follows it");
            }
            match item {
                Item::Plugin(call) => {
                    dropped = kind == Kind::Filter && call.name.text == "drop" && call.settings.is_empty();
                    steps.extend(self.call(kind, call).map(Step::Plugin));
                }
                Item::If(branches) => steps.push(self.branches(kind, branches)),
            }
        }
        steps
    }

    fn branches(&mut self, kind: Kind, branches: &Branches) -> Step {
        let mut arms = Vec::with_capacity(branches.arms.len());
        let mut seen: HashMap<String, Span> = HashMap::new();
        for arm in &branches.arms {
            if arm.body.is_empty() {
                self.problems.warning(arm.head, "nothing is done when this condition holds");
            }
            let condition = match &arm.condition {
                Some(condition) => conditions::compile(condition, &mut self.problems),
                None => None,
            };
            let body = self.steps(kind, &arm.body);
            let Some(condition) = condition else { continue };
            let shape = format!("{condition:?}");
            match seen.get(&shape) {
                Some(earlier) => {
                    let line = self.problems.line_of(*earlier);
                    self.problems
                        .warning(arm.head, "this branch is never taken")
                        .hint(format!("the condition is the same as in line {line}"));
                }
                None => drop(seen.insert(shape, arm.head)),
            }
            arms.push((condition, body));
        }
        let otherwise = self.steps(kind, branches.otherwise.as_deref().unwrap_or_default());
        Step::If { arms, otherwise }
    }

    fn call(&mut self, kind: Kind, call: &Call) -> Option<PluginCall> {
        self.fits_scope(kind, call);
        let mut loaded = settings::load(kind, call, &mut self.problems)?;
        let count = self.counts.entry((kind, loaded.spec.name)).or_default();
        *count += 1;
        match call.settings.iter().find(|s| s.key.text == "id") {
            None => loaded.id = format!("{}-{count}", loaded.spec.name),
            Some(setting) => {
                if let Some(earlier) = self.ids.insert(loaded.id.clone(), setting.value.span) {
                    let line = self.problems.line_of(earlier);
                    self.problems
                        .error(setting.value.span, "this id is used twice")
                        .hint(format!("it was used in line {line}: ids are unique"));
                }
            }
        }
        Some(loaded)
    }

    /// Reports what cannot work where this configuration runs.
    fn fits_scope(&mut self, kind: Kind, call: &Call) {
        if kind != Kind::Input || self.scope == Scope::Docker && call.name.text != "stdin" {
            return;
        }
        match call.name.text.as_str() {
            "stdin" if self.scope != Scope::Run => {
                self.problems
                    .error(call.name.span, "there is nothing to read from `stdin` on a node")
                    .hint("use `file`; `stdin` works with `logherd run`");
            }
            "file" => {
                for setting in call.settings.iter().filter(|s| s.key.text == "docker-path") {
                    self.problems
                        .error(setting.key.span, "`docker-path` is a file inside of a container, and there is none here")
                        .hint(
                            "move this input into the docker configuration of the image, or use `host-path` for a file \
                             of the node",
                        );
                }
            }
            _ => {}
        }
    }
}

fn item_head(item: &Item) -> Span {
    match item {
        Item::Plugin(call) => call.name.span,
        Item::If(branches) => branches.arms.first().map_or(Span::default(), |arm| arm.head),
    }
}

#[cfg(test)]
mod tests;
