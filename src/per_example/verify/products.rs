//! How well a combination of gradients fits another gradient, computed from their inner products.

/// Inner products of one parameter's gradients: that of a batch, and the one or two parts of which
/// it may consist.
pub(super) struct Products<const K: usize> {
    /// The product of the batch's gradient with itself.
    batch: f64,
    /// The products of the batch's gradient with each part.
    with: [f64; K],
    /// The products of the parts.
    among: [[f64; K]; K],
    /// The scale of each part's rounding: the lengths of the records' gradients in it.
    lengths: [f64; K],
}

impl<const K: usize> Products<K> {
    pub(super) fn new(batch: &[f64], parts: [&[f64]; K], lengths: [f64; K]) -> Self {
        let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        Self {
            batch: dot(batch, batch),
            with: parts.map(|part| dot(batch, part)),
            among: parts.map(|a| parts.map(|b| dot(a, b))),
            lengths,
        }
    }

    /// The squared length of the batch's gradient.
    pub(super) fn squared_length(&self) -> f64 {
        self.batch
    }

    /// `|batch - Σ_k weights[k] part_k|`.
    fn rest(&self, weights: [f64; K]) -> f64 {
        let mut squared = self.batch;
        for (k, weight) in weights.iter().enumerate() {
            squared -= 2.0 * weight * self.with[k];
            for (l, other) in weights.iter().enumerate() {
                squared += weight * other * self.among[k][l];
            }
        }
        // `max` would turn NaN into a perfect fit.
        if squared.is_nan() { f64::INFINITY } else { squared.max(0.0).sqrt() }
    }

    fn length(&self, weights: [f64; K]) -> f64 {
        weights.iter().zip(self.lengths).map(|(weight, length)| weight.abs() * length).sum()
    }
}

/// The largest difference of a parameter between the batch's gradient and the combination. It is
/// relative to the lengths of the combined gradients, or to `floor` times the largest of those.
pub(super) fn misfit<const K: usize>(
    products: &[Products<K>],
    weights: [f64; K],
    floor: f64,
) -> f64 {
    let lengths = products.iter().map(|p| p.length(weights));
    let least = (floor * lengths.fold(0.0, f64::max)).max(f64::MIN_POSITIVE);
    products.iter().map(|p| p.rest(weights) / p.length(weights).max(least)).fold(0.0, f64::max)
}

/// The normal equations. Every parameter counts the same.
fn normal<const K: usize>(products: &[Products<K>]) -> ([f64; K], [[f64; K]; K]) {
    let (mut with, mut among) = ([0.0; K], [[0.0; K]; K]);
    for p in products {
        let scale = p.lengths.iter().sum::<f64>();
        if scale <= 0.0 {
            continue;
        }
        for k in 0..K {
            with[k] += p.with[k] / scale / scale;
            for (total, product) in among[k].iter_mut().zip(p.among[k]) {
                *total += product / scale / scale;
            }
        }
    }
    (with, among)
}

/// The factor with which the part fits best.
pub(super) fn best_factor(products: &[Products<1>]) -> f64 {
    let ([with], [[among]]) = normal(products);
    with / among
}

/// The weights with which two parts fit best; `None` if they have the same direction, so that many
/// weights do.
pub(super) fn best_weights(products: &[Products<2>]) -> Option<[f64; 2]> {
    /// At this squared sine of their angle, single precision has no digits left.
    const PARALLEL: f64 = 1e-6;
    let ([x, y], [[a, b], [_, d]]) = normal(products);
    let determinant = a * d - b * b;
    let apart = determinant > PARALLEL * a * d;
    apart.then(|| [(d * x - b * y) / determinant, (a * y - b * x) / determinant])
}
