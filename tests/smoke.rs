use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::Distribution;
use burn_dp::per_example::{Engine, Traced, verify};

#[derive(Module, Debug)]
struct Cnn {
    conv: Conv2d,
    out: Linear,
}

#[test]
fn cnn() {
    let device = Device::default().autodiff();
    let model = Cnn {
        conv: Conv2dConfig::new([2, 4], [3, 3]).init(&device),
        out: LinearConfig::new(4 * 16, 5).init(&device),
    };
    let x = Tensor::<4>::random([7, 2, 6, 6], Distribution::Default, &device);
    let y = Tensor::<1, Int>::from_data([0, 1, 2, 3, 4, 0, 1], &device);
    let loss = |m: &Cnn, (x, y): (Tensor<4>, Tensor<1, Int>)| {
        let h = burn::tensor::activation::relu(m.conv.forward(x)).flatten(1, 3);
        CrossEntropyLossConfig::new().init(&y.device()).forward(m.out.forward(h), y)
    };
    println!("{}", Traced::new(loss).explain(&model, &(x.clone(), y.clone())).unwrap());
    println!("{:?}", verify(&model, (x, y), loss, 1e-4).unwrap());
}
