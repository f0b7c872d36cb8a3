//! Tensor operations: on values of the example, on values of a parameter, and on both together.

use burn::tensor::activation::{log_softmax, quiet_softmax, softmax, softmin};
use burn::tensor::ops::{GridSampleOptions, PadMode};
use burn::tensor::{Bool, IndexingUpdateOp::Add, Int, Tensor, s};

use crate::harness::{Bench, Case, EXAMPLES as N, Outcome, score};

/// The inputs of an operation: `[batch, 4, 5]` of the example and a parameter, `[4, 5]` of a
/// parameter, and `[batch, 4]` numbers in `0..4` of the example. Batch is one here.
type Operation = fn(Tensor<3>, Tensor<2>, Tensor<2, Int>) -> Tensor<1>;

pub const CASES: &[Case] = &[
    ("gather from the example", |b| {
        on(b, |h, _, i| score(h.gather(1, i.unsqueeze_dim::<3>(2).expand([1, 4, 5]))))
    }),
    ("gather from a parameter", |b| on(b, |h, p, i| score(h) + score(p.gather(1, i.transpose())))),
    ("gather with constant indices", |b| {
        on(b, |h, _, i| score(h.gather(2, constant(&i).reshape([1, 4, 1]))))
    }),
    ("select from the example", |b| on(b, |h, _, i| score(h.select(1, i.reshape([4]))))),
    ("select from a parameter", |b| {
        on(b, |h, p, i| score(p.select(0, i.reshape([4])).unsqueeze::<3>() * h))
    }),
    ("select along the last axis", |b| {
        on(b, |h, p, i| {
            let i: Tensor<1, Int> = i.reshape([4]);
            score(h.select(2, i.clone())) + score(p.select(1, i))
        })
    }),
    ("select with constant indices", |b| {
        on(b, |h, p, i| score(h.select(1, constant(&i))) + score(p.select(1, constant(&i))))
    }),
    ("take", |b| on(b, |h, _, i| score(h.take::<2, 4>(1, i)))),
    ("scatter into the example", |b| {
        on(b, |h, p, i| {
            let i = i.unsqueeze_dim::<3>(2).expand([1, 4, 5]);
            score(h.scatter(1, i, p.unsqueeze(), Add))
        })
    }),
    ("scatter into a parameter", |b| {
        on(b, |h, p, i| {
            let i = i.unsqueeze_dim::<3>(2).expand([1, 4, 5]);
            score(p.unsqueeze::<3>().scatter(1, i, h, Add))
        })
    }),
    ("scatter into zeros", |b| {
        on(b, |h, _, i| {
            let i = i.unsqueeze_dim::<3>(2).expand([1, 4, 5]);
            score(h.zeros_like().scatter(1, i, h, Add))
        })
    }),
    ("select_assign into the example", |b| {
        on(b, |h, p, i| score(h.select_assign(1, i.reshape([4]), p.unsqueeze(), Add)))
    }),
    ("select_assign into a parameter", |b| {
        on(b, |h, p, i| score(p.unsqueeze::<3>().select_assign(1, i.reshape([4]), h, Add)))
    }),
    ("gather_nd", |b| {
        on(b, |h, p, i| {
            let i: Tensor<2, Int> = i.reshape([4, 1]);
            let h = h.squeeze_dim::<2>(0);
            let rows: Tensor<2> = h.gather_nd(i.clone());
            let shared: Tensor<2> = p.gather_nd(i);
            score(rows * shared)
        })
    }),
    ("scatter_nd", |b| {
        on(b, |h, p, i| {
            let h = h.squeeze_dim::<2>(0);
            score(p.scatter_nd(i.reshape([4, 1]), h, Add))
        })
    }),
    ("slice", |b| {
        on(b, |h, p, _| score(h.slice(s![.., 1..3, 2..])) + score(p.slice(s![1..2, ..])))
    }),
    ("slice with steps, from the end", |b| {
        on(b, |h, p, _| score(h.slice(s![.., ..;2, -3..])) + score(p.slice(s![..;-1, ..;3])))
    }),
    ("slice_assign into the example", |b| {
        on(b, |h, p, _| score(h.slice_assign(s![.., 1..3, ..], p.slice(s![0..2, ..]).unsqueeze())))
    }),
    ("slice_assign into a parameter", |b| {
        on(b, |h, p, _| {
            let part = h.slice(s![.., 0..2, 1..4]);
            score(p.unsqueeze::<3>().slice_assign(s![.., 2..4, 0..3], part))
        })
    }),
    ("slice_fill", |b| on(b, |h, _, _| score(h.slice_fill(s![.., 1..2, ..], 0.5)))),
    ("cat of example, parameter and constant", |b| {
        on(b, |h, p, _| {
            let ones = Tensor::ones([1, 2, 5], &h.device());
            score(Tensor::cat(vec![h, p.unsqueeze(), ones], 1))
        })
    }),
    ("stack", |b| on(b, |h, p, _| score(Tensor::stack::<4>(vec![h, p.unsqueeze()], 2)))),
    ("chunk and split", |b| {
        on(b, |h, p, _| {
            let chunks = h.chunk(2, 1).into_iter().zip(p.split(2, 0));
            let terms = chunks.map(|(h, p)| score(h * p.unsqueeze()));
            terms.reduce(|a, b| a * 2.0 + b).unwrap()
        })
    }),
    ("repeat", |b| on(b, |h, p, _| score(h.repeat(&[1, 2, 3])) + score(p.repeat_dim(1, 2)))),
    ("expand", |b| {
        on(b, |h, p, _| {
            let row = p.slice(s![0..1, ..]).unsqueeze::<3>().expand([1, 4, 5]);
            score(h.slice(s![.., .., 0..1]).expand([1, 4, 5]) * row)
        })
    }),
    ("flip and roll", |b| on(b, |h, p, _| score(h.flip([1, 2]).roll(&[1], &[2]) * p.unsqueeze()))),
    ("permute, swap, move", |b| {
        on(b, |h, p, _| {
            score(h.clone().permute([2, 0, 1]).matmul(p.unsqueeze()))
                + score(h.movedim(1, 2).swap_dims(0, 1))
        })
    }),
    ("unfold", |b| on(b, |h, _, _| score(h.unfold::<4, _>(2, 3, 1)))),
    ("pad with a constant", |b| {
        on(b, |h, p, _| score(h.pad((1, 2, 0, 1), PadMode::Constant(0.5)) * 2.0) + score(p))
    }),
    ("pad by reflection", |b| on(b, |h, _, _| score(h.pad((1, 2, 1, 0), PadMode::Reflect)))),
    ("pad by the edge", |b| on(b, |h, _, _| score(h.pad((1, 2, 1, 0), PadMode::Edge)))),
    ("triu and tril", |b| on(b, |h, p, _| score(h.triu(0)) + score(p.tril(-1)))),
    ("sum, mean", |b| on(b, |h, p, _| (h.clone().sum() * p.mean()).sin() + h.mean())),
    ("sum and mean over axes", |b| {
        on(b, |h, p, _| {
            score(h.clone().sum_dims(&[1, 2])) + score(h.mean_dim(1)) + score(p.sum_dim(1))
        })
    }),
    ("variance", |b| {
        on(b, |h, p, _| {
            let (variance, mean) = h.var_mean(2);
            score(variance * mean) + score(p.var_bias(0))
        })
    }),
    ("prod", |b| {
        on(b, |h, _, _| score(h.clone().prod_dim(2)) + score(h.slice(s![.., 0, ..]).prod()))
    }),
    ("max and min", |b| {
        on(b, |h, p, _| {
            score(h.clone().max()) + score(h.clone().min_dim(1)) + score(h.max_dim(2)) + p.min()
        })
    }),
    ("max_dim_with_indices", |b| {
        on(b, |h, p, _| {
            let (values, indices) = h.max_dim_with_indices(2);
            score(values) + score(p.unsqueeze::<3>().gather(2, indices))
        })
    }),
    ("argmax", |b| on(b, |h, p, _| score(p.unsqueeze::<3>().gather(2, h.argmax(2))))),
    ("max_abs", |b| on(b, |h, _, _| score(h.clone().max_abs()) + score(h.max_abs_dim(1)))),
    ("cumsum", |b| on(b, |h, p, _| score(h.cumsum(1)) + score(p.cumsum(1)))),
    ("cumprod", |b| on(b, |h, _, _| score((h + 2.0).cumprod(2)))),
    ("cummax and cummin", |b| on(b, |h, _, _| score(h.clone().cummax(2)) + score(h.cummin(1)))),
    ("sort", |b| on(b, |h, p, _| score(h.sort(2) * p.sort_descending(0).unsqueeze()))),
    ("sort_with_indices", |b| {
        on(b, |h, p, _| {
            let (values, indices) = h.sort_with_indices(1);
            score(values * p.unsqueeze::<3>().gather(1, indices))
        })
    }),
    ("argsort", |b| on(b, |h, p, _| score(p.unsqueeze::<3>().gather(2, h.argsort(2))))),
    ("topk", |b| on(b, |h, p, _| score(h.topk(2, 2)) + score(p.topk(2, 1)))),
    ("topk_with_indices", |b| {
        on(b, |h, p, _| {
            let (values, indices) = h.topk_with_indices(3, 2);
            score(values * p.unsqueeze::<3>().gather(2, indices))
        })
    }),
    ("mask_where between example and parameter", |b| {
        on(b, |h, p, i| {
            let mask = mask(i);
            score(h.clone().mask_where(mask.clone(), p.clone().unsqueeze()))
                + score(p.unsqueeze::<3>().mask_where(mask, h))
        })
    }),
    ("mask_fill", |b| {
        on(b, |h, p, i| {
            score(h.mask_fill(mask(i.clone()), 0.3))
                + score(p.unsqueeze::<3>().mask_fill(mask(i), -0.2))
        })
    }),
    ("any and all", |b| {
        on(b, |h, p, i| {
            let mask = mask(i);
            let any = mask.clone().any_dim(1).float();
            let all = mask.clone().all_dim(2).float() + mask.any().float().unsqueeze();
            score(h * any) + score(p.unsqueeze::<3>() * all)
        })
    }),
    ("comparisons", |b| {
        on(b, |h, p, _| {
            let p = p.unsqueeze::<3>();
            let above = h.clone().greater(p.clone()).bool_or(h.clone().lower_equal_scalar(-0.1));
            let same = h.clone().equal(h.clone()).bool_and(above).bool_xor(h.clone().is_nan());
            score(h * same.float() * p)
        })
    }),
    ("int arithmetic", |b| {
        on(b, |h, p, i| {
            let j = (i.clone() * 3 + 1).remainder_scalar(4) - i.clone().div_scalar(2);
            let weight = (j.bitwise_and_scalar(3) + i.sign()).float().unsqueeze_dim::<3>(2);
            score(h * weight * p.unsqueeze())
        })
    }),
    ("max_pair, min_pair, clamp", |b| {
        on(b, |h, p, _| {
            let p = p.unsqueeze::<3>();
            score(h.clone().max_pair(p.clone()) * h.clone().min_pair(p)) + score(h.clamp(-0.1, 0.2))
        })
    }),
    ("powers", |b| {
        on(b, |h, p, _| {
            let base = h.clone().abs() + 0.5;
            score(base.clone().powf(p.unsqueeze()))
                + score(base.powf_scalar(1.5))
                + score(h.powi_scalar(3))
        })
    }),
    ("exponentials and logarithms", |b| {
        on(b, |h, p, _| {
            let positive = h.clone().abs() + 0.5;
            score(h.clone().exp() * positive.clone().log() * p.unsqueeze())
                + score(positive.clone().log1p() * positive.sqrt() * h.erf())
        })
    }),
    ("trigonometry", |b| {
        on(b, |h, p, _| {
            let p = p.unsqueeze::<3>();
            score(h.clone().sin() * h.clone().cos() * (h.clone() * 0.3).tan() * p.clone())
                + score(h.clone().tanh() * h.clone().sinh() * h.clone().cosh())
                + score(h.clone().atan() + (h.clone() * 0.3).asin() + (h.clone() * 0.3).acos())
                + score(h.clone().atan2(p + 3.0) + h.clone().asinh() + (h * 0.3).atanh())
        })
    }),
    ("division and remainder", |b| {
        on(b, |h, p, _| {
            let p = p.unsqueeze::<3>() + 2.0;
            score(h.clone() / p.clone() + h.clone().recip() * 0.01)
                + score(h.clone().remainder_scalar(0.7))
                + score(h.remainder(p))
        })
    }),
    ("rounding", |b| {
        on(b, |h, p, _| {
            let h4 = h.clone() * 4.0;
            score(h4.clone().floor() * h4.clone().ceil() * h4.clone().round() * p.unsqueeze())
                + score(h4.trunc() * h.sign())
        })
    }),
    ("softmax along every axis", |b| {
        on(b, |h, p, _| {
            score(softmax(h.clone(), 1) * p.clone().unsqueeze() * 3.0)
                + score(log_softmax(h.clone(), 2))
                + score(softmin(h.clone(), 1))
                + score(quiet_softmax(h, 2))
                + score(softmax(p, 0))
        })
    }),
    ("matmul of two values of the example", |b| {
        on(b, |h, p, _| score(h.clone().matmul(h.transpose())) + score(p))
    }),
    ("cross", |b| {
        on(b, |h, p, _| {
            let p = p.slice(s![.., 0..3]).unsqueeze::<3>();
            score(h.slice(s![.., .., 0..3]).cross(p, 2))
        })
    }),
    ("outer product by broadcasting", |b| {
        on(b, |h, p, _| score(h.unsqueeze_dim::<4>(3) * p.unsqueeze_dims::<4>(&[0, 2])))
    }),
    ("grid_sample_2d", |b| {
        on(b, |h, p, _| {
            let image = h.unsqueeze_dim::<4>(1);
            let grid = p.slice(s![.., 0..4]).reshape([1, 2, 4, 2]).tanh();
            score(image.grid_sample_2d(grid, GridSampleOptions::default()))
        })
    }),
    ("casts", |b| {
        on(b, |h, p, _| {
            let whole = (h.clone() * 4.0).int().float();
            score(h * whole * p.unsqueeze())
        })
    }),
    ("constants made in the loss", |b| {
        on(b, |h, p, _| {
            let device = h.device();
            let line = Tensor::<1, Int>::arange(0..5, &device).float().unsqueeze::<3>();
            let given =
                Tensor::<1>::from_floats([0.1, 0.2, 0.3, 0.4, 0.5], &device).unsqueeze::<3>();
            score(h * line * given * p.unsqueeze() + Tensor::full([1, 4, 5], 0.5, &device))
        })
    }),
];

fn on(b: &Bench, operation: Operation) -> Outcome {
    let model = (b.parameter([3, 5]), b.parameter([4, 5]));
    let batch = (b.floats([N, 4, 3]), b.ints([N, 4], 4));
    b.run(model, batch, move |(w, p), (x, i)| operation(x.matmul(w.val().unsqueeze()), p.val(), i))
}

fn constant(like: &Tensor<2, Int>) -> Tensor<1, Int> {
    Tensor::from_data([3, 0, 0, 2], &like.device())
}

fn mask(i: Tensor<2, Int>) -> Tensor<3, Bool> {
    i.greater_scalar(1).unsqueeze_dim::<3>(2).expand([1, 4, 5])
}
