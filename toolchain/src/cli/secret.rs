//! `jiffy secret`.

use std::path::PathBuf;

use clap::Subcommand;
use jiffy_model::BindingName;

use super::agent::Common;
use crate::client::{self, ClientError};

#[derive(Debug, Subcommand)]
pub(super) enum SecretCommand {
    /// Sets a secret: what standard input has, or what is typed and not shown. One newline at its end is left out.
    #[command(after_help = "\
Examples:
  jiffy secret set stripe                     asks for it on the terminal
  jiffy secret set stripe < key
  jiffy secret set signing --file signing.pem

A function has those that its jiffy.toml names:
  [secrets]
  signing = {}                                it reads it: jiffy::secret(\"signing\")?")]
    Set {
        /// Its name.
        name: BindingName,
        /// A file with the value. Default: standard input.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
    /// Lists the secrets: names, versions, and when each was set.
    #[command(after_help = "Example:\n  jiffy secret ls -o json")]
    Ls(Common),
    /// Removes a secret.
    #[command(after_help = "Example:\n  jiffy secret rm stripe --yes")]
    Rm {
        /// Its name.
        name: BindingName,
        /// Do not ask before. Needed where there is no terminal.
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Makes a new master key, by which all secrets are encrypted from then on; functions notice nothing.
    #[command(after_help = "Example:\n  jiffy secret rotate-key")]
    RotateKey(Common),
}

impl SecretCommand {
    pub(super) fn dispatch(self) -> Result<(), ClientError> {
        match self {
            Self::Set { name, file, common } => common
                .ask(|agent, format| client::secret_set(agent, &name, file.as_deref(), format)),
            Self::Ls(common) => common.ask(client::secret_list),
            Self::Rm { name, yes, common } => {
                common.ask(|agent, _| client::secret_remove(agent, &name, yes))
            }
            Self::RotateKey(common) => common.ask(|agent, _| client::secret_rotate_key(agent)),
        }
    }
}
