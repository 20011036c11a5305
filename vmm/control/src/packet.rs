//! How a message becomes a packet: a version, u16 little-endian, the kind of its message, u8, and the message in
//! postcard's encoding.
//!
//! A VMM may have been taken over by its guest, so each packet is hostile: length, version and kind are checked before
//! it is decoded, and nothing may be left over behind it. Not here: the sockets that carry packets (`jiffy-socket`).

use serde::{Serialize, de::DeserializeOwned};

/// Largest packet, bytes, version and kind included: a snapshot's state with its working set fits.
pub const MESSAGE_BYTES_MAX: usize = 128 << 10;
/// Version of the packets: every change of a message raises it. Both ends come from one build today;
/// the agent of tomorrow may meet a VMM of yesterday.
pub(crate) const MESSAGE_VERSION: u16 = 7;
const HEADER_BYTES: usize = 3;

/// Something that is sent as one packet.
pub trait Message: Serialize + DeserializeOwned {
    /// Tells its packets from those of other messages.
    const KIND: u8;
}

/// Why there is no packet of a message, or no message in a packet.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum PacketError {
    #[error("cannot encode a message")]
    Encode(#[source] postcard::Error),
    #[error("a message has {0} bytes, more than the {MESSAGE_BYTES_MAX} of a control packet")]
    TooLarge(usize),
    #[error("a control packet has {0} bytes, too few for its version and kind")]
    TooShort(usize),
    #[error(
        "its control protocol has version {0}, and this side's has {MESSAGE_VERSION}: install jiffy and jiffy-vmm from one release"
    )]
    Version(u16),
    #[error("a control packet is of kind {found}, not {expected}")]
    Kind { found: u8, expected: u8 },
    #[error("a control packet does not hold a message")]
    Decode(#[source] postcard::Error),
    #[error("a control packet goes on for {0} bytes behind its message")]
    Trailing(usize),
}

/// A message that is encoded, to be sent once or often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet(Vec<u8>);

impl Packet {
    /// Encodes a message.
    pub fn new<M: Message>(message: &M) -> Result<Self, PacketError> {
        let mut packet = MESSAGE_VERSION.to_le_bytes().to_vec();
        packet.push(M::KIND);
        let packet = postcard::to_extend(message, packet).map_err(PacketError::Encode)?;
        if packet.len() > MESSAGE_BYTES_MAX {
            return Err(PacketError::TooLarge(packet.len()));
        }
        Ok(Self(packet))
    }

    /// What is sent.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The message of a packet that was received.
pub fn decode<M: Message>(packet: &[u8]) -> Result<M, PacketError> {
    let Some((header, message)) = packet.split_first_chunk::<HEADER_BYTES>() else {
        return Err(PacketError::TooShort(packet.len()));
    };
    let [low, high, found] = *header;
    let version = u16::from_le_bytes([low, high]);
    if version != MESSAGE_VERSION {
        return Err(PacketError::Version(version));
    }
    if found != M::KIND {
        let expected = M::KIND;
        return Err(PacketError::Kind { found, expected });
    }
    let (message, rest) = postcard::take_from_bytes(message).map_err(PacketError::Decode)?;
    if rest.is_empty() {
        Ok(message)
    } else {
        Err(PacketError::Trailing(rest.len()))
    }
}

#[cfg(test)]
mod tests;
