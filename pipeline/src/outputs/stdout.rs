//! Prints events on the standard output.
use crate::codec::{Encode, encoder};
use crate::lang::kinds::CodecCall;
use crate::plugins::OutputOptions;
use crate::runtime::load::{Failure, Load, Output};
use crate::runtime::supervise::panic_reason;
use crate::spec::plugin;
use crate::topology::OutputSite;
use futures_util::future::BoxFuture;
use std::io::{ErrorKind, Write};
use std::sync::Arc;
use tokio::task::spawn_blocking;

plugin! {
    /// Prints events on the standard output.
    ///
    /// ```
    /// output { stdout { codec => rubydebug } }
    /// ```
    output "stdout" => pub(crate) struct StdoutOptions {
        /// How an event is printed.
        codec: CodecCall = "rubydebug",
    }
}

impl OutputOptions for StdoutOptions {
    fn build(&self, _site: OutputSite) -> Result<Box<dyn Output>, String> {
        Ok(Box::new(Stdout { encode: encoder(&self.codec)? }))
    }
}

struct Stdout {
    encode: Arc<dyn Encode>,
}

impl Output for Stdout {
    fn deliver<'a>(&'a mut self, load: &'a Load) -> BoxFuture<'a, Result<(), Failure>> {
        let (encode, load) = (self.encode.clone(), load.clone());
        Box::pin(async move {
            let print = move || {
                let mut text = Vec::new();
                load.iter().for_each(|event| encode.encode(event, &mut text));
                // One lock for the whole: events of several pipelines do not mix.
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(&text)?;
                stdout.flush()
            };
            match spawn_blocking(print).await {
                Ok(Ok(())) => Ok(()),
                // Nobody reads it any more, as after `| head`.
                Ok(Err(error)) if error.kind() == ErrorKind::BrokenPipe => {
                    Err(Failure::hopeless("the standard output is closed"))
                }
                Ok(Err(error)) => Err(Failure::whole(format!("print: {error}"))),
                Err(error) => Err(Failure::whole(panic_reason(error))),
            }
        })
    }
}
