//! `logherd configs`, `nodes`, `status`, `why`, `upgrade`, `teardown`: a client of the REST API.
mod api;
mod configs;
mod nodes;
mod teardown;
mod upgrade;

use crate::exit::Exit;
use clap::{Args, Subcommand};
use config::document::Kind;
use config::settings::ClientSettings;
use std::path::PathBuf;

/// Questions to a running scheduler.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// List, read, write and delete the configs of the fleet.
    Configs {
        /// What to do with them.
        #[command(subcommand)]
        command: ConfigsCommand,
    },
    /// List the nodes, with what runs there.
    Nodes(ClientSettings),
    /// End all executors, give up what is reserved, and remove the framework for good.
    Teardown(Box<teardown::TeardownArguments>),
    /// Say how the framework is.
    Status(ClientSettings),
    /// Replace executors of older generations, a few at a time.
    Upgrade(Box<upgrade::UpgradeArguments>),
    /// Say why a node is as it is, container by container.
    Why {
        /// A host name or an agent id, or the beginning of one.
        node: String,
        /// Where to ask.
        #[command(flatten)]
        client: ClientSettings,
    },
}

/// What to do with configs.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigsCommand {
    /// List all configs, with how far each is applied.
    List(ClientSettings),
    /// Print the text of a config.
    Get(Named),
    /// Write a config.
    Put {
        /// Which one.
        #[command(flatten)]
        named: Named,
        /// The file with its text; `-` or nothing: standard input.
        file: Option<PathBuf>,
    },
    /// Delete a config.
    Delete(Named),
}

/// One config.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// An image pattern such as `team/app:1.*`; with `--host`, the name of a host config.
    name: String,
    /// A host config, not an image config.
    #[arg(long)]
    host: bool,
    /// Where to ask.
    #[command(flatten)]
    client: ClientSettings,
}

impl Named {
    fn kind(&self) -> Kind {
        if self.host { Kind::Host } else { Kind::Docker }
    }
}

/// Asks, and prints the answer.
pub(crate) async fn call(command: ClientCommand) -> anyhow::Result<Exit> {
    match command {
        ClientCommand::Configs { command } => configs::call(command).await,
        ClientCommand::Nodes(client) => nodes::list(&client).await,
        ClientCommand::Teardown(arguments) => teardown::call(*arguments).await,
        ClientCommand::Status(client) => nodes::status(&client).await,
        ClientCommand::Upgrade(arguments) => upgrade::call(*arguments).await,
        ClientCommand::Why { node, client } => nodes::why(&client, &node).await,
    }
}
