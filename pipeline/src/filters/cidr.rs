//! Tells whether addresses lie in networks.
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::batch::{Batch, Fate, Filter};
use crate::event::Event;
use crate::field::FieldRef;
use crate::lang::kinds::Placed;
use crate::lang::problems::Problems;
use crate::plan::CommonFilter;
use crate::plugins::FilterOptions;
use crate::spec::plugin;
use crate::success::OnSuccess;
use crate::template::Template;
use crate::value::Value;

plugin! {
    /// Does what `add_field`, `add_tag` and the like say to events of which an address lies in one of the networks.
    ///
    /// ```
    /// filter { cidr { address => ["%{client}"] network => ["10.0.0.0/8", "192.168.0.0/16"] add_tag => "inside" } }
    /// ```
    ///
    /// Networks are written `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `fe80::/10`, or as a single address. Addresses and networks
    /// that cannot be read are passed over.
    filter "cidr" => pub(crate) struct CidrOptions {
        /// The addresses; templates such as `%{clientip}`.
        address: Vec<Template> = [],
        /// The field that holds the address or a list of them, in place of `address`.
        address_field: Option<Placed<FieldRef>>,
        /// The networks; templates, each of which may be several separated by commas.
        network: Vec<Template> = [],
        /// A file of networks, in place of `network`; it is read again when it changes.
        network_path: Option<Placed<String>>,
        /// How often it is looked whether the file changed.
        refresh_interval: Duration = 600,
        /// What stands between the networks in the file.
        separator: String = "\n",
    }
    validate = check
}

fn check(options: &CidrOptions, problems: &mut Problems) {
    if let Some(path) = &options.network_path
        && !options.network.is_empty()
    {
        problems
            .error(path.span, "`network` and `network_path` cannot be given both")
            .hint("put all networks into the file, or into `network`");
    }
    if let Some(field) = &options.address_field
        && !options.address.is_empty()
    {
        problems
            .error(field.span, "`address` and `address_field` cannot be given both")
            .hint("write the field as a template in `address`: `\"%{field}\"`");
    }
}

impl FilterOptions for CidrOptions {
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String> {
        let networks = match &self.network_path {
            Some(path) => {
                let file = NetworkFile {
                    path: PathBuf::from(&path.value),
                    separator: self.separator.clone(),
                    interval: self.refresh_interval,
                    read_at: Instant::now(),
                };
                Networks::InFile(file.read()?, file)
            }
            None => match self.network.iter().map(Template::as_literal).collect::<Option<Vec<_>>>() {
                Some(written) => {
                    Networks::Fixed(written.iter().flat_map(|text| Network::list(text)).collect())
                }
                None => Networks::OfEvent(self.network.clone()),
            },
        };
        let addresses = match &self.address_field {
            Some(field) => Addresses::In(field.value.clone()),
            None => Addresses::Filled(self.address.clone()),
        };
        Ok(Box::new(Cidr { addresses, networks, on_success: OnSuccess::new(on_success) }))
    }
}

struct Cidr {
    addresses: Addresses,
    networks: Networks,
    on_success: OnSuccess,
}

enum Addresses {
    In(FieldRef),
    Filled(Vec<Template>),
}

enum Networks {
    Fixed(Vec<Network>),
    OfEvent(Vec<Template>),
    InFile(Vec<Network>, NetworkFile),
}

impl Filter for Cidr {
    fn run(&mut self, batch: &mut Batch) {
        self.networks.refresh();
        batch.each(|event| {
            let addresses = self.addresses.of(event);
            let lies_in = |networks: &[Network]| {
                addresses.iter().any(|address| networks.iter().any(|network| network.holds(*address)))
            };
            let found = match &self.networks {
                Networks::Fixed(networks) | Networks::InFile(networks, _) => lies_in(networks),
                Networks::OfEvent(templates) => {
                    let networks = templates.iter().flat_map(|t| Network::list(&t.render(event)));
                    lies_in(&networks.collect::<Vec<_>>())
                }
            };
            if found {
                self.on_success.apply(event);
            }
            Fate::Keep
        });
    }
}

impl Addresses {
    fn of(&self, event: &Event) -> Vec<IpAddr> {
        let read = |text: &str| Network::parse(text).map(|network| network.address);
        match self {
            Self::Filled(templates) => templates.iter().filter_map(|t| read(&t.render(event))).collect(),
            Self::In(field) => match event.get(field) {
                Some(Value::List(items)) => items.iter().filter_map(|item| read(&item.to_text())).collect(),
                Some(value) => read(&value.to_text()).into_iter().collect(),
                None => Vec::new(),
            },
        }
    }
}

impl Networks {
    /// Reads the file again when it is time to; networks that can no longer be read stay as they were.
    fn refresh(&mut self) {
        let Self::InFile(networks, file) = self else { return };
        if file.read_at.elapsed() < file.interval {
            return;
        }
        file.read_at = Instant::now();
        match file.read() {
            Ok(read) => *networks = read,
            Err(why) => tracing::warn!(why, "going on with the networks read before"),
        }
    }
}

struct NetworkFile {
    path: PathBuf,
    separator: String,
    interval: Duration,
    read_at: Instant,
}

impl NetworkFile {
    fn read(&self) -> Result<Vec<Network>, String> {
        let text = std::fs::read_to_string(&self.path)
            .map_err(|error| format!("the networks in `{}` cannot be read: {error}", self.path.display()))?;
        let entries: Vec<&str> = match self.separator.as_str() {
            "" => vec![text.as_str()],
            separator => text.split(separator).collect(),
        };
        Ok(entries.into_iter().map(str::trim).filter_map(Network::parse).collect())
    }
}

/// A network: the first `prefix` bits of its addresses are those of `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// The networks in a text that may name several, separated by commas.
    fn list(text: &str) -> Vec<Self> {
        text.split(',').map(str::trim).filter_map(Self::parse).collect()
    }

    /// Reads an address, with or without a mask.
    fn parse(text: &str) -> Option<Self> {
        let (address, mask) = match text.split_once('/') {
            Some((address, mask)) => (address, Some(mask)),
            None => (text, None),
        };
        let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
        let address: IpAddr = address.parse().ok()?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match mask {
            None => whole,
            Some(mask) => match mask.parse::<u32>() {
                Ok(prefix) => prefix,
                Err(_) => prefix_of(mask.parse().ok()?)?,
            },
        };
        (prefix <= whole).then(|| Self { address: masked(address, prefix), prefix })
    }

    fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = u32::from(network) ^ u32::from(address);
                differing.checked_shr(32 - self.prefix).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = u128::from(network) ^ u128::from(address);
                differing.checked_shr(128 - self.prefix).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// The first address of the network.
fn masked(address: IpAddr, prefix: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            IpAddr::from((u32::from(address) & u32::MAX.checked_shl(32 - prefix).unwrap_or(0)).to_be_bytes())
        }
        IpAddr::V6(address) => IpAddr::from(
            (u128::from(address) & u128::MAX.checked_shl(128 - prefix).unwrap_or(0)).to_be_bytes(),
        ),
    }
}

/// The length of the prefix that a mask such as `255.255.0.0` stands for.
fn prefix_of(mask: IpAddr) -> Option<u32> {
    let (ones, whole, zeros) = match mask {
        IpAddr::V4(mask) => (u32::from(mask).leading_ones(), 32, u32::from(mask).trailing_zeros()),
        IpAddr::V6(mask) => (u128::from(mask).leading_ones(), 128, u128::from(mask).trailing_zeros()),
    };
    (ones + zeros == whole).then_some(ones)
}
