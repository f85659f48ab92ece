//! Records as syslog messages (RFC 5424), over TLS (RFC 5425) or TCP with octet counting (RFC 6587 section 3.4.1).
//!
//! What it does: writes messages, sends them over one connection, and sends again what a broken one may have lost. What it
//! refuses to know: where records come from. Invariants: a message holds the record's line byte for byte, as its last part and
//! without a mark of byte order, which is no part of the line (RFC 5424 section 6.4, MSG-ANY); no text of a caller's ends a
//! message or one of its fields; what may be sent again is bounded.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::entry::{CHECKPOINT, LineFacts, SinkEntry};
use super::fault::SinkFault;
use super::settings::{SYSLOG_DOUBT, SyslogSinkSettings};
use crate::egress::{OutboundStream, StreamConnector};

/// The number that IANA keeps for examples (RFC 5612): the product has none of its own.
const STRUCTURED_ID: &str = "lightkeeper@32473";
/// Of a parameter's value, in bytes.
const VALUE_LIMIT_BYTES: usize = 256;
/// One write of a batch, at most; a receiver that takes nothing for so long is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// What may be sent again, in bytes.
const RESEND_LIMIT_BYTES: usize = 1 << 20;
/// For the receiver's end of a connection that we ended.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// For the end of a connection that the receiver ended first.
const FINISH_GRACE: Duration = Duration::from_millis(250);

/// Severities (RFC 5424 section 6.2.1).
const NOTICE: u8 = 5;
const INFORMATIONAL: u8 = 6;

/// What is the same in every message.
pub(super) struct SyslogForm {
    facility: u8,
    host: String,
    /// APP-NAME and PROCID, each with a space behind it.
    program: String,
}

impl SyslogForm {
    pub(super) fn new(settings: &SyslogSinkSettings, instance: &str) -> Self {
        SyslogForm {
            facility: settings.facility.min(23),
            host: header(instance, 255),
            program: format!("{} {} ", header(&settings.app_name, 48), std::process::id()),
        }
    }

    /// Appends a message with its length before it.
    pub(super) fn write(&self, entry: &SinkEntry, out: &mut Vec<u8>) {
        let line = entry.line();
        let facts = match entry {
            SinkEntry::Record { line, .. } => LineFacts::of(line),
            SinkEntry::Checkpoint { .. } => LineFacts {
                event: CHECKPOINT.into(),
                ..LineFacts::default()
            },
        };
        let severity = if facts.is_denial() {
            NOTICE
        } else {
            INFORMATIONAL
        };
        let priority = u16::from(self.facility) * 8 + u16::from(severity);
        let event = header(&facts.event, 32);
        let time = if is_timestamp(&facts.time) {
            &*facts.time
        } else {
            "-"
        };
        let mut head = format!(
            "<{priority}>1 {time} {} {}{event} ",
            self.host, self.program
        );
        head.push('[');
        head.push_str(STRUCTURED_ID);
        match entry {
            SinkEntry::Record { seq, .. } => parameter(&mut head, "seq", &seq.to_string()),
            SinkEntry::Checkpoint { size, .. } => parameter(&mut head, "size", &size.to_string()),
        }
        if !facts.request_id.is_empty() {
            parameter(&mut head, "requestId", &facts.request_id);
        }
        if !facts.reason.is_empty() {
            parameter(&mut head, "reason", &facts.reason);
        }
        head.push_str("] ");
        let length = head.len() + line.len();
        out.extend_from_slice(length.to_string().as_bytes());
        out.push(b' ');
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(&line);
    }
}

/// A field of the header: printable ASCII, or `-` for none.
fn header(text: &str, limit: usize) -> String {
    let plain: String = text
        .chars()
        .map(|sign| if sign.is_ascii_graphic() { sign } else { '_' })
        .take(limit)
        .collect();
    if plain.is_empty() {
        "-".to_owned()
    } else {
        plain
    }
}

/// Whether a text is a timestamp as we write it (RFC 5424 section 6.2.3): its digits and signs stand where they must.
fn is_timestamp(text: &str) -> bool {
    let form = b"0000-00-00T00:00:00.000Z";
    let same = |(sign, form): (u8, &u8)| match form {
        b'0' => sign.is_ascii_digit(),
        form => sign == *form,
    };
    text.len() == form.len() && text.bytes().zip(form).all(same)
}

