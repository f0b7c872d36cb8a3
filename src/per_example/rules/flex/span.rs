//! The output positions at which a window's tap lies inside its input.

/// One tap of a window, while the window moves along one axis. At output position `o` it reads the
/// input at `o · stride + tap · dilation − padding`. For the first and the last positions this may
/// be outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Output positions before the first that is inside.
    pub(super) before: usize,
    /// Output positions that are inside.
    pub(super) inside: usize,
    /// The input that the first of them reads.
    pub(super) first: usize,
    pub(super) stride: usize,
}

impl Span {
    /// The span of tap number `tap`, for `input` numbers on the axis and `output` positions of the
    /// window.
    pub(super) fn new(
        tap: usize,
        stride: usize,
        padding: usize,
        dilation: usize,
        input: usize,
        output: usize,
    ) -> Self {
        let shift = tap * dilation;
        let before = padding.saturating_sub(shift).div_ceil(stride).min(output);
        // The number of output positions whose tap is not behind the end.
        let until = (input + padding).saturating_sub(shift).div_ceil(stride).min(output);
        let inside = until.saturating_sub(before);
        let first = (before * stride + shift).saturating_sub(padding);
        Self { before, inside, first, stride }
    }

    /// The input that output position `o` reads.
    pub(super) fn input(&self, o: usize) -> Option<usize> {
        let inside = o.checked_sub(self.before).filter(|inside| *inside < self.inside);
        inside.map(|inside| self.first + inside * self.stride)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_position_reads_what_the_formula_says(
            tap in 0usize..5, stride in 1usize..4, padding in 0usize..6, dilation in 1usize..4,
            input in 1usize..9, output in 0usize..12,
        ) {
            let span = Span::new(tap, stride, padding, dilation, input, output);
            for o in 0..output {
                let at = (o * stride + tap * dilation) as isize - padding as isize;
                let inside = usize::try_from(at).ok().filter(|at| *at < input);
                prop_assert_eq!(span.input(o), inside);
            }
        }
    }
}
