//! Executes a trace's operations, one after another, for all examples at once.

use std::collections::HashSet;

use burn_backend::{Backend, Slice};
use burn_ir::{OperationIr, TensorId};

use super::replay::{Applied, Replay};
use super::rules;
use super::value::Value;
use crate::error::{Error, Result, TraceError};

/// Executes one operation. `dying` are the values that nothing after it reads.
pub(crate) fn execute<'g, B: Backend>(
    op: &OperationIr,
    dying: &'g [TensorId],
    replay: &mut Replay<'g, B>,
) -> Result<()> {
    replay.begin(op, dying);
    replay.check_indices(op)?;
    if rules::apply(op, replay)? == Applied::EachByItself {
        one_by_one(op, replay)?;
    }
    replay.end();
    Ok(())
}

/// Executes the unbatched operation for one example after another and stacks the results. This is
/// correct for every operation.
fn one_by_one<B: Backend>(op: &OperationIr, replay: &mut Replay<'_, B>) -> Result<()> {
    let missing = |id: TensorId| Error::Trace(TraceError::Broken { tensor: id.value() });
    let none = HashSet::new();
    let mut inputs = Vec::new();
    for input in op.inputs() {
        let value = replay.get(input.id).ok_or_else(|| missing(input.id))?;
        inputs.push((input, value, replay.is_batched(input)));
    }
    let mut stacked: Vec<Vec<Value<B>>> = op.outputs().map(|_| Vec::new()).collect();
    for example in 0..replay.batch() {
        let mut one = replay.of_one_example(&none);
        for (input, value, batched) in &inputs {
            let value = if *batched {
                example_of(value.clone(), example).reshape(input.shape.clone())
            } else {
                value.clone()
            };
            one.insert(input.id, value);
        }
        execute(op, &[], &mut one).map_err(|error| error.of_example(example))?;
        for (rows, out) in stacked.iter_mut().zip(op.outputs()) {
            let value = one.remove(out.id).ok_or_else(|| missing(out.id))?;
            rows.push(value.reshape(replay.lead_with(1, out)));
        }
        let (_, checks) = one.into_parts();
        replay.checks_mut().absorb(checks, example);
    }
    for (rows, out) in stacked.into_iter().zip(op.outputs()) {
        replay.insert(out.id, Value::cat(rows, 0)?);
    }
    Ok(())
}

/// Row `example` of a batched value. Its leading axis stays, with size one.
fn example_of<B: Backend>(value: Value<B>, example: usize) -> Value<B> {
    let dims = value.shape().num_dims();
    let mut ranges = vec![Slice::full(); dims];
    ranges[0] = Slice::from(example..example + 1);
    value.slice(&ranges)
}
