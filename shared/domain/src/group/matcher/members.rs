//! The groups that a device is in.

use super::Id;

/// A set of a matcher's definitions; of no other matcher's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    bits: Vec<u64>,
}

impl Members {
    pub(super) fn none(definitions: usize) -> Self {
        Self {
            bits: vec![0; definitions.div_ceil(64)],
        }
    }

    pub(super) fn has(&self, definition: Id) -> bool {
        self.bits[definition as usize / 64] >> (definition % 64) & 1 == 1
    }

    pub(super) fn set(&mut self, definition: Id, is_in: bool) {
        let bit = 1 << (definition % 64);
        let word = &mut self.bits[definition as usize / 64];
        if is_in {
            *word |= bit;
        } else {
            *word &= !bit;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Id> {
        self.bits.iter().enumerate().flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(super::id(at) * 64 + bit)
            })
        })
    }

    /// How many groups these are.
    pub fn count(&self) -> u32 {
        self.bits.iter().map(|word| word.count_ones()).sum()
    }
}
