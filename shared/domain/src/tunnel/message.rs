//! What local proxies say to each other through a tunnel: version 2 of the
//! protocol (`V2WebSocketProtocolGuide`, aws-iot-securetunneling-localproxy).
//!
//! A frame is two bytes of length and a Protocol Buffers message. WebSocket's
//! own frames say nothing about where one begins, so what comes is one sequence
//! of bytes. Of Protocol Buffers this needs six fields of two wire types, which
//! is less than a code generator.

use std::fmt;

/// What the WebSocket handshake asks for.
pub const SUBPROTOCOL: &str = "aws.iot.securetunneling-2.0";
/// The most that one message carries.
pub const MOST_PAYLOAD: usize = 63 * 1024;

const VARINT: u64 = 0;
const BYTES: u64 = 2;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes of a stream.
    Data,
    /// A stream begins. Only the source says so.
    StreamStart,
    /// A stream has ended, or did not come about.
    StreamReset,
    /// All streams have ended. Only AWS says so.
    SessionReset,
    /// The services of the tunnel. Only AWS says so, first of all.
    ServiceIds,
    /// None of these.
    Other(u64),
}

impl Kind {
    const fn number(self) -> u64 {
        match self {
            Self::Data => 1,
            Self::StreamStart => 2,
            Self::StreamReset => 3,
            Self::SessionReset => 4,
            Self::ServiceIds => 5,
            Self::Other(number) => number,
        }
    }

    const fn of(number: u64) -> Self {
        match number {
            1 => Self::Data,
            2 => Self::StreamStart,
            3 => Self::StreamReset,
            4 => Self::SessionReset,
            5 => Self::ServiceIds,
            other => Self::Other(other),
        }
    }
}

/// One message.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// The stream; 0 is none.
    pub stream_id: i32,
    /// Whether whoever does not know its kind may pass over it.
    pub ignorable: bool,
    /// Bytes of the stream.
    pub payload: Vec<u8>,
    /// The service that the stream leads to.
    pub service: String,
    /// The services of the tunnel.
    pub services: Vec<String>,
}

// What goes through a tunnel is nobody else's, so it is counted, not shown.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, stream, service) = (self.kind, self.stream_id, &self.service);
        write!(
            f,
            "{kind:?} {service}/{stream}, {} bytes",
            self.payload.len()
        )
    }
}

/// That what came is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what came through the tunnel is not the protocol's")
    }
}

impl Message {
    /// A message of one stream.
    pub fn of(kind: Kind, service: &str, stream_id: i32) -> Self {
        Self {
            kind,
            stream_id,
            ignorable: false,
            payload: Vec::new(),
            service: service.to_owned(),
            services: Vec::new(),
        }
    }

    /// Bytes of a stream, at most [`MOST_PAYLOAD`] of them.
    pub fn data(service: &str, stream_id: i32, payload: &[u8]) -> Self {
        let payload = payload[..payload.len().min(MOST_PAYLOAD)].to_vec();
        Self {
            payload,
            ..Self::of(Kind::Data, service, stream_id)
        }
    }

    /// The message as a frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut out = vec![0, 0];
        let mut number = |field: u64, value: u64| {
            if value != 0 {
                put_varint(&mut out, field << 3 | VARINT);
                put_varint(&mut out, value);
            }
        };
        number(1, self.kind.number());
        // A negative int32 is sign-extended; ours are positive.
        number(2, i64::from(self.stream_id).cast_unsigned());
        number(3, u64::from(self.ignorable));
        let mut bytes = |field: u64, value: &[u8]| {
            put_varint(&mut out, field << 3 | BYTES);
            put_varint(&mut out, value.len() as u64);
            out.extend_from_slice(value);
        };
        if !self.payload.is_empty() {
            bytes(4, &self.payload);
        }
        if !self.service.is_empty() {
            bytes(5, self.service.as_bytes());
        }
        for service in &self.services {
            bytes(6, service.as_bytes());
        }
        // A payload within its limit leaves a frame within its own.
        let length = u16::try_from(out.len() - 2).unwrap_or(u16::MAX);
        out[..2].copy_from_slice(&length.to_be_bytes());
        out
    }

    /// Reads a message without its length.
    ///
    /// # Errors
    /// [`Malformed`]. A field that is not known is passed over, as Protocol
    /// Buffers wants it.
    pub fn parse(mut bytes: &[u8]) -> Result<Self, Malformed> {
        let mut message = Self::of(Kind::Other(0), "", 0);
        while !bytes.is_empty() {
            let tag = take_varint(&mut bytes)?;
            match tag & 7 {
                VARINT => {
                    let value = take_varint(&mut bytes)?;
                    match tag >> 3 {
                        1 => message.kind = Kind::of(value),
                        2 => message.stream_id = low_half(value),
                        3 => message.ignorable = value != 0,
                        _ => {}
                    }
                }
                BYTES => {
                    let length = usize::try_from(take_varint(&mut bytes)?);
                    let value = length
                        .ok()
                        .and_then(|length| bytes.split_at_checked(length));
                    let (value, rest) = value.ok_or(Malformed)?;
                    bytes = rest;
                    let text = || String::from_utf8(value.to_vec()).map_err(|_| Malformed);
                    match tag >> 3 {
                        4 => message.payload = value.to_vec(),
                        5 => message.service = text()?,
                        6 => message.services.push(text()?),
                        _ => {}
                    }
                }
                _ => return Err(Malformed),
            }
        }
        Ok(message)
    }
}

