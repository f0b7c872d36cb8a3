//! Updates in fewer bits.
//!
//! Whatever arrives is decoded first and clipped after that, so an encoding can cost accuracy but never privacy (T1).

use chacha20::ChaCha20Rng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::manifest::Manifest;
use crate::error::{Error, FederatedError, Result};
use crate::mask::{decode_bits, encode_bits};

/// How a client writes its update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Encoding {
    /// Every number in 32 bits.
    Dense,
    /// The numbers at `keep` positions, the same for all clients of a round and chosen by a public seed; the others count
    /// as zero. The norm never grows.
    RandomK {
        /// How many numbers are sent.
        keep: usize,
    },
    /// The `keep` numbers of largest magnitude, with their positions. Which these are is known to the server alone.
    TopK {
        /// How many numbers are sent.
        keep: usize,
    },
    /// Every number in so few bits, rounded at random so that it is right on average (QSGD: Alistarh et al. 2017, arXiv
    /// 1610.02132), in units of the largest magnitude of its parameter.
    Quantized {
        /// 1 to 8.
        bits: u8,
    },
    /// Masks alone: a bit for each number, or fewer where most are alike (range coding: Martin 1979).
    Bits,
}

/// An update as it is written.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Encoded {
    Dense(ByteBuf),
    RandomK(ByteBuf),
    TopK {
        positions: Vec<u32>,
        numbers: ByteBuf,
    },
    Quantized {
        scales: Vec<f32>,
        codes: ByteBuf,
    },
    /// How many ones each parameter has, and its code.
    Bits {
        ones: Vec<u32>,
        codes: Vec<ByteBuf>,
    },
}

impl Encoding {
    /// # Errors
    /// [`Error::Setting`] for `keep` or `bits` out of range.
    pub(super) fn check(self, length: usize) -> Result<()> {
        match self {
            Self::RandomK { keep } | Self::TopK { keep } if !(1..=length).contains(&keep) => {
                Err(Error::setting("keep", keep, "1 to the number of trained parameters"))
            }
            Self::Quantized { bits } if !(1..=8).contains(&bits) => {
                Err(Error::setting("bits", bits, "1 to 8"))
            }
            Self::Dense
            | Self::RandomK { .. }
            | Self::TopK { .. }
            | Self::Quantized { .. }
            | Self::Bits => Ok(()),
        }
    }

    /// `update` as it is written. `seed` is the public one of the round; `own` the client's, for rounding.
    pub(super) fn encode(
        self,
        update: &[f32],
        manifest: &Manifest,
        seed: [u8; 32],
        own: &mut ChaCha20Rng,
    ) -> Result<Encoded> {
        Ok(match self {
            Self::Dense => Encoded::Dense(bytes(update.iter().copied())),
            Self::RandomK { keep } => {
                let at = random_positions(update.len(), keep, seed).into_iter();
                Encoded::RandomK(bytes(at.map(|position| update[position])))
            }
            Self::TopK { keep } => {
                let positions = largest(update, keep);
                let numbers = bytes(positions.iter().map(|position| update[*position as usize]));
                Encoded::TopK { positions, numbers }
            }
            Self::Quantized { bits } => quantized(update, manifest, bits, own),
            Self::Bits => bits(update, manifest)?,
        })
    }

