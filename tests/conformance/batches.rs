//! Batches of every form.

use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Bool, Int, Tensor};

use crate::harness::{Bench, Case, EXAMPLES as N, score};

#[derive(Clone, Debug)]
struct Record {
    values: Tensor<2>,
    kind: Tensor<1, Int>,
    known: Tensor<1, Bool>,
}
burn_dp::impl_batch!(Record { values, kind, known });

#[derive(Clone, Debug)]
struct Pair<A, B> {
    first: A,
    second: B,
}
burn_dp::impl_batch!(Pair<A, B> { first, second });

pub const CASES: &[Case] = &[
    ("A tensor", |b| b.run(linear(b), b.floats([N, 3]), |m, x| score(m.forward(x)))),
    ("A tensor of one number an example", |b| {
        b.run(linear(b), b.floats([N]), |m, x| {
            score(m.forward(x.unsqueeze_dim::<2>(1).expand([1, 3])))
        })
    }),
    ("Tuples in a tuple", |b| {
        let batch = ((b.floats([N, 3]), b.ints([N], 3)), (b.others([N, 2]),));
        b.run(linear(b), batch, |m, ((x, i), (y,))| {
            score((m.forward(x) - y) * i.float().unsqueeze_dim::<2>(1))
        })
    }),
    ("A tuple of five", |b| {
        let batch =
            (b.floats([N, 3]), b.others([N, 3]), b.ints([N], 3), b.padding(3), b.floats([N, 2]));
        b.run(linear(b), batch, |m, (x, y, i, mask, z)| {
            let x = x.mask_where(mask, y) * i.float().unsqueeze_dim::<2>(1);
            score(m.forward(x) + z)
        })
    }),
    ("A struct", |b| {
        let known = b.padding(2).slice_dim(1, 1..2).squeeze_dim::<1>(1);
        let batch = Record { values: b.floats([N, 3]), kind: b.ints([N], 3), known };
        b.run(linear(b), batch, |m, r| {
            let scale = r.kind.float().mask_fill(r.known, 0.5).unsqueeze_dim::<2>(1);
            score(m.forward(r.values) * scale)
        })
    }),
    ("A generic struct", |b| {
        let batch = Pair { first: b.floats([N, 3]), second: (b.ints([N], 2), b.others([N, 2])) };
        b.run(linear(b), batch, |m, Pair { first, second: (i, y) }| {
            score((m.forward(first) - y) * i.float().unsqueeze_dim::<2>(1))
        })
    }),
    ("An Option that is there", |b| {
        b.run(linear(b), (b.floats([N, 3]), Some(b.others([N, 2]))), optional)
    }),
    ("An Option that is not", |b| b.run(linear(b), (b.floats([N, 3]), None), optional)),
    ("A Vec", |b| {
        let batch = vec![b.floats([N, 3]), b.others([N, 3])];
        b.run(linear(b), batch, |m, parts| {
            parts.into_iter().map(|x| score(m.forward(x))).reduce(|a, b| a * 2.0 + b).unwrap()
        })
    }),
    ("On the plain device", |b| {
        let x = b.floats([N, 3]).without_autodiff();
        b.run(linear(b), x, |m, x| score(m.forward(x)))
    }),
];

fn linear(b: &Bench) -> Linear {
    LinearConfig::new(3, 2).init(&b.device)
}

fn optional(m: &Linear, (x, y): (Tensor<2>, Option<Tensor<2>>)) -> Tensor<1> {
    let prediction = m.forward(x);
    score(match y {
        Some(y) => prediction - y,
        None => prediction,
    })
}
