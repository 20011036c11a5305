//! `jiffy queue`: messages that are sent, looked at and removed.

use std::io::Write as _;

use jiffy_console::{stderr, stdout};
use jiffy_control::write_body;
use jiffy_model::{
    BindingName,
    documents::{MessageList, MessageSent, QueueList},
};
use jiffy_queue::MessageId;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use ureq::http::Method;

use super::{
    Agent, ClientError,
    agent::Call,
    confirm,
    kv::text_or_base64,
    view::{Line, Moment},
};
use crate::{
    input::Input,
    output::{Bytes, Format, Table, print_json},
};

/// Bytes of a message that are taken from an agent: its most.
const MESSAGE_BYTES_MAX: u64 = jiffy_queue::MESSAGE_BYTES_MAX as u64;
const PART_LEN: usize = jiffy_queue::PAGE_MAX;

/// A message to be sent.
#[derive(Clone, Debug)]
pub(crate) struct ToSend {
    pub(crate) body: Input,
    pub(crate) content_type: Option<String>,
}

/// A message with its body.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: &'a MessageId,
    sent_ms: u64,
    content_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// In the place of `body`, if that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// Lists the queues.
pub(crate) fn queue_list(agent: &Agent, format: Format) -> Result<(), ClientError> {
    let (mut queues, mut after, mut last) = (vec![], String::new(), String::new());
    loop {
        let mut part: QueueList = agent.get(format!("/v1/queues?limit={PART_LEN}{after}"))?;
        queues.append(&mut part.queues);
        // A list that does not go on has no end.
        let Some(next) = part.next.filter(|next| *next > last) else {
            break;
        };
        after = format!("&after={}", utf8_percent_encode(&next, NON_ALPHANUMERIC));
        last = next;
    }
    if format == Format::Json {
        return Ok(print_json(&serde_json::json!({ "queues": queues }))?);
    }
    if queues.is_empty() {
        writeln!(stderr(), "no queues: the first message makes one")?;
        return Ok(());
    }
    let mut table = Table::new(&["queue", "messages", "size"]);
    for queue in &queues {
        table.row(&[&Line(&queue.name), &queue.messages, &Bytes(queue.bytes)]);
    }
    Ok(write!(stdout(), "{table}")?)
}

/// Sends a message, and prints its id.
pub(crate) fn queue_send(
    agent: &Agent,
    queue: &BindingName,
    message: ToSend,
    format: Format,
) -> Result<(), ClientError> {
    let content_type = message.content_type.iter();
    let headers = content_type.map(|text| ("content-type".into(), text.clone().into_bytes()));
    let headers: Vec<_> = headers.collect();
    let sent: MessageSent = agent.document(&Call {
        headers: &headers,
        body: &message.body.read()?,
        ..Call::new(Method::POST, format!("/v1/queues/{queue}/messages"))
    })?;
    match format {
        Format::Json => print_json(&sent)?,
        Format::Text => writeln!(stdout(), "{}", Line(&sent.id))?,
    }
    Ok(())
}

/// Lists the oldest messages of a queue.
pub(crate) fn queue_peek(
    agent: &Agent,
    queue: &BindingName,
    limit: u16,
    format: Format,
) -> Result<(), ClientError> {
    let path = format!("/v1/queues/{queue}/messages?limit={limit}");
    let MessageList { messages, .. } = agent.get(path)?;
    if format == Format::Json {
        return Ok(print_json(&serde_json::json!({ "messages": messages }))?);
    }
    if messages.is_empty() {
        writeln!(stderr(), "the queue {queue} is empty")?;
        return Ok(());
    }
    let mut table = Table::new(&["id", "sent", "size", "type"]);
    for message in &messages {
        table.row(&[
            &Line(&message.id),
            &Moment(message.sent_ms),
            &Bytes(message.bytes),
            &Line(&message.content_type),
        ]);
    }
    Ok(write!(stdout(), "{table}")?)
}

/// Prints the body of a message as it is; as JSON with all that is said of it.
pub(crate) fn queue_get(
    agent: &Agent,
    queue: &BindingName,
    id: &MessageId,
    format: Format,
) -> Result<(), ClientError> {
    let mut response = agent.success(&Call::new(Method::GET, path(queue, id)))?;
    let bytes = agent.body(&mut response, MESSAGE_BYTES_MAX)?;
    match format {
        Format::Json => {
            let said = |name: &str| response.headers().get(name)?.to_str().ok();
            let content_type = said("jiffy-content-type");
            let sent_ms = said("jiffy-sent-ms").and_then(|text| text.parse().ok());
            let (body, body_base64) = text_or_base64(bytes);
            Ok(print_json(&Shown {
                id,
                sent_ms: sent_ms.unwrap_or_default(),
                content_type: content_type.unwrap_or_default(),
                body,
                body_base64,
            })?)
        }
        Format::Text => {
            let mut out = stdout();
            let is_terminal = out.is_terminal();
            Ok(write_body(&mut out, &bytes, is_terminal)?)
        }
    }
}

/// Removes a message.
pub(crate) fn queue_remove_message(
    agent: &Agent,
    queue: &BindingName,
    id: &MessageId,
) -> Result<(), ClientError> {
    agent.delete(path(queue, id))
}

/// Removes a queue with all that is in it.
pub(crate) fn queue_remove(
    agent: &Agent,
    queue: &BindingName,
    yes: bool,
) -> Result<(), ClientError> {
    if !yes {
        confirm(&format!("the queue {queue} with all that is in it"))?;
    }
    agent.delete(format!("/v1/queues/{queue}"))
}

fn path(queue: &BindingName, id: &MessageId) -> String {
    format!("/v1/queues/{queue}/messages/{id}")
}