    /// The update that was written.
    ///
    /// # Errors
    /// [`FederatedError`] for another encoding than this, for lengths and positions that are not the manifest's, and for
    /// numbers that are not finite.
    pub(super) fn decode(
        self,
        encoded: &Encoded,
        manifest: &Manifest,
        seed: [u8; 32],
    ) -> Result<Vec<f32>> {
        let length = manifest.len();
        let update = match (self, encoded) {
            (Self::Dense, Encoded::Dense(written)) => numbers(written, length)?,
            (Self::RandomK { keep }, Encoded::RandomK(written)) => {
                let mut update = vec![0.0; length];
                let at = random_positions(length, keep, seed).into_iter();
                at.zip(numbers(written, keep)?).for_each(|(at, number)| update[at] = number);
                update
            }
            (Self::TopK { keep }, Encoded::TopK { positions, numbers: written }) => {
                let ascending = positions.windows(2).all(|pair| pair[0] < pair[1]);
                let within = positions.last().is_none_or(|last| (*last as usize) < length);
                if positions.len() != keep || !ascending || !within {
                    return Err(unreadable("its positions are not ascending, or out of range"));
                }
                let mut update = vec![0.0; length];
                for (at, number) in positions.iter().zip(numbers(written, keep)?) {
                    update[*at as usize] = number;
                }
                update
            }
            (Self::Quantized { bits }, Encoded::Quantized { scales, codes }) => {
                restored(scales, codes, manifest, bits)?
            }
            (Self::Bits, Encoded::Bits { ones, codes }) => restored_bits(ones, codes, manifest)?,
            (
                Self::Dense
                | Self::RandomK { .. }
                | Self::TopK { .. }
                | Self::Quantized { .. }
                | Self::Bits,
                _,
            ) => {
                return Err(unreadable("its encoding is not the plan's"));
            }
        };
        match update.iter().all(|number| number.is_finite()) {
            true => Ok(update),
            false => Err(Error::Federated(FederatedError::NotFinite)),
        }
    }
}

/// Distinct positions, the same wherever they are drawn.
fn random_positions(length: usize, keep: usize, seed: [u8; 32]) -> Vec<usize> {
    let mut draws = ChaCha20Rng::from_seed(seed);
    let mut positions = rand::seq::index::sample(&mut draws, length, keep.min(length)).into_vec();
    positions.sort_unstable();
    positions
}

/// The positions of the largest magnitudes, ascending.
fn largest(update: &[f32], keep: usize) -> Vec<u32> {
    let mut positions: Vec<u32> = (0..update.len() as u32).collect();
    let magnitude = |position: &u32| update[*position as usize].abs();
    let keep = keep.min(positions.len());
    if keep < positions.len() {
        positions.select_nth_unstable_by(keep, |a, b| magnitude(b).total_cmp(&magnitude(a)));
        positions.truncate(keep);
    }
    positions.sort_unstable();
    positions
}

/// Steps between the smallest and the largest code.
fn steps(bits: u8) -> f32 {
    f32::from((1_u16 << bits) - 1)
}

