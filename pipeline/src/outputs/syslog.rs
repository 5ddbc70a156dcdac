//! Sends events to a syslog server.
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::codec::{Encode, encoder};
use crate::dead_letter::DeadLetters;
use crate::event::Event;
use crate::lang::kinds::{CodecCall, Placed};
use crate::lang::problems::Problems;
use crate::link::{Link, Server, Way};
use crate::plugins::OutputOptions;
use crate::runtime::load::{Failure, Load, Output};
use crate::spec::{plugin, words};
use crate::template::Template;
use crate::tls::{self, Tls, Verification};
use crate::topology::OutputSite;

/// The names of facilities, from 0, as Logstash's output has them.
const FACILITIES: [&str; 22] = [
    "kernel",
    "user-level",
    "mail",
    "daemon",
    "security/authorization",
    "syslogd",
    "line printer",
    "network news",
    "uucp",
    "clock",
    "ftp",
    "ntp",
    "log audit",
    "log alert",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];
/// The names of severities, from 0.
const SEVERITIES: [&str; 8] =
    ["emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"];
/// The priority of events whose own cannot be read.
const PRIORITY: i64 = 13;

plugin! {
    /// Sends events to a syslog server, as RFC 3164 or RFC 5424 has it.
    ///
    /// ```
    /// output { syslog { host => "logs.example.com" port => 514 protocol => "tcp" rfc => "rfc5424" } }
    /// ```
    ///
    /// TCP and UDP acknowledge nothing: events that are on their way when the server goes down can be lost. While it is down the
    /// inputs wait, except with UDP, where messages that cannot be sent are counted as dropped. Ends of lines in a message become `\n`.
    output "syslog" => pub(crate) struct SyslogOptions {
        /// The server.
        host: String,
        /// Its port.
        port: u16,
        /// How to reach it.
        protocol: Placed<Protocol> = "udp",
        /// Which form messages have.
        rfc: Rfc = "rfc3164",
        /// Make the priority of `facility` and `severity`, and not of `priority`.
        use_labels: bool = true,
        /// The name of the facility; a template. Names are numbered as Logstash does, which leaves out two: `ftp` is 10, and
        /// `local0` to `local7` are 14 to 21. For other numbers use `priority`.
        facility: Template = "user-level",
        /// The name of the severity; a template.
        severity: Template = "notice",
        /// The priority; a template. What is none is 13.
        priority: Template = "%{syslog_pri}",
        /// The host that the message is of; a template.
        sourcehost: Template = "%{host}",
        /// The program that the message is of; a template.
        appname: Template = "LOGSTASH",
        /// The number of its process; a template.
        procid: Template = "-",
        /// The kind of the message, for RFC 5424; a template.
        msgid: Template = "-",
        /// The structured data, for RFC 5424, with its brackets: `[id@32473 name="value"]`; a template.
        structured_data: Template = "",
        /// The text; a template.
        message: Template = "%{message}",
        /// How the text is written, in place of `message`.
        codec: Option<CodecCall>,
        /// Files with the certificates (PEM) of the authorities to trust, for `ssl-tcp`, instead of those of the system.
        ssl_certificate_authorities: Vec<String> = [],
        /// A file with the certificate (PEM) to show, for `ssl-tcp`.
        ssl_certificate: Option<Placed<String>>,
        /// A file with the key (PEM) of that certificate.
        ssl_key: Option<Placed<String>>,
        /// Whether the server's certificate is checked, for `ssl-tcp`. Logstash does not when this is left out.
        ssl_verify: bool = true,
        /// The versions of TLS to use.
        ssl_supported_protocols: Vec<tls::Protocol> = ["TLSv1.2", "TLSv1.3"],
        /// The cipher suites to use; all safe ones when left out.
        ssl_cipher_suites: Vec<String> = [],
    }
    accepted {
        "reconnect_interval" => "pauses between attempts grow from 50 milliseconds to 10 seconds",
    }
    unsupported {
        "ssl_cacert" => "it is called `ssl_certificate_authorities`",
        "ssl_cert" => "it is called `ssl_certificate`",
        "ssl_key_passphrase" => "give a key without a passphrase, in a file that only Logherd can read",
        "ssl_crl_path" => "lists of revoked certificates are not read",
        "ssl_crl_check" => "lists of revoked certificates are not read",
    }
    validate = check
}

words! {
    /// How to reach a syslog server.
    pub(crate) enum Protocol {
        /// Datagrams.
        Udp = "udp",
        /// A stream.
        Tcp = "tcp",
        /// A stream with TLS.
        Tls = "ssl-tcp",
    }
}

words! {
    /// Which form messages have.
    pub(crate) enum Rfc {
        /// The old one of BSD.
        Rfc3164 = "rfc3164",
        /// That of 2009.
        Rfc5424 = "rfc5424",
    }
}

fn check(options: &SyslogOptions, problems: &mut Problems) {
    crate::client::both_or_none(options.ssl_certificate.as_ref(), options.ssl_key.as_ref(), problems);
}

