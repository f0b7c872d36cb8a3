//! Keystream in bulk.

use core::convert::Infallible;

use chacha20::ChaCha20LegacyCore;
use chacha20::cipher::{Block, KeyIvInit, StreamCipherCore};
use rand::TryRng;

/// The number of blocks that are made at a time: as many as leave room in the first-level cache for
/// the data they are used on.
const BLOCKS: usize = 64;

/// 64-bit words in one ChaCha block.
const WORDS_PER_BLOCK: usize = 8;

/// The same keystream that [`ChaCha20Rng`](chacha20::ChaCha20Rng) reads, made by the cipher itself.
/// The cipher uses the widest vectors of the machine that it is built for.
pub(crate) struct BulkKeystream {
    cipher: ChaCha20LegacyCore,
    words: [u64; BLOCKS * WORDS_PER_BLOCK],
    /// The number of words that have been read.
    read: usize,
}

impl BulkKeystream {
    /// Starts at block number `block` of a 64-bit nonce (Bernstein's ChaCha, not that of RFC 8439).
    pub(super) fn new(key: &[u8; 32], nonce: u64, block: u64) -> Self {
        let mut cipher = ChaCha20LegacyCore::new(key.into(), &nonce.to_le_bytes().into());
        cipher.set_block_pos(block);
        let words = [0; BLOCKS * WORDS_PER_BLOCK];
        Self { cipher, read: words.len(), words }
    }

    #[cold]
    fn refill(&mut self) {
        let mut blocks = [Block::<ChaCha20LegacyCore>::default(); BLOCKS];
        self.cipher.write_keystream_blocks(&mut blocks);
        let bytes = blocks.iter().flat_map(|block| block.as_chunks().0);
        for (word, bytes) in self.words.iter_mut().zip(bytes) {
            *word = u64::from_le_bytes(*bytes);
        }
        self.read = 0;
    }
}

impl TryRng for BulkKeystream {
    type Error = Infallible;

    #[inline]
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        if self.read >= self.words.len() {
            self.refill();
        }
        let word = self.words[self.read];
        self.read += 1;
        Ok(word)
    }

    /// Returns half a word; the other half is not used.
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.try_next_u64()? as u32)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let word = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}
