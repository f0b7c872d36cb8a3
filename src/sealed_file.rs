//! The header of this library's files: magic, version, checksum and length, before the body.

/// Why a file cannot be read.
pub(crate) enum Broken {
    /// It is of another version.
    Version(u32),
    /// Anything else, in words.
    Reason(String),
}

/// Magic, version, checksum, length of the body.
const HEADER: usize = 8 + 4 + 4 + 8;

pub(crate) fn seal(magic: &[u8; 8], version: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend_from_slice(magic);
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The body, if nothing is wrong with the file. `what` names in words what the file should be.
pub(crate) fn open<'b>(
    magic: &[u8; 8],
    version: u32,
    what: &str,
    bytes: &'b [u8],
) -> Result<&'b [u8], Broken> {
    let truncated = || Broken::Reason("it is truncated".into());
    let (header, body) = bytes.split_at_checked(HEADER).ok_or_else(truncated)?;
    let (found, rest) = header.split_at(magic.len());
    if found != magic {
        return Err(Broken::Reason(format!("it is no {what} of this library")));
    }
    let word = |range: std::ops::Range<usize>| -> Option<u32> {
        rest.get(range)?.try_into().ok().map(u32::from_le_bytes)
    };
    let found = word(0..4).ok_or_else(truncated)?;
    if found != version {
        return Err(Broken::Version(found));
    }
    let checksum = word(4..8).ok_or_else(truncated)?;
    let length = rest.get(8..16).and_then(|l| l.try_into().ok()).map(u64::from_le_bytes);
    if length != Some(body.len() as u64) {
        return Err(truncated());
    }
    if crc32fast::hash(body) != checksum {
        return Err(Broken::Reason("its checksum is wrong".into()));
    }
    Ok(body)
}
