//! A real table of numbers (`tests/data/own_breast_cancer.md`), read as texts.

use anyhow::{Context, Result};
use finetune::data::{
    HeldOut, LabelFrom, Labels, ReadOptions, Table, TextColumns, TextFrom, TextRecords,
};

use crate::common::fixture;

const RECORDS: usize = 569;

fn read() -> Result<(Table, TextRecords)> {
    let table = Table::read(&fixture("own_breast_cancer.csv"), None)?;
    let numbers = table.columns().iter().filter(|column| *column != "diagnosis").cloned().collect();
    let columns = TextColumns {
        text: TextFrom::Joined(numbers),
        label: LabelFrom::Column("diagnosis".into()),
        user: None,
    };
    let records = TextRecords::train(&table, &columns, &ReadOptions::default())?;
    Ok((table, records))
}

#[test]
fn numbers_become_texts() -> Result<()> {
    let (table, records) = read()?;
    assert_eq!((table.columns().len(), records.len()), (31, RECORDS));
    assert!(records.texts[0].0.starts_with("mean radius is 17.99, mean texture is 10.38, "));
    assert!(records.texts[0].0.ends_with(", worst fractal dimension is 0.1189"));
    assert_eq!(records.classes, ["benign", "malignant"]);
    // As scikit-learn's description says.
    assert_eq!(records.labels.counts(2), [357, 212]);
    Ok(())
}

/// The smallest and largest value of each column, by scikit-learn's description of the data (1.9.1), to its digits.
#[rustfmt::skip]
const PUBLISHED: [(f64, f64); 30] = [
    (6.981, 28.11), (9.71, 39.28), (43.79, 188.5), (143.5, 2501.0), (0.053, 0.163),
    (0.019, 0.345), (0.0, 0.427), (0.0, 0.201), (0.106, 0.304), (0.05, 0.097),
    (0.112, 2.873), (0.36, 4.885), (0.757, 21.98), (6.802, 542.2), (0.002, 0.031),
    (0.002, 0.135), (0.0, 0.396), (0.0, 0.053), (0.008, 0.079), (0.001, 0.03),
    (7.93, 36.04), (12.02, 49.54), (50.41, 251.2), (185.2, 4254.0), (0.071, 0.223),
    (0.027, 1.058), (0.0, 1.252), (0.0, 0.291), (0.156, 0.664), (0.055, 0.208),
];

#[test]
fn the_texts_hold_all_numbers() -> Result<()> {
    let (_, records) = read()?;
    let mut ranges = [(f64::INFINITY, f64::NEG_INFINITY); 30];
    for (text, _) in &records.texts {
        let parts: Vec<&str> = text.split(", ").collect();
        assert_eq!(parts.len(), 30);
        for (part, range) in parts.iter().zip(&mut ranges) {
            let (_, number) = part.rsplit_once(" is ").context("no number")?;
            let number: f64 = number.parse()?;
            *range = (range.0.min(number), range.1.max(number));
        }
    }
    for (found, published) in ranges.iter().zip(PUBLISHED) {
        let near = |a: f64, b: f64| (a - b).abs() <= 0.000_5 + 1e-9;
        assert!(
            near(found.0, published.0) && near(found.1, published.1),
            "{found:?}, {published:?}"
        );
    }
    Ok(())
}

/// The same law in Python: `int.from_bytes(sha256(len(text).to_bytes(8, 'little') + text).digest()[:8]) % 10 == 0`.
#[test]
fn the_split_is_the_documented_one() -> Result<()> {
    let (_, records) = read()?;
    let texts = records.texts.clone();
    let split = records.split(HeldOut::default(), &fixture("own_breast_cancer.csv"))?;
    assert_eq!((split.train.len(), split.test.len()), (RECORDS - 56, 56));
    assert_eq!(split.test.labels.counts(2), [30, 26]);
    for (text, record) in split.test.texts.iter().zip([11, 15, 22, 32, 33, 34, 66, 76]) {
        assert_eq!(*text, texts[record]);
    }
    assert!(matches!(split.train.labels, Labels::Classes(_)));
    Ok(())
}

#[test]
fn missing_numbers_are_unknown() -> Result<()> {
    let rows: String = (0..12).map(|i| format!("{i},,{}\n", i % 2)).collect();
    let columns = TextColumns {
        text: TextFrom::Joined(vec!["heart_rate".into(), "age".into()]),
        label: LabelFrom::Column("label".into()),
        user: None,
    };
    let read = |rows: &str| {
        let table = crate::tools::csv(format!("heart_rate,age,label\n{rows}"))?;
        TextRecords::train(&table, &columns, &ReadOptions::default())
    };
    assert_eq!(read(&rows)?.texts[3].0, "heart rate is 3, age is unknown");
    let error = crate::common::refused(read(&format!("{rows},,1\n")));
    crate::common::assert_has(&error, &["line 14", "all columns are empty"]);
    Ok(())
}
