//! Factors whose rows are rows of the identity: the tokens of an embedding. Their type holds every
//! offset ([`indices`](crate::per_example::indices)).

use burn_backend::tensor::{FloatTensor, IndexingUpdateOp, IntTensor};
use burn_backend::{Backend, DType, Shape, Slice, TensorMetadata};

use crate::per_example::indices::offsets;

pub(super) fn equal_indices<B: Backend>(a: &IntTensor<B>, b: &IntTensor<B>) -> FloatTensor<B> {
    let (batch, t, s) = (a.shape()[0], a.shape()[1], b.shape()[1]);
    let full = Shape::from(vec![batch, 1, t, s]);
    let a = B::int_reshape(a.clone(), Shape::from(vec![batch, 1, t, 1]));
    let b = B::int_reshape(b.clone(), Shape::from(vec![batch, 1, 1, s]));
    let settings = burn_backend::get_device_settings::<B>(&a.device());
    let (a, b) = (B::int_expand(a, full.clone()), B::int_expand(b, full));
    let equal = B::int_equal(a, b, settings.bool_dtype);
    B::bool_into_float(equal, DType::F32.into())
}

/// The inner products of dense rows `[b, 1, t, v]` with identity rows `[b, s]`: entries
/// `[b, 1, t, s]`.
pub(super) fn columns_at<B: Backend>(x: &FloatTensor<B>, indices: &IntTensor<B>) -> FloatTensor<B> {
    let (batch, t, s) = (x.shape()[0], x.shape()[2], indices.shape()[1]);
    let indices = B::int_reshape(indices.clone(), Shape::from(vec![batch, 1, 1, s]));
    let indices = B::int_expand(indices, Shape::from(vec![batch, 1, t, s]));
    B::float_gather(3, x.clone(), indices)
}

/// Adds rows `[b, 1, t, w]` at `indices` `[b, t]` of a matrix `[1, classes, w]`. Without a matrix
/// it starts from zeros.
pub(super) fn scatter_rows<B: Backend>(
    indices: IntTensor<B>,
    rows: FloatTensor<B>,
    classes: usize,
    onto: Option<FloatTensor<B>>,
) -> FloatTensor<B> {
    let shape = rows.shape();
    let (count, width) = (shape[0] * shape[2], shape[3]);
    let matrix = Shape::from(vec![classes, width]);
    let onto = match onto {
        Some(onto) => B::float_reshape(onto, matrix),
        None => B::float_zeros(matrix, &rows.device(), DType::F32.into()),
    };
    let indices = B::int_reshape(indices, Shape::from(vec![count]));
    let rows = B::float_reshape(rows, Shape::from(vec![count, width]));
    let sum = B::float_select_assign(onto, 0, indices, rows, IndexingUpdateOp::Add);
    B::float_reshape(sum, Shape::from(vec![1, classes, width]))
}

/// As [`scatter_rows`], into one matrix per example: `[b, 1, classes, w]`.
pub(super) fn scatter_rows_each<B: Backend>(
    indices: IntTensor<B>,
    rows: FloatTensor<B>,
    classes: usize,
) -> FloatTensor<B> {
    let shape = rows.shape();
    let (batch, width) = (shape[0], shape[3]);
    let Some(offsets) = offsets::<B>(batch, classes, indices.dtype(), &rows.device()) else {
        // If the type cannot number all rows, take one example after another.
        let each = (0..batch).map(|example| {
            let one = Slice::from(example..example + 1);
            let indices = B::int_slice(indices.clone(), &[one, Slice::full()]);
            let rows =
                B::float_slice(rows.clone(), &[one, Slice::full(), Slice::full(), Slice::full()]);
            let sum = scatter_rows::<B>(indices, rows, classes, None);
            B::float_reshape(sum, Shape::from(vec![1, 1, classes, width]))
        });
        return B::float_cat(each.collect(), 0);
    };
    let offsets = B::int_reshape(offsets, Shape::from(vec![batch, 1]));
    let indices = B::int_add(indices, offsets);
    let sum = scatter_rows::<B>(indices, rows, batch * classes, None);
    B::float_reshape(sum, Shape::from(vec![batch, 1, classes, width]))
}
