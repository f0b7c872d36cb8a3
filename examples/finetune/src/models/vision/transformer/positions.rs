//! What attention knows of where two patches are to each other (BEiT; Swin, arXiv 2103.14030).

use burn::module::Param;
use burn::prelude::*;

/// A number for each distance between patches and each head, which is added to the scores of attention.
#[derive(Module, Debug)]
pub(super) struct RelativePositions {
    /// `[distances, heads]`. Files call it a bias. It is not one that bias-only fine-tuning would train: those
    /// are what a layer adds to its outputs.
    pub(super) table: Param<Tensor<2>>,
    /// Rows and columns of patches.
    pub(super) grid: [usize; 2],
}

impl RelativePositions {
    /// What is added to the scores, `[1, heads, tokens, tokens]`.
    pub(super) fn forward(&self) -> Tensor<4> {
        let table = self.table.val();
        let [_, heads] = table.dims();
        let tokens = 1 + self.grid.iter().product::<usize>();
        let index = TensorData::new(index(self.grid), [tokens * tokens]);
        let index = Tensor::<1, Int>::from_data(index, &table.device());
        table.select(0, index).reshape([tokens, tokens, heads]).permute([2, 0, 1]).unsqueeze()
    }
}

/// Distances that a grid of patches has, and three for pairs with the class token.
pub(super) fn distances([rows, columns]: [usize; 2]) -> usize {
    (2 * rows - 1) * (2 * columns - 1) + 3
}

/// The row of the table for each pair of tokens: the class token first, then patches by rows.
fn index([rows, columns]: [usize; 2]) -> Vec<i32> {
    let special = (distances([rows, columns]) - 3) as i32;
    let (to_patch, to_class, class_to_class) = (special, special + 1, special + 2);
    let places: Vec<(usize, usize)> =
        (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))).collect();
    let mut index = vec![class_to_class];
    index.extend(places.iter().map(|_| to_patch));
    for (row, column) in &places {
        index.push(to_class);
        index.extend(places.iter().map(|(other_row, other_column)| {
            let down = row + rows - 1 - other_row;
            let right = column + columns - 1 - other_column;
            (down * (2 * columns - 1) + right) as i32
        }));
    }
    index
}
