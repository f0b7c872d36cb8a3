// What blocks of the guide share: a small network, and handwritten digits of 8 x 8 pixels.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig, loss::CrossEntropyLossConfig};
use burn::tensor::{Device, Int, Tensor, TensorData, activation::relu};

/// Pixels `[batch, 64]` and labels `[batch]`.
type Images = (Tensor<2>, Tensor<1, Int>);

#[derive(Module, Debug)]
struct Classifier {
    hidden: Linear,
    out: Linear,
}

impl Classifier {
    fn new(device: &Device) -> Self {
        let [hidden, out] = [(64, 32), (32, 10)].map(|(i, o)| LinearConfig::new(i, o).init(device));
        Self { hidden, out }
    }

    fn logits(&self, pixels: Tensor<2>) -> Tensor<2> {
        self.out.forward(relu(self.hidden.forward(pixels)))
    }

    /// The mean over a batch.
    fn loss(&self, (pixels, labels): Images) -> Tensor<1> {
        let logits = self.logits(pixels);
        CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, labels)
    }
}

/// Each with its label.
#[derive(Clone)]
struct Digits(Vec<([f32; 64], i32)>);

impl Digits {
    /// The digits of the quickstart, scaled to -1..1: 1,437 to train with and 360 held out.
    fn train_and_held_out() -> (Self, Self) {
        let (mut train, mut held_out) = (Vec::new(), Vec::new());
        let file = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/digits.csv"));
        for (index, line) in file.lines().enumerate() {
            let numbers: Vec<f32> =
                line.split(',').filter_map(|number| number.parse().ok()).collect();
            let pixels = std::array::from_fn(|pixel| numbers[pixel] / 8.0 - 1.0);
            let digit = (pixels, numbers[64] as i32);
            if index % 5 == 0 { held_out.push(digit) } else { train.push(digit) }
        }
        (Self(train), Self(held_out))
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    /// The digits with these numbers, as a batch.
    fn batch(&self, records: &[usize], device: &Device) -> Images {
        let pixels: Vec<f32> = records.iter().flat_map(|&record| self.0[record].0).collect();
        let labels: Vec<i32> = records.iter().map(|&record| self.0[record].1).collect();
        let pixels = TensorData::new(pixels, [records.len(), 64]);
        (Tensor::from_data(pixels, device), Tensor::from_data(labels.as_slice(), device))
    }
}
