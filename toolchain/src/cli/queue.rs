//! `jiffy queue`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiffy_model::BindingName;
use jiffy_queue::MessageId;

use super::agent::Common;
use crate::{
    client::{self, ClientError, ToSend},
    input::Input,
};

#[derive(Debug, Subcommand)]
pub(super) enum QueueCommand {
    /// Lists the queues.
    #[command(after_help = "Example:\n  jiffy queue ls")]
    Ls {
        #[command(flatten)]
        common: Common,
    },
    /// Sends a message, and prints its id.
    #[command(after_help = "\
Examples:
  jiffy queue send emails '{\"to\":\"ada@example.com\"}' --content-type application/json
  jiffy queue send emails --file mail.json
  jiffy queue send emails --file - < mail.json")]
    Send(SendArguments),
    /// Lists the oldest messages of a queue, or prints the body of one; they stay where they are.
    #[command(
        after_help = "Examples:\n  jiffy queue peek emails\n  jiffy queue peek emails 000648f2a1b3c4d50f8e7d6c"
    )]
    Peek {
        /// The queue.
        queue: BindingName,
        /// The message. Default: lists them.
        id: Option<MessageId>,
        /// How many are listed.
        #[arg(long, value_name = "NUMBER", default_value = "10", conflicts_with = "id",
            value_parser = clap::value_parser!(u16).range(1..=jiffy_queue::PAGE_MAX as i64))]
        limit: u16,
        #[command(flatten)]
        common: Common,
    },
    /// Removes a message, or a queue with all that is in it.
    #[command(
        after_help = "Examples:\n  jiffy queue rm emails 000648f2a1b3c4d50f8e7d6c\n  jiffy queue rm emails --yes"
    )]
    Rm {
        /// The queue.
        queue: BindingName,
        /// The message. Default: the whole queue.
        id: Option<MessageId>,
        /// Do not ask before a queue is removed. Needed where there is no terminal.
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args, Debug)]
pub(super) struct SendArguments {
    /// The queue.
    queue: BindingName,
    /// The message.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    message: Option<String>,
    /// A file with the message; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Of what type it is. Default: application/octet-stream.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    #[command(flatten)]
    common: Common,
}

impl QueueCommand {
    pub(super) fn dispatch(self) -> Result<(), ClientError> {
        match self {
            Self::Ls { common } => common.ask(client::queue_list),
            Self::Send(arguments) => arguments.send(),
            Self::Peek {
                queue,
                id: Some(id),
                common,
                ..
            } => common.ask(|agent, format| client::queue_get(agent, &queue, &id, format)),
            Self::Peek {
                queue,
                limit,
                common,
                ..
            } => common.ask(|agent, format| client::queue_peek(agent, &queue, limit, format)),
            Self::Rm {
                queue,
                id: Some(id),
                common,
                ..
            } => common.ask(|agent, _| client::queue_remove_message(agent, &queue, &id)),
            Self::Rm {
                queue, yes, common, ..
            } => common.ask(|agent, _| client::queue_remove(agent, &queue, yes)),
        }
    }
}

impl SendArguments {
    fn send(self) -> Result<(), ClientError> {
        let message = ToSend {
            body: Input {
                what: "message",
                text: self.message,
                file: self.file,
                bytes_max: jiffy_queue::MESSAGE_BYTES_MAX,
            },
            content_type: self.content_type,
        };
        let (queue, common) = (self.queue, self.common);
        common.ask(|agent, format| client::queue_send(agent, &queue, message, format))
    }
}
