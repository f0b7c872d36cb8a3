//! Language models: fine-tuning on the user's texts, and writing.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use burn_dp::privacy::{ClippingNorm, Delta, Epsilon, ExpectedBatchSize};
use clap::{Args, ValueEnum};
use finetune::data::{self, BadRecords, Format, HeldOut};
use finetune::language::{
    Choice, FineTuning, Generation, Privacy, Report, Texts, Trained, fine_tune, generate,
    perplexity,
};
use finetune::models::gpt2::{Gpt2, Tokenizer};
use finetune::run::{DeviceArg, bar};

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// Everything
    Full,
    /// Every bias and shift (DP-BiTFiT)
    Bitfit,
    /// Low-rank adapters
    Lora,
}

#[derive(Args)]
pub struct Language {
    /// A text file with a record on each line, or a table (CSV, TSV, JSON lines) with --text
    #[arg(long)]
    train: PathBuf,
    /// The table's column with the text
    #[arg(long)]
    text: Option<String>,
    /// How the table is written, if its name does not tell
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// What happens to records without a text
    #[arg(long, value_enum, default_value_t = BadRecords::Refuse)]
    bad_records: BadRecords,
    /// One record in so many is held out to test on: which ones, its own content decides
    #[arg(long, default_value_t = 10)]
    held_out_one_in: u64,
    /// A folder with a GPT-2 as Hugging Face saves it
    #[arg(long)]
    model: PathBuf,
    /// Tokens of a record, after which it is cut
    #[arg(long, default_value_t = 64)]
    length: usize,
    /// What is trained
    #[arg(long, value_enum, default_value_t = Method::Lora)]
    method: Method,
    /// Train without clipping and noise: for comparison
    #[arg(long)]
    non_private: bool,
    /// The epsilon that the run may cost
    #[arg(long, default_value_t = 3.0)]
    epsilon: f64,
    /// The delta that goes with it
    #[arg(long, default_value_t = 1e-5)]
    delta: f64,
    /// Logical steps
    #[arg(long, default_value_t = 100)]
    steps: u64,
    /// Expected number of records in a logical batch [default: an eighth of them]
    #[arg(long)]
    batch: Option<f64>,
    /// Records in memory at a time
    #[arg(long, default_value_t = 16)]
    physical: usize,
    /// The L2 norm to which each record's gradient is clipped
    #[arg(long, default_value_t = 1.0)]
    clipping_norm: f64,
    /// Learning rate of AdamW [default: 1e-3, or 5e-3 for biases]
    #[arg(long)]
    lr: Option<f64>,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceArg::Cpu)]
    device: DeviceArg,
    /// Makes the run repeatable. Its noise is then known to whoever knows the seed: not for private data
    #[arg(long)]
    seed: Option<u64>,
    /// Where the model goes, as Hugging Face saves it, with the guarantee in privacy.txt
    #[arg(long, default_value = "out/language")]
    out: PathBuf,
}

impl Language {
    pub fn run(&self) -> Result<()> {
        let rule = HeldOut::one_in(self.held_out_one_in)?;
        let column = self.text.as_deref();
        let texts = data::plain_texts(&self.train, column, self.format, self.bad_records, rule)?;
        let tokenizer = Tokenizer::load(&self.model)?;
        let texts = texts.try_map(|texts| {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            Ok(Texts::new(tokenizer.encode(&texts, self.length)?))
        })?;
        println!("{} records to train on, {} held out", texts.train.len(), texts.test.len());
        let settings = self.settings(texts.train.len())?;
        let model = Gpt2::load(&self.model, &self.device.device().autodiff())?;
        println!(
            "held-out perplexity before: {:.2}",
            perplexity(&model, &texts.test, self.physical)?
        );
        let progress = bar(self.steps, "steps");
        let (model, report) = fine_tune(model, &texts.train, &settings, |_| progress.inc(1))?;
        progress.finish_and_clear();
        println!("{}", report.statement);
        println!(
            "held-out perplexity after: {:.2}",
            perplexity(&model, &texts.test, self.physical)?
        );
        self.save(&model, &report)
    }

    fn settings(&self, records: usize) -> Result<FineTuning> {
        let privacy = Privacy {
            epsilon: Epsilon::new(self.epsilon)?,
            delta: Delta::new(self.delta)?,
            clipping_norm: ClippingNorm::new(self.clipping_norm)?,
        };
        let (trained, rate) = match self.method {
            Method::Full => (Trained::Full, 1e-3),
            Method::Bitfit => (Trained::BitFit, 5e-3),
            Method::Lora => (Trained::Lora { rank: 8, alpha: 16.0 }, 1e-3),
        };
        Ok(FineTuning {
            trained,
            privacy: (!self.non_private).then_some(privacy),
            batch: ExpectedBatchSize::new(self.batch.unwrap_or(records as f64 / 8.0))?,
            steps: self.steps.into(),
            physical: self.physical,
            learning_rate: self.lr.unwrap_or(rate),
            weight_decay: 0.0,
            seed: self.seed,
        })
    }

    fn save(&self, model: &Gpt2, report: &Report) -> Result<()> {
        model.save(&self.model, &self.out)?;
        let file = self.out.join("privacy.txt");
        fs::write(&file, format!("{}\n", report.statement))
            .with_context(|| format!("cannot write {}", file.display()))?;
        println!("in {}", self.out.display());
        Ok(())
    }
}

#[derive(Args)]
pub struct Write {
    /// A folder with a GPT-2 as Hugging Face saves it, such as what `language` leaves
    #[arg(long)]
    model: PathBuf,
    /// The most tokens to write
    #[arg(long, default_value_t = 60)]
    tokens: usize,
    /// Above 0, draws each token by its probability: below 1 likely ones are favored. 0 always takes the most likely
    #[arg(long, default_value_t = 0.8)]
    temperature: f64,
    /// Only so many of the most likely tokens are candidates
    #[arg(long)]
    top_k: Option<usize>,
    /// The same seed writes the same text
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How the text begins
    prompt: String,
}

impl Write {
    pub fn run(&self) -> Result<()> {
        let tokenizer = Tokenizer::load(&self.model)?;
        let model = Gpt2::load(&self.model, &DeviceArg::Cpu.device())?;
        let choice = match self.temperature {
            0.0 => Choice::Greedy,
            temperature => Choice::Random { temperature, top_k: self.top_k, seed: self.seed },
        };
        let settings = Generation { new_tokens: self.tokens, choice, end: tokenizer.end() };
        let ids = generate(&model, &tokenizer.prompt(&self.prompt)?, &settings)?;
        println!("{}{}", self.prompt, tokenizer.decode(&ids)?);
        Ok(())
    }
}
