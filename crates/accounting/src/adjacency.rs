//! Which pairs of data sets must be hard to tell apart.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::quantities::ClippingNorm;

/// The neighboring relation of the guarantee: what an ε is *about*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Adjacency {
    /// One record is present in one data set and absent from the other; the usual choice of DP-SGD.
    #[default]
    AddRemove,
    /// One record is replaced by an empty one that contributes nothing, so that both data sets have
    /// the same public size (Kairouz et al. 2021, arXiv 2103.00039).
    ZeroOut,
    /// One record is replaced by any other record. This demand is about twice as strong.
    ReplaceOne,
}

impl Adjacency {
    /// The largest L2 distance between the sums over two neighboring data sets, in the unit of C.
    ///
    /// C for add/remove and zero-out, where one contribution appears or vanishes; 2C for
    /// replace-one, where one contribution leaves and another enters.
    pub fn sensitivity(self, clipping_norm: ClippingNorm) -> f64 {
        self.contributions() * clipping_norm.value()
    }

    /// How many record contributions can differ between neighbors.
    pub const fn contributions(self) -> f64 {
        match self {
            Self::AddRemove | Self::ZeroOut => 1.0,
            Self::ReplaceOne => 2.0,
        }
    }
}

impl fmt::Display for Adjacency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddRemove => "add/remove one record",
            Self::ZeroOut => "zero out one record",
            Self::ReplaceOne => "replace one record",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_a_record_moves_the_sum_twice_as_far() {
        let norm = ClippingNorm::new(1.5).unwrap();
        assert_eq!(Adjacency::AddRemove.sensitivity(norm), 1.5);
        assert_eq!(Adjacency::ZeroOut.sensitivity(norm), 1.5);
        assert_eq!(Adjacency::ReplaceOne.sensitivity(norm), 3.0);
    }
}
