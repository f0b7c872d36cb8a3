//! Matrix products: most of the work of most models.

use burn_backend::{Backend, Shape};
use burn_ir::MatmulOpIr;

use crate::error::Result;
use crate::per_example::replay::{Applied, Replay};
use crate::per_example::value::Value;

pub(super) fn float<B: Backend>(o: &MatmulOpIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    let weight = o.rhs.shape.as_slice();
    let matrix = weight.len() >= 2 && weight[..weight.len() - 2].iter().all(|n| *n == 1);
    if matrix && r.is_batched(&o.lhs) && !r.is_batched(&o.rhs) {
        return rows_times_matrix(o, r);
    }
    let (a, b) = (r.float(&o.lhs)?, r.float(&o.rhs)?);
    r.put(&o.out, Value::Float(B::float_matmul(a, b)))
}

/// `[batch, ..., t, d] x [d, p]` as one product of all rows, instead of one product per example.
fn rows_times_matrix<B: Backend>(o: &MatmulOpIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    let out = r.shape(&o.out);
    let weight = o.rhs.shape.as_slice();
    let (d, p) = (weight[weight.len() - 2], weight[weight.len() - 1]);
    let rows = out.num_elements().checked_div(p).unwrap_or(0);
    let a = r.arg(&o.lhs)?.reshape(Shape::from(vec![rows, d])).float()?;
    let b = r.raw(&o.rhs)?.reshape(Shape::from(vec![d, p])).float()?;
    r.put(&o.out, Value::Float(B::float_matmul(a, b)).reshape(out))
}
