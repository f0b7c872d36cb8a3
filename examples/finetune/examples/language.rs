//! Held-out perplexity of the tests' small GPT-2 before and after fine-tuning, with and without privacy:
//! `cargo run --release -p finetune --example language`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use burn::tensor::Device;
use burn_dp::privacy::{ClippingNorm, Delta, Epsilon, ExpectedBatchSize};
use finetune::language::{FineTuning, Privacy, Texts, Trained, fine_tune, perplexity};
use finetune::models::gpt2::{Gpt2, Tokenizer};
use finetune::run::bar;

const SEEDS: [u64; 3] = [1, 2, 3];

fn main() -> Result<()> {
    let tokenizer = Tokenizer::load(&folder())?;
    let read = |file: &str| -> Result<Texts> {
        let text = fs::read_to_string(folder().join(file))?;
        Ok(Texts::new(tokenizer.encode(&text.lines().collect::<Vec<_>>(), 64)?))
    };
    let (train, held_out) = (read("train.txt")?, read("held_out.txt")?);
    let model = Gpt2::load(&folder(), &Device::default().autodiff())?;
    let before = perplexity(&model, &held_out, 32)?;
    println!("{} texts to train on, {} held out", train.len(), held_out.len());
    println!("before: {before:.2}; after, for seeds {SEEDS:?}:");
    let lora = Trained::Lora { rank: 8, alpha: 16.0 };
    for (name, trained) in [("full", Trained::Full), ("bitfit", Trained::BitFit), ("lora", lora)] {
        for epsilon in [Some(3.0), Some(8.0), None] {
            let settings = settings(trained, epsilon)?;
            let mut found = Vec::new();
            for seed in SEEDS {
                let settings = FineTuning { seed: Some(seed), ..settings.clone() };
                let bar = bar(settings.steps.value(), "steps");
                let (tuned, _) = fine_tune(model.clone(), &train, &settings, |_| bar.inc(1))?;
                bar.finish_and_clear();
                found.push(format!("{:.2}", perplexity(&tuned, &held_out, 32)?));
            }
            let guarantee =
                epsilon.map_or("without privacy".to_owned(), |e| format!("epsilon {e}"));
            println!("{name}, {guarantee}: {}", found.join(", "));
        }
    }
    Ok(())
}

fn settings(trained: Trained, epsilon: Option<f64>) -> Result<FineTuning> {
    let privacy = epsilon.map(|epsilon| -> Result<Privacy> {
        let clipping_norm = ClippingNorm::new(1.0)?;
        Ok(Privacy { epsilon: Epsilon::new(epsilon)?, delta: Delta::new(1e-5)?, clipping_norm })
    });
    Ok(FineTuning {
        trained,
        privacy: privacy.transpose()?,
        batch: ExpectedBatchSize::new(256.0)?,
        steps: 40.into(),
        physical: 64,
        // The fewer numbers are trained, the larger the steps that they bear.
        learning_rate: match trained {
            Trained::Full => 2e-3,
            Trained::BitFit => 2e-2,
            Trained::Lora { .. } => 8e-3,
        },
        weight_decay: 0.01,
        seed: None,
    })
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/gpt2_tiny_guide")
}