impl OutputOptions for SyslogOptions {
    fn build(&self, site: OutputSite) -> Result<Box<dyn Output>, String> {
        let way = match self.protocol.value {
            Protocol::Udp => Way::Udp,
            Protocol::Tcp => Way::Tcp,
            Protocol::Tls => {
                let own = self.ssl_certificate.as_ref().zip(self.ssl_key.as_ref());
                let tls = Tls {
                    authorities: self.ssl_certificate_authorities.iter().map(PathBuf::from).collect(),
                    own: own.map(|(certificate, key)| {
                        (certificate.value.clone().into(), key.value.clone().into())
                    }),
                    protocols: self.ssl_supported_protocols.clone(),
                    suites: self.ssl_cipher_suites.clone(),
                    ..Tls::default()
                };
                let checked = if self.ssl_verify { Verification::Full } else { Verification::None };
                Way::Tls(tls.client(checked)?)
            }
        };
        let server = Server { host: self.host.clone(), port: self.port, way };
        let time = match self.rfc {
            Rfc::Rfc3164 => "%{+MMM dd HH:mm:ss}",
            Rfc::Rfc5424 => "%{+YYYY-MM-dd'T'HH:mm:ss.SSSZZ}",
        };
        let form = Form {
            time: Template::parse(time),
            encode: self.codec.as_ref().map(encoder).transpose()?,
            options: self.clone(),
        };
        Ok(Box::new(Syslog { link: Link::to(server), form, dead_letters: site.dead_letters }))
    }
}

struct Syslog {
    link: Link,
    form: Form,
    /// Where datagrams are counted that could not be sent.
    dead_letters: DeadLetters,
}

impl Output for Syslog {
    fn deliver<'a>(&'a mut self, load: &'a Load) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let lines: Vec<Vec<u8>> = load.iter().map(|event| self.form.line(event).into_bytes()).collect();
            let lost = self.link.send(&lines).await.map_err(Failure::whole)?;
            self.dead_letters.count_dropped(lost);
            Ok(())
        })
    }
}

/// How a message is written.
struct Form {
    time: Template,
    encode: Option<Arc<dyn Encode>>,
    options: SyslogOptions,
}

impl Form {
    fn line(&self, event: &Event) -> String {
        let options = &self.options;
        let (priority, time) = (self.priority(event), self.time.render(event));
        let (host, program) = (options.sourcehost.render(event), options.appname.render(event));
        let (process, message) = (options.procid.render(event), self.message(event));
        match options.rfc {
            Rfc::Rfc3164 => format!("<{priority}>{time} {host} {program}[{process}]: {message}\n"),
            Rfc::Rfc5424 => {
                let kind = options.msgid.render(event);
                let data = options.structured_data.render(event);
                let data = if data.is_empty() { "-" } else { data.as_str() };
                format!("<{priority}>1 {time} {host} {program} {process} {kind} {data} {message}\n")
            }
        }
    }

    fn message(&self, event: &Event) -> String {
        let text = match &self.encode {
            None => self.options.message.render(event).to_string(),
            Some(encode) => {
                let mut bytes = Vec::new();
                encode.encode(event, &mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            }
        };
        text.trim_end().replace("\r\n", "\n").replace('\n', "\\n")
    }

    fn priority(&self, event: &Event) -> i64 {
        let options = &self.options;
        let place = |names: &[&str], name: &Template, otherwise: i64| {
            let name = name.render(event);
            names.iter().zip(0..).find(|(n, _)| name.as_str() == **n).map_or(otherwise, |(_, place)| place)
        };
        if options.use_labels {
            return place(&FACILITIES, &options.facility, 1) * 8 + place(&SEVERITIES, &options.severity, 5);
        }
        let given = options.priority.render(event).trim().parse().ok();
        given.filter(|priority| (0..=191).contains(priority)).unwrap_or(PRIORITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(options: &str) -> String {
        let text = format!("output {{ syslog {{ host => \"h\" port => 514 {options} }} }}");
        let plan = crate::check::compile(crate::check::Scope::Run, &text, &|_| None).unwrap();
        let crate::plan::Step::Plugin(call) = &plan.outputs[0] else { panic!("{text}") };
        let options = call.options.downcast_ref::<SyslogOptions>().unwrap();
        let time = match options.rfc {
            Rfc::Rfc3164 => "%{+MMM dd HH:mm:ss}",
            Rfc::Rfc5424 => "%{+YYYY-MM-dd'T'HH:mm:ss.SSSZZ}",
        };
        let form = Form { time: Template::parse(time), encode: None, options: options.clone() };
        let mut event = Event::with_message("2026-02-03T04:05:06.7Z".parse().unwrap(), "one\r\ntwo\n".into());
        for (name, value) in [("host", "web"), ("severity", "error"), ("syslog_pri", "34")] {
            event.fields_mut().insert(name, value.into());
        }
        form.line(&event)
    }

    #[test]
    fn messages_have_the_form_of_the_rfc() {
        assert_eq!(line(""), "<13>Feb 03 04:05:06 web LOGSTASH[-]: one\\ntwo\n");
        let options =
            "rfc => rfc5424 facility => local4 severity => \"%{severity}\" appname => app procid => 7";
        assert_eq!(line(options), "<147>1 2026-02-03T04:05:06.700+00:00 web app 7 - - one\\ntwo\n");
        assert_eq!(line("use_labels => false"), "<34>Feb 03 04:05:06 web LOGSTASH[-]: one\\ntwo\n");
    }
}
