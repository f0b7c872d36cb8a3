//! What the program can be asked to do.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args as ClapArgs, Subcommand};
use finetune::data;
use finetune::run::task::{AnyTask, ImageArgs, ImageSet, OwnImages, OwnTexts, TextArgs, TextSet};
use finetune::run::{Args, predict};

use crate::language::{Language, Write};

#[derive(Subcommand)]
pub enum Command {
    /// Your own texts, or pairs of texts, or columns of numbers: a CSV, TSV or JSON-lines file
    Text(Box<Own<OwnTexts, TextArgs>>),
    /// Your own images: a folder with a folder for each class, or a table of paths
    Images(Box<Own<OwnImages, ImageArgs>>),
    /// Sentences of film reviews, positive or negative (examples/data.sh downloads them)
    RottenTomatoes(Box<Known<TextArgs>>),
    /// SST-2: put GLUE's files into the data folder
    Sst2(Box<Known<TextArgs>>),
    /// MNLI: put GLUE's files into the data folder
    Mnli(Box<MnliFlags>),
    /// QQP: put GLUE's files into the data folder
    Qqp(Box<Known<TextArgs>>),
    /// QNLI: put GLUE's files into the data folder
    Qnli(Box<Known<TextArgs>>),
    /// CIFAR-10 (examples/data.sh downloads it)
    Cifar10(Box<Known<ImageArgs>>),
    /// CIFAR-100: put the official binary files into the data folder
    Cifar100(Box<Known<ImageArgs>>),
    /// CelebA's 40 attributes: put the official files into the data folder
    Celeba(Box<Known<ImageArgs>>),
    /// Classifies with what was fine-tuned
    Predict(Predict),
    /// A language model (GPT-2) on your own texts
    Language(Box<Language>),
    /// Lets a language model write
    Write(Write),
}

/// A known data set, and the flags of its kind.
#[derive(ClapArgs)]
pub struct Known<A: ClapArgs> {
    #[command(flatten)]
    kind: A,
    #[command(flatten)]
    run: Args,
}

/// The user's own data.
#[derive(ClapArgs)]
pub struct Own<D: ClapArgs, A: ClapArgs> {
    #[command(flatten)]
    own: D,
    #[command(flatten)]
    kind: A,
    #[command(flatten)]
    run: Args,
}

#[derive(ClapArgs)]
pub struct MnliFlags {
    /// Test on sentences from other sources than those of the training set
    #[arg(long)]
    mismatched: bool,
    #[command(flatten)]
    known: Known<TextArgs>,
}

#[derive(ClapArgs)]
pub struct Predict {
    /// The output folder of a finished run
    #[arg(long)]
    run: PathBuf,
    /// Classify the first so many held-out records as well
    #[arg(long, default_value_t = 0)]
    test: usize,
    /// Texts, or PNG or JPEG files
    inputs: Vec<String>,
}

impl Command {
    pub fn run(self) -> Result<()> {
        match self {
            Self::Text(flags) => text(TextSet::Own(Box::new(flags.own)), flags.kind, &flags.run),
            Self::Images(flags) => {
                image(ImageSet::Own(Box::new(flags.own)), flags.kind, &flags.run)
            }
            Self::RottenTomatoes(flags) => text(TextSet::RottenTomatoes, flags.kind, &flags.run),
            Self::Sst2(flags) => text(TextSet::Sst2, flags.kind, &flags.run),
            Self::Mnli(flags) => {
                let MnliFlags { mismatched, known } = *flags;
                text(TextSet::Mnli { mismatched }, known.kind, &known.run)
            }
            Self::Qqp(flags) => text(TextSet::Qqp, flags.kind, &flags.run),
            Self::Qnli(flags) => text(TextSet::Qnli, flags.kind, &flags.run),
            Self::Cifar10(flags) => image(ImageSet::Cifar10, flags.kind, &flags.run),
            Self::Cifar100(flags) => image(ImageSet::Cifar100, flags.kind, &flags.run),
            Self::Celeba(flags) => image(ImageSet::Celeba, flags.kind, &flags.run),
            Self::Language(flags) => flags.run(),
            Self::Write(flags) => flags.run(),
            Self::Predict(flags) => {
                let lines = predict(&flags.run, &data::folder()?, &flags.inputs, flags.test)?;
                lines.iter().for_each(|line| println!("{line}"));
                Ok(())
            }
        }
    }
}

fn text(set: TextSet, args: TextArgs, run: &Args) -> Result<()> {
    fine_tune(&AnyTask::Texts { set, args }, run)
}

fn image(set: ImageSet, args: ImageArgs, run: &Args) -> Result<()> {
    fine_tune(&AnyTask::Images { set, args }, run)
}

fn fine_tune(task: &AnyTask, run: &Args) -> Result<()> {
    task.fine_tune(run, &data::folder()?).map(drop)
}
