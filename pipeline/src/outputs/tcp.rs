//! Sends events to a server over TCP.
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::codec::{Encode, encoder};
use crate::lang::kinds::{CodecCall, Placed};
use crate::lang::problems::Problems;
use crate::link::{Link, Server, Way};
use crate::plugins::OutputOptions;
use crate::runtime::load::{Failure, Load, Output};
use crate::spec::{plugin, words};
use crate::tls::{Protocol, Tls, Verification};
use crate::topology::OutputSite;

plugin! {
    /// Sends events to a server over TCP, one after the other, each as the codec writes it.
    ///
    /// ```
    /// output { tcp { host => "logs.example.com" port => 5000 codec => json_lines } }
    /// ```
    ///
    /// TCP acknowledges nothing: events that are on their way when the server goes down can be lost. While it is down the inputs
    /// wait.
    output "tcp" => pub(crate) struct TcpOptions {
        /// The server.
        host: String,
        /// Its port.
        port: u16,
        /// How an event is written.
        codec: CodecCall = "json",
        /// Speak TLS.
        ssl_enabled: Placed<bool> = false,
        /// Files with the certificates (PEM) of the authorities to trust, instead of those of the system.
        ssl_certificate_authorities: Vec<Placed<String>> = [],
        /// A file with the certificate (PEM) to show.
        ssl_certificate: Option<Placed<String>>,
        /// A file with the key (PEM) of that certificate.
        ssl_key: Option<Placed<String>>,
        /// How the server's certificate is checked.
        ssl_verification_mode: Verification = "full",
        /// The versions of TLS to use.
        ssl_supported_protocols: Vec<Protocol> = ["TLSv1.2", "TLSv1.3"],
        /// The cipher suites to use; all safe ones when left out.
        ssl_cipher_suites: Vec<String> = [],
        /// Who connects: events are sent to a server that listens.
        mode: Placed<Mode> = "client",
    }
    accepted {
        "reconnect_interval" => "pauses between attempts grow from 50 milliseconds to 10 seconds",
    }
    unsupported {
        "ssl_enable" => "it is called `ssl_enabled`",
        "ssl_cacert" => "it is called `ssl_certificate_authorities`",
        "ssl_cert" => "it is called `ssl_certificate`",
        "ssl_verify" => "it is called `ssl_verification_mode`",
        "ssl_client_authentication" => "there is no server here",
        "ssl_key_passphrase" => "give a key without a passphrase, in a file that only Logherd can read",
    }
    validate = check
}

words! {
    /// Who connects.
    pub(crate) enum Mode {
        /// This side.
        Client = "client",
        /// The others; Logstash can do that.
        Server = "server",
    }
}

fn check(options: &TcpOptions, problems: &mut Problems) {
    if options.mode.value == Mode::Server {
        problems.error(options.mode.span, "nobody can connect to this output to get events").hint(
            "let the receiver listen, and leave `mode` out; for several receivers write an output for each",
        );
    }
    match (&options.ssl_certificate, &options.ssl_key) {
        (Some(certificate), None) => {
            problems.error(certificate.span, "the certificate has no key").hint("add `ssl_key => …`");
        }
        (None, Some(key)) => {
            problems.error(key.span, "the key has no certificate").hint("add `ssl_certificate => …`");
        }
        _ => {}
    }
}

impl OutputOptions for TcpOptions {
    fn build(&self, _site: OutputSite) -> Result<Box<dyn Output>, String> {
        let path = |text: &Placed<String>| PathBuf::from(&text.value);
        let way = match self.ssl_enabled.value {
            false => Way::Tcp,
            true => {
                let own = self.ssl_certificate.as_ref().zip(self.ssl_key.as_ref());
                let tls = Tls {
                    authorities: self.ssl_certificate_authorities.iter().map(path).collect(),
                    own: own.map(|(certificate, key)| (path(certificate), path(key))),
                    protocols: self.ssl_supported_protocols.clone(),
                    suites: self.ssl_cipher_suites.clone(),
                    ..Tls::default()
                };
                Way::Tls(tls.client(self.ssl_verification_mode)?)
            }
        };
        let server = Server { host: self.host.clone(), port: self.port, way };
        Ok(Box::new(Tcp { link: Link::to(server), encode: encoder(&self.codec)? }))
    }
}

struct Tcp {
    link: Link,
    encode: Arc<dyn Encode>,
}

impl Output for Tcp {
    fn deliver<'a>(&'a mut self, load: &'a Load) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let mut bytes = Vec::new();
            load.iter().for_each(|event| self.encode.encode(event, &mut bytes));
            self.link.send(&[bytes]).await.map(drop).map_err(Failure::whole)
        })
    }
}
