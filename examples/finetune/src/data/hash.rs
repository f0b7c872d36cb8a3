//! The public hash that splits and orders records.

use sha2::{Digest, Sha256};

/// The first 64 bits of SHA-256 over the parts, each after its length.
///
/// A checksum such as CRC-32 is linear in the bits of its input: it could split users by a digit of their number.
pub(crate) fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut digest = Sha256::new();
    for part in parts {
        // Without the length ("ab", "c") and ("a", "bc") would be one.
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}
