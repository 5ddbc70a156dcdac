//! Takes events and does nothing with them, for trials and benchmarks.
use crate::plugins::OutputOptions;
use crate::runtime::load::{Failure, Load, Output};
use crate::spec::plugin;
use crate::topology::OutputSite;
use futures_util::future::BoxFuture;

plugin! {
    /// Takes events and does nothing with them.
    ///
    /// ```
    /// output { null { } }
    /// ```
    output "null" => pub(crate) struct NullOptions {}
}

impl OutputOptions for NullOptions {
    fn build(&self, _site: OutputSite) -> Result<Box<dyn Output>, String> {
        Ok(Box::new(Null))
    }
}

struct Null;

impl Output for Null {
    fn deliver<'a>(&'a mut self, _load: &'a Load) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
