//! Bits as bytes: packed, or in as few bytes as their share of ones allows.

use constriction::stream::model::DefaultContiguousCategoricalEntropyModel;
use constriction::stream::queue::{DefaultRangeDecoder, DefaultRangeEncoder};
use constriction::stream::{Decode, Encode};

use crate::error::{Error, MaskError, Result};

/// Eight bits per byte; the first bit is the lowest.
pub(super) fn pack(bits: &[bool]) -> Vec<u8> {
    let byte = |bits: &[bool]| {
        bits.iter().enumerate().fold(0, |byte, (place, bit)| byte | u8::from(*bit) << place)
    };
    bits.chunks(8).map(byte).collect()
}

/// Unpacks `count` bits. The rest of the last byte must be zeros.
pub(super) fn unpack(bytes: &[u8], count: usize) -> Result<Vec<bool>> {
    if bytes.len() != count.div_ceil(8) {
        return Err(wrong("a mask has another length than its weight"));
    }
    let bits: Vec<bool> =
        bytes.iter().flat_map(|byte| (0..8).map(move |place| byte >> place & 1 == 1)).collect();
    let (bits, rest) = bits.split_at(count);
    if rest.contains(&true) {
        return Err(wrong("there are bits after the end of a mask"));
    }
    Ok(bits.to_vec())
}

/// Range coding (Martin 1979) with the share of ones. It takes n·H(share) bits, and a few bytes.
pub(crate) fn encode(bits: &[bool]) -> Result<Vec<u8>> {
    let ones = bits.iter().filter(|bit| **bit).count();
    let mut encoder = DefaultRangeEncoder::new();
    let symbols = bits.iter().map(|bit| usize::from(*bit));
    encoder
        .encode_iid_symbols(symbols, &model(ones, bits.len())?)
        .map_err(|_| wrong("a mask cannot be encoded"))?;
    let words = encoder.into_compressed().map_err(|_| wrong("a mask cannot be encoded"))?;
    Ok(words.into_iter().flat_map(u32::to_le_bytes).collect())
}

/// Decodes `count` bits, of which `ones` are one.
pub(crate) fn decode(bytes: &[u8], ones: usize, count: usize) -> Result<Vec<bool>> {
    let (words, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() || ones > count {
        return Err(wrong("the code of a mask is damaged"));
    }
    let words: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let damaged = || wrong("the code of a mask is damaged");
    let mut decoder = DefaultRangeDecoder::from_compressed(words).map_err(|_| damaged())?;
    let model = model(ones, count)?;
    let bits: Vec<bool> = decoder
        .decode_iid_symbols(count, &model)
        .map(|symbol| symbol.map(|symbol| symbol == 1).map_err(|_| damaged()))
        .collect::<Result<_>>()?;
    if bits.iter().filter(|bit| **bit).count() != ones {
        return Err(damaged());
    }
    Ok(bits)
}

/// The model of zero and one with their shares. A share is never quite 0 or 1.
fn model(ones: usize, count: usize) -> Result<DefaultContiguousCategoricalEntropyModel> {
    let share = (ones as f64 + 0.5) / (count as f64 + 1.0);
    DefaultContiguousCategoricalEntropyModel::from_floating_point_probabilities_fast(
        &[1.0 - share, share],
        None,
    )
    .map_err(|()| wrong("the share of ones is no probability"))
}

fn wrong(reason: &str) -> Error {
    Error::Mask(MaskError::Unreadable { reason: reason.into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entropy(share: f64) -> f64 {
        let term = |p: f64| if p > 0.0 { -p * p.log2() } else { 0.0 };
        term(share) + term(1.0 - share)
    }

    proptest! {
        #[test]
        fn bits_survive(count in 0usize..3000, share in 0.0..=1.0f64, seed: u64) {
            let mut state = seed;
            let bits: Vec<bool> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                ((state >> 33) as f64) / ((1u64 << 31) as f64) < share
            })
            .take(count)
            .collect();
            let ones = bits.iter().filter(|bit| **bit).count();
            prop_assert_eq!(&unpack(&pack(&bits), count).unwrap(), &bits);
            let code = encode(&bits).unwrap();
            prop_assert_eq!(&decode(&code, ones, count).unwrap(), &bits);
            // The entropy, the loss from rounding the share to 24 bits, and the last words.
            let bound = count as f64 * (entropy(ones as f64 / count.max(1) as f64) + 0.01) / 8.0;
            prop_assert!(code.len() as f64 <= bound + 12.0, "{} bytes against {bound}", code.len());
        }

        #[test]
        fn any_bytes_are_an_answer(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            ones in 0usize..500,
            count in 0usize..500,
        ) {
            if let Ok(bits) = decode(&bytes, ones, count) {
                prop_assert_eq!(bits.len(), count);
            }
            if let Ok(bits) = unpack(&bytes, count) {
                prop_assert_eq!(pack(&bits), bytes);
            }
        }
    }
}