/// An int32 is the low half of its varint.
#[expect(clippy::cast_possible_truncation, reason = "that is its encoding")]
const fn low_half(value: u64) -> i32 {
    value as i32
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or(Malformed)?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

/// Makes messages of what comes, however it is cut.
#[derive(Debug, Default)]
pub struct Frames(Vec<u8>);

impl Frames {
    /// Takes what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The messages that are whole. What is left is less than one, so that this
    /// never holds more than was pushed and 64 KiB.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn take(&mut self) -> Result<Vec<Message>, Malformed> {
        let (mut messages, mut at) = (Vec::new(), 0);
        while let Some(&[high, low]) = self.0.get(at..at + 2).and_then(<[u8]>::first_chunk) {
            let length = usize::from(u16::from_be_bytes([high, low]));
            let Some(bytes) = self.0.get(at + 2..at + 2 + length) else {
                break;
            };
            messages.push(Message::parse(bytes)?);
            at += 2 + length;
        }
        self.0.drain(..at);
        Ok(messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `protoc --encode` makes of the guide's examples.
    #[test]
    fn messages_are_encoded_as_the_guide_has_them() {
        let start = Message::of(Kind::StreamStart, "ssh1", 1);
        let reset = Message::of(Kind::StreamReset, "ssh1", 1);
        let mut services = Message::of(Kind::ServiceIds, "", 0);
        services.services = vec!["a".to_owned(), "b".to_owned()];
        for (message, bytes) in [
            (start, &b"\0\x0a\x08\x02\x10\x01\x2a\x04ssh1"[..]),
            (reset, b"\0\x0a\x08\x03\x10\x01\x2a\x04ssh1"),
            (
                Message::data("S", 300, b"hi"),
                b"\0\x0c\x08\x01\x10\xac\x02\x22\x02hi\x2a\x01S",
            ),
            (services, b"\0\x08\x08\x05\x32\x01a\x32\x01b"),
        ] {
            assert_eq!(message.frame(), bytes, "{message:?}");
            assert_eq!(Message::parse(&bytes[2..]), Ok(message));
        }
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let sent = [
            Message::of(Kind::StreamStart, "SSH", 1),
            Message::data("SSH", 1, &vec![7; MOST_PAYLOAD + 1]),
            Message::of(Kind::SessionReset, "", 0),
        ];
        assert_eq!(sent[1].payload.len(), MOST_PAYLOAD);
        let bytes: Vec<u8> = sent.iter().flat_map(Message::frame).collect();
        for size in [1, 2, 3, 1000, bytes.len()] {
            let (mut frames, mut got) = (Frames::default(), Vec::new());
            for piece in bytes.chunks(size) {
                frames.push(piece);
                got.extend(frames.take().unwrap());
            }
            assert_eq!(got, sent, "{size}");
            assert!(frames.0.is_empty());
        }
    }

    #[test]
    fn what_is_no_message_is_refused_and_what_is_new_passed_over() {
        for wrong in [
            &b"\x08"[..],
            b"\x22\x05hi",
            b"\x0d\0\0\0\0",
            b"\x2a\x01\xff",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x22\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        ] {
            assert_eq!(Message::parse(wrong), Err(Malformed), "{wrong:?}");
        }
        let newer = Message::parse(b"\x08\x07\x18\x01\x38\x05\x42\x01x").unwrap();
        assert_eq!((newer.kind, newer.ignorable), (Kind::Other(7), true));
        let negative = Message::of(Kind::Data, "", -1);
        assert_eq!(Message::parse(&negative.frame()[2..]), Ok(negative));
    }

    #[test]
    fn nothing_of_a_stream_is_shown() {
        let shown = format!("{:?}", Message::data("SSH", 1, b"secret"));
        assert_eq!(shown, "Data SSH/1, 6 bytes");
    }
}
