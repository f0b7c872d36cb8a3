//! The directions in which public inputs differ most, by principal component analysis. A head on them has fewer numbers, and so
//! less noise in all (Yu et al. 2021, arXiv 2102.12677, choose from public data where gradients may lie).
//!
//! Everything here is computed from public inputs, so it says nothing about clients.

use anyhow::{Result, ensure};
use burn::tensor::{Device, Tensor, TensorData};
use finetune::run::Features;
use nalgebra::{DMatrix, SymmetricEigen};

/// Records at a time.
const CHUNK: usize = 1000;
/// A direction counts if public inputs vary along it by this share of what they do along the first.
const LEAST: f64 = 1e-9;

/// A shift and a linear map of features.
pub(super) struct Directions {
    /// `[1, width]`
    mean: Tensor<2>,
    /// `[width, directions]`
    map: Tensor<2>,
    count: usize,
}

impl Directions {
    /// The `count` first of `inputs`, `[records, width]`. Coordinates are halfway to white: their variances are the square roots of
    /// what they were, in one scale in which a public input has the squared norm of a row that [`FeatureSets`] normalizes.
    ///
    /// [`FeatureSets`]: super::features::FeatureSets
    pub(super) fn of(inputs: &Tensor<2>, count: usize) -> Result<Self> {
        let [records, width] = inputs.dims();
        ensure!((1..=width).contains(&count), "--directions must be 1 to {width}");
        let numbers = inputs.clone().into_data();
        let mut rows = DMatrix::from_row_iterator(records, width, numbers.iter::<f64>());
        let mean = rows.row_mean();
        rows.row_iter_mut().for_each(|mut row| row -= &mean);
        let covariance = rows.tr_mul(&rows) / records as f64;
        let SymmetricEigen { eigenvalues, eigenvectors } = SymmetricEigen::new(covariance);
        let mut order: Vec<usize> = (0..width).collect();
        order.sort_by(|a, b| eigenvalues[*b].total_cmp(&eigenvalues[*a]));
        order.truncate(count);
        let largest = eigenvalues[order[0]];
        let usable = order.iter().filter(|i| eigenvalues[**i] > LEAST * largest).count();
        ensure!(usable == count, "the public inputs have {usable} directions: lower --directions");
        let columns = order.iter().map(|i| {
            // A standard deviation is a singular value but for a factor that all have in common.
            let halfway = (eigenvalues[*i] / largest).powf(-0.25);
            let column = eigenvectors.column(*i);
            // Of the two directions along a line, the same one on every machine.
            column * halfway * column[column.iamax()].signum()
        });
        let map = DMatrix::from_columns(&columns.collect::<Vec<_>>());
        let squared_norm = (&rows * &map).norm_squared() / records as f64;
        let map = map * (width as f64 / squared_norm).sqrt();
        // nalgebra keeps columns one after the other.
        Ok(Self {
            mean: tensor(mean.as_slice(), [1, width]),
            map: tensor(map.transpose().as_slice(), [width, count]),
            count,
        })
    }

    /// Coordinates of records, `[records, directions]`.
    fn apply(&self, features: Tensor<2>) -> Tensor<2> {
        (features - self.mean.clone()).matmul(self.map.clone())
    }

    /// Those of the first `records` rows.
    pub(super) fn features(&self, features: &Features, records: usize) -> Features {
        let records: Vec<usize> = (0..records).collect();
        let mut rows = Vec::with_capacity(records.len() * self.count);
        for chunk in records.chunks(CHUNK) {
            let batch = features.batch(chunk, &Device::flex());
            rows.extend(self.apply(batch).into_data().iter::<f32>());
        }
        Features::from_rows(rows, self.count)
    }
}

fn tensor(numbers: &[f64], shape: [usize; 2]) -> Tensor<2> {
    let numbers: Vec<f32> = numbers.iter().map(|x| *x as f32).collect();
    Tensor::from_data(TensorData::new(numbers, shape), &Device::flex())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    const RECORDS: usize = 200;
    const WIDTH: usize = 12;
    const COUNT: usize = 5;

    /// Rows that vary more along some axes than others, and around no zero.
    fn inputs() -> Tensor<2> {
        let device = Device::flex();
        device.seed(5);
        let random = |shape| Tensor::<2>::random(shape, Distribution::Default, &device);
        random([RECORDS, WIDTH]).matmul(random([WIDTH, WIDTH]) - 0.3) + 2.0
    }

    /// What principal components are: uncorrelated coordinates around zero, in order, and halfway to white.
    #[test]
    fn public_inputs_have_mean_zero_and_a_diagonal_covariance() -> Result<()> {
        let inputs = inputs();
        let turned = Directions::of(&inputs, COUNT)?.apply(inputs.clone());
        let mean: Vec<f64> = turned.clone().mean_dim(0).into_data().iter().collect();
        assert!(mean.iter().all(|mean| mean.abs() < 1e-4), "{mean:?}");
        let covariance = turned.clone().transpose().matmul(turned) / RECORDS as f64;
        let covariance: Vec<f64> = covariance.into_data().iter().collect();
        let at = |i: usize, j: usize| covariance[i * COUNT + j];
        for i in 0..COUNT {
            assert!(i == 0 || at(i, i) < at(i - 1, i - 1), "{covariance:?}");
            assert!((0..COUNT).all(|j| j == i || at(i, j).abs() < 1e-4 * at(0, 0)));
        }
        let squared_norm: f64 = (0..COUNT).map(|i| at(i, i)).sum();
        assert!((squared_norm - WIDTH as f64).abs() < 1e-3, "{squared_norm}");
        Ok(())
    }

    #[test]
    fn more_directions_than_inputs_vary_along_are_refused() -> Result<()> {
        let few = inputs().narrow(0, 0, 4);
        // Four points span three directions.
        assert!(Directions::of(&few, 3).is_ok() && Directions::of(&few, 4).is_err());
        assert!(Directions::of(&few, 0).is_err() && Directions::of(&few, WIDTH + 1).is_err());
        Ok(())
    }
}