fn quantized(update: &[f32], manifest: &Manifest, bits: u8, own: &mut ChaCha20Rng) -> Encoded {
    let mut scales = Vec::new();
    let mut packed = Packer::default();
    let mut rest = update;
    for length in manifest.lengths() {
        let (tensor, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        let scale = tensor.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        scales.push(scale);
        for number in tensor {
            let unit = if scale > 0.0 { (number / scale + 1.0) / 2.0 } else { 0.5 };
            let level = unit * steps(bits);
            let up = own.random::<f32>() < level - level.floor();
            let code = (level.floor() + f32::from(u8::from(up))).clamp(0.0, steps(bits));
            packed.push(code as u8, bits);
        }
    }
    Encoded::Quantized { scales, codes: ByteBuf::from(packed.finish()) }
}

fn restored(scales: &[f32], codes: &[u8], manifest: &Manifest, bits: u8) -> Result<Vec<f32>> {
    let expected = (manifest.len() as u64 * u64::from(bits)).div_ceil(8);
    if scales.len() != manifest.tensors().len() || codes.len() as u64 != expected {
        return Err(unreadable("it has another number of codes or scales"));
    }
    let mut update = Vec::with_capacity(manifest.len());
    let mut unpacked = (0_u64..).map(|index| code(codes, index * u64::from(bits), bits));
    for (length, scale) in manifest.lengths().zip(scales) {
        let number = |code: u8| (f32::from(code) / steps(bits) * 2.0 - 1.0) * scale;
        update.extend(unpacked.by_ref().take(length).map(number));
    }
    Ok(update)
}

/// Of contributions of masks: everything above zero is a one.
fn bits(update: &[f32], manifest: &Manifest) -> Result<Encoded> {
    let (mut ones, mut codes) = (Vec::new(), Vec::new());
    let mut rest = update;
    for length in manifest.lengths() {
        let (tensor, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        let bits: Vec<bool> = tensor.iter().map(|x| *x > 0.0).collect();
        ones.push(bits.iter().filter(|bit| **bit).count() as u32);
        codes.push(ByteBuf::from(encode_bits(&bits)?));
    }
    Ok(Encoded::Bits { ones, codes })
}

/// One half above zero, and one half below.
fn restored_bits(ones: &[u32], codes: &[ByteBuf], manifest: &Manifest) -> Result<Vec<f32>> {
    if ones.len() != manifest.tensors().len() || codes.len() != ones.len() {
        return Err(unreadable("it has another number of masks"));
    }
    let mut update = Vec::with_capacity(manifest.len());
    for ((length, ones), code) in manifest.lengths().zip(ones).zip(codes) {
        let bits = decode_bits(code, *ones as usize, length)?;
        update.extend(bits.into_iter().map(|bit| if bit { 0.5 } else { -0.5 }));
    }
    Ok(update)
}

/// Codes of a few bits, the lowest bit first.
#[derive(Default)]
struct Packer {
    bytes: Vec<u8>,
    waiting: u16,
    filled: u8,
}

impl Packer {
    fn push(&mut self, code: u8, bits: u8) {
        self.waiting |= u16::from(code) << self.filled;
        self.filled += bits;
        while self.filled >= 8 {
            self.bytes.push(self.waiting as u8);
            self.waiting >>= 8;
            self.filled -= 8;
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if self.filled > 0 {
            self.bytes.push(self.waiting as u8);
        }
        self.bytes
    }
}

/// The code that begins at bit `start`.
fn code(bytes: &[u8], start: u64, bits: u8) -> u8 {
    let byte = |index: u64| {
        usize::try_from(index).ok().and_then(|index| bytes.get(index)).copied().unwrap_or(0)
    };
    let both = u16::from(byte(start / 8)) | u16::from(byte(start / 8 + 1)) << 8;
    (both >> (start % 8)) as u8 & ((1_u16 << bits) - 1) as u8
}

fn bytes(numbers: impl Iterator<Item = f32>) -> ByteBuf {
    ByteBuf::from(numbers.flat_map(f32::to_le_bytes).collect::<Vec<u8>>())
}

/// So many numbers, no more and no fewer.
pub(super) fn numbers(written: &[u8], expected: usize) -> Result<Vec<f32>> {
    let (whole, rest) = written.as_chunks::<4>();
    if whole.len() != expected || !rest.is_empty() {
        let found = whole.len();
        return Err(Error::Federated(FederatedError::WrongLength { found, expected }));
    }
    Ok(whole.iter().map(|four| f32::from_le_bytes(*four)).collect())
}

fn unreadable(reason: &str) -> Error {
    Error::Federated(FederatedError::Unreadable { what: "update", reason: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn manifest(length: usize) -> Manifest {
        let tensors = vec![("a".into(), vec![length - 1]), ("b".into(), vec![1])];
        Manifest::new(tensors, [0; 32]).expect("two parameters")
    }

    fn there_and_back(encoding: Encoding, update: &[f32]) -> Vec<f32> {
        let manifest = manifest(update.len());
        let mut own = ChaCha20Rng::from_seed([1; 32]);
        let encoded = encoding.encode(update, &manifest, [2; 32], &mut own).expect("its own");
        encoding.decode(&encoded, &manifest, [2; 32]).expect("its own")
    }

    fn squares(numbers: &[f32]) -> f64 {
        numbers.iter().map(|x| f64::from(*x).powi(2)).sum()
    }

    proptest! {
        #[test]
        fn what_is_sent_is_the_update_or_a_part_of_it(
            update in prop::collection::vec(-1e3_f32..1e3, 2..200), share in 0.0..1.0_f64,
        ) {
            let keep = ((update.len() as f64 * share) as usize).max(1);
            prop_assert_eq!(&there_and_back(Encoding::Dense, &update), &update);
            for encoding in [Encoding::RandomK { keep }, Encoding::TopK { keep }] {
                let sent = there_and_back(encoding, &update);
                prop_assert!(sent.iter().zip(&update).all(|(sent, x)| *sent == 0.0 || sent == x));
                prop_assert!(squares(&sent) <= squares(&update));
            }
            let top = squares(&there_and_back(Encoding::TopK { keep }, &update));
            let random = squares(&there_and_back(Encoding::RandomK { keep }, &update));
            prop_assert!(top >= random);
        }

        #[test]
        fn masks_come_back_as_they_went(bits in prop::collection::vec(any::<bool>(), 2..200)) {
            let update: Vec<f32> = bits.iter().map(|bit| if *bit { 0.5 } else { -0.5 }).collect();
            prop_assert_eq!(&there_and_back(Encoding::Bits, &update), &update);
            prop_assert_eq!(&there_and_back(Encoding::Quantized { bits: 1 }, &update), &update);
        }

        #[test]
        fn quantized_numbers_are_within_a_step(
            update in prop::collection::vec(-1e3_f32..1e3, 2..200), bits in 1_u8..=8,
        ) {
            let sent = there_and_back(Encoding::Quantized { bits }, &update);
            let (first, last) = update.split_at(update.len() - 1);
            let largest = |part: &[f32]| part.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            for (index, (sent, x)) in sent.iter().zip(&update).enumerate() {
                let scale = largest(if index < first.len() { first } else { last });
                prop_assert!((sent - x).abs() <= 2.0 * scale / steps(bits) * 1.0001);
            }
        }
    }

    #[test]
    fn quantization_is_right_on_average() {
        let update = [0.3_f32, -1.0, 0.9, 0.0, 1.0];
        let manifest = manifest(update.len());
        let encoding = Encoding::Quantized { bits: 1 };
        let mut own = ChaCha20Rng::from_seed([1; 32]);
        let mut mean = [0.0; 5];
        for _ in 0..20_000 {
            let encoded = encoding.encode(&update, &manifest, [2; 32], &mut own).expect("its own");
            let sent = encoding.decode(&encoded, &manifest, [2; 32]).expect("its own");
            mean.iter_mut().zip(sent).for_each(|(mean, x)| *mean += f64::from(x) / 20_000.0);
        }
        // Five standard deviations of a mean of numbers of size one.
        let close =
            |(mean, x): (&f64, &f32)| (mean - f64::from(*x)).abs() < 5.0 / 20_000_f64.sqrt();
        assert!(mean.iter().zip(&update).all(close), "{mean:?}");
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let manifest = manifest(6);
        let four = || ByteBuf::from(vec![0; 16]);
        let wrong = [
            (Encoding::Dense, Encoded::Dense(four())),
            (Encoding::Dense, Encoded::RandomK(ByteBuf::from(vec![0; 24]))),
            (Encoding::Dense, Encoded::Dense(ByteBuf::from(vec![0; 23]))),
            (Encoding::Dense, Encoded::Dense(ByteBuf::from(f32::NAN.to_le_bytes().repeat(6)))),
            (Encoding::RandomK { keep: 3 }, Encoded::RandomK(four())),
            (
                Encoding::TopK { keep: 4 },
                Encoded::TopK { positions: vec![0, 1, 2, 6], numbers: four() },
            ),
            (
                Encoding::TopK { keep: 4 },
                Encoded::TopK { positions: vec![0, 2, 2, 5], numbers: four() },
            ),
            (
                Encoding::TopK { keep: 4 },
                Encoded::TopK { positions: vec![0, 1, 2], numbers: four() },
            ),
            (Encoding::Bits, Encoded::Bits { ones: vec![1], codes: vec![four()] }),
            (Encoding::Bits, Encoded::Bits { ones: vec![6, 0], codes: vec![four(), four()] }),
            (
                Encoding::Quantized { bits: 4 },
                Encoded::Quantized { scales: vec![1.0], codes: ByteBuf::from(vec![0; 3]) },
            ),
            (
                Encoding::Quantized { bits: 4 },
                Encoded::Quantized { scales: vec![1.0, 1.0], codes: ByteBuf::from(vec![0; 4]) },
            ),
            (
                Encoding::Quantized { bits: 4 },
                Encoded::Quantized {
                    scales: vec![1.0, f32::INFINITY],
                    codes: ByteBuf::from(vec![0; 3]),
                },
            ),
        ];
        for (encoding, encoded) in wrong {
            assert!(encoding.decode(&encoded, &manifest, [2; 32]).is_err(), "{encoded:?}");
        }
    }
}