/// Appends ` name="value"` (RFC 5424 section 6.3.3), without what could not be read as text.
fn parameter(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    let mut bytes = 0;
    for sign in value.chars() {
        bytes += sign.len_utf8();
        if bytes > VALUE_LIMIT_BYTES {
            break;
        }
        if matches!(sign, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(if sign.is_control() { '_' } else { sign });
    }
    out.push('"');
}

/// A receiver, and the connection to it.
pub(super) struct SyslogOutlet {
    connector: StreamConnector,
    form: SyslogForm,
    line: Option<SyslogLine>,
    /// What was sent lately, as it was sent, oldest first.
    sent: VecDeque<(Instant, Vec<u8>)>,
    sent_bytes: usize,
    /// How many of `sent` the present connection has.
    carried: usize,
}

/// One connection.
struct SyslogLine {
    write: WriteHalf<OutboundStream>,
    /// Ends when the receiver ends the connection.
    ending: JoinHandle<bool>,
}

impl Drop for SyslogLine {
    fn drop(&mut self) {
        self.ending.abort();
    }
}

impl SyslogOutlet {
    pub(super) fn new(connector: StreamConnector, form: SyslogForm) -> Self {
        SyslogOutlet {
            connector,
            form,
            line: None,
            sent: VecDeque::new(),
            sent_bytes: 0,
            carried: 0,
        }
    }

    pub(super) async fn send(&mut self, batch: &[SinkEntry]) -> Result<(), SinkFault> {
        self.forget();
        let mut messages = Vec::new();
        batch
            .iter()
            .for_each(|entry| self.form.write(entry, &mut messages));
        if self
            .line
            .as_ref()
            .is_some_and(|line| line.ending.is_finished())
        {
            self.line = None;
        }
        if self.line.is_none() {
            let stream = self.connector.connect().await?;
            let (read, write) = tokio::io::split(stream);
            let ending = tokio::spawn(until_ended(read));
            self.line = Some(SyslogLine { write, ending });
            self.carried = 0;
        }
        let Some(line) = &mut self.line else {
            return Err(SinkFault::Stuck);
        };
        // What the connection before may have lost comes first.
        while let Some((_, again)) = self.sent.get(self.carried) {
            if let Err(fault) = write(&mut line.write, again).await {
                self.line = None;
                return Err(fault);
            }
            self.carried += 1;
        }
        let written = write(&mut line.write, &messages).await;
        if let Err(fault) = written {
            self.line = None;
            return Err(fault);
        }
        self.sent_bytes += messages.len();
        self.sent.push_back((Instant::now(), messages));
        self.carried = self.sent.len();
        Ok(())
    }

    /// Forgets what has surely arrived, and what is too much to keep.
    fn forget(&mut self) {
        while let Some((at, messages)) = self.sent.front()
            && (at.elapsed() > SYSLOG_DOUBT || self.sent_bytes > RESEND_LIMIT_BYTES)
        {
            self.sent_bytes = self.sent_bytes.saturating_sub(messages.len());
            self.sent.pop_front();
            self.carried = self.carried.saturating_sub(1);
        }
    }

    /// Connects otherwise from now on. What the connection before may have lost is sent again.
    pub(super) async fn renew(&mut self, connector: StreamConnector) {
        if self.end().await {
            self.sent.clear();
            self.sent_bytes = 0;
        }
        self.carried = 0;
        self.connector = connector;
    }

    /// Ends the connection in order; whether the receiver has surely read all that was sent.
    pub(super) async fn finish(mut self: Box<Self>) -> bool {
        self.end().await
    }

    /// The same; the receiver has read all where it ends the connection as well.
    async fn end(&mut self) -> bool {
        let Some(mut line) = self.line.take() else {
            return self.sent.is_empty();
        };
        // A receiver that ends the connection before we do may have read a part; its end may be on its way.
        if timeout(FINISH_GRACE, &mut line.ending).await.is_ok() {
            return false;
        }
        let ending = async {
            let is_shut = line.write.shutdown().await.is_ok();
            is_shut && (&mut line.ending).await.unwrap_or(false)
        };
        timeout(FINISH_TIMEOUT, ending).await.unwrap_or(false)
    }
}

async fn write(to: &mut WriteHalf<OutboundStream>, messages: &[u8]) -> Result<(), SinkFault> {
    let writing = async {
        to.write_all(messages).await?;
        to.flush().await
    };
    match timeout(WRITE_TIMEOUT, writing).await {
        Ok(written) => written.map_err(SinkFault::Broken),
        Err(_) => Err(SinkFault::Stuck),
    }
}

/// A receiver says nothing (RFC 5425 section 4.4); what it says all the same is not kept. Whether it ended in order: a receiver that
/// had not read everything would have reset the connection.
async fn until_ended(mut read: ReadHalf<OutboundStream>) -> bool {
    let mut space = [0; 1024];
    loop {
        match read.read(&mut space).await {
            Ok(1..) => {}
            Ok(0) => return true,
            // Many do not take leave of TLS.
            Err(error) => return error.kind() == io::ErrorKind::UnexpectedEof,
        }
    }
}

#[cfg(test)]
mod tests;
