//! Makes events out of nothing, for trials and benchmarks.
use crate::ecs::Ecs;
use crate::field::FieldRef;
use crate::lang::kinds::Placed;
use crate::lang::problems::Problems;
use crate::plugins::InputOptions;
use crate::runtime::lines::{Cut, LINES_MAX};
use crate::runtime::source::{Input, InputError, Intake, Numbering};
use crate::spec::plugin;
use crate::value::Value;
use bytes::Bytes;
use futures_util::future::BoxFuture;

plugin! {
    /// Makes events out of nothing: the same message, or the same lines, again and again. The field `sequence` counts
    /// them.
    ///
    /// ```
    /// input { generator { lines => ["first", "second"] count => 3 } }
    /// ```
    ///
    input "generator" => pub(crate) struct GeneratorOptions {
        /// How many times the message, or all of the lines, are made; 0 and less is without end.
        count: i64 = 0,
        /// The message.
        message: String = "Hello world!",
        /// Lines to make instead of the message, in this order.
        lines: Vec<String> = [],
        /// Accepted for Logstash's sake: one thread makes more than the rest of a pipeline can take.
        threads: Placed<u64> = 1,
        /// With `v1` or `v8` the fields are `[event][sequence]` and `[host][name]` in place of `sequence` and `host`.
        ecs_compatibility: Ecs = "disabled",
    }
    validate = check
}

fn check(options: &GeneratorOptions, problems: &mut Problems) {
    if options.threads.value == 0 {
        problems.error(options.threads.span, "no thread would make events").hint("leave `threads` out");
    }
}

impl InputOptions for GeneratorOptions {
    fn build(&self) -> Result<Box<dyn Input>, String> {
        let lines = if self.lines.is_empty() { std::slice::from_ref(&self.message) } else { &self.lines };
        let lines = lines.iter().map(|line| Bytes::from(line.clone())).collect();
        let rounds = u64::try_from(self.count).ok().filter(|count| *count > 0);
        Ok(Box::new(Generator { lines, rounds, ecs: self.ecs_compatibility }))
    }
}

struct Generator {
    lines: Vec<Bytes>,
    rounds: Option<u64>,
    ecs: Ecs,
}

impl Input for Generator {
    fn run(self: Box<Self>, intake: Intake) -> BoxFuture<'static, Result<(), InputError>> {
        Box::pin(async move {
            let host = self.ecs.choose(FieldRef::top("host"), FieldRef::from_names(&["host", "name"]));
            let source = intake.fleeting(vec![(host, Value::Str(intake.host.clone()))]);
            let ecs = self.ecs.choose(false, true);
            let per = self.lines.len() as u64;
            let last = self.rounds.map(|rounds| rounds.saturating_mul(per));
            let mut first = 0;
            while last.is_none_or(|last| first < last) {
                let (cut, next) = self.cut(first, last);
                if intake.send_numbered(&source, cut, Numbering { first, per, ecs }).await.is_err() {
                    break;
                }
                first = next;
            }
            Ok(())
        })
    }
}

impl Generator {
    fn cut(&self, first: u64, last: Option<u64>) -> (Cut, u64) {
        let left = last.map_or(u64::MAX, |last| last - first);
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(LINES_MAX);
        let skip = usize::try_from(first % self.lines.len().max(1) as u64).unwrap_or(0);
        let lines: Vec<Bytes> = self.lines.iter().cycle().skip(skip).take(n).cloned().collect();
        let next = first + n as u64;
        (Cut::of(&lines, next), next)
    }
}
