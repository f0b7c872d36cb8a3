//! Tables of images; splits of images; standard sets as such records.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::{Context, Result};
use finetune::data::{
    HeldOut, ImageColumns, ImageRecords, Images, LabelFrom, Labels, ReadOptions, Table,
    image_table, image_test_table,
};
use tempfile::tempdir;

use crate::common::{assert_has, refused};
use crate::images::{filled, png, read};
use crate::tools::names;

/// A table beside the images, and one that lies elsewhere.
fn table(folder: &Path) -> Result<Table> {
    let rows = (0..12).map(|i| {
        let file = format!("{}/{}.png", ["cat", "dog"][i / 6], i % 6);
        let file = match i % 3 {
            0 => file,
            1 => folder.join(file).display().to_string(),
            _ => format!("cat/../{file}"),
        };
        format!("{file},{},{},p{}\n", i / 6, i % 2, i % 4)
    });
    let file = folder.join("own.csv");
    fs::write(&file, "file,dog,odd,patient\n".to_owned() + &rows.collect::<String>())?;
    Table::read(&file, None)
}

fn columns(label: LabelFrom) -> ImageColumns {
    ImageColumns { path: "file".into(), label, user: Some("patient".into()) }
}

#[test]
fn a_table_of_images_is_read() -> Result<()> {
    let folder = filled()?;
    let table = table(folder.path())?;
    let one = columns(LabelFrom::Column("dog".into()));
    let records = image_table(&table, &one, 2, &ReadOptions::default())?;
    let (same, _) = read(folder.path())?;
    assert_eq!((records.pixels.clone(), records.labels.clone()), (same.pixels, same.labels));
    let users = records.users.clone().context("no users")?;
    assert_eq!(users.len(), 4);
    assert!(users.capped(NonZeroUsize::MIN).iter().all(|(_, records)| records.len() == 1));

    let both = columns(LabelFrom::Flags(names(&["dog", "odd"])));
    let multi = image_table(&table, &both, 2, &ReadOptions::default())?;
    assert_eq!(multi.labels.counts(2), [6, 6]);
    let tested = image_test_table(&table, &both, &multi, &ReadOptions::default())?;
    assert_eq!(tested, multi);
    Ok(())
}

#[test]
fn mistakes_in_a_table_of_images_are_told() -> Result<()> {
    let folder = filled()?;
    table(folder.path())?;
    let file = folder.path().join("own.csv");
    let text = fs::read_to_string(&file)?;
    let one = columns(LabelFrom::Column("dog".into()));
    let read = |text: &str, size| -> Result<String> {
        fs::write(&file, text)?;
        let table = Table::read(&file, None)?;
        Ok(refused(image_table(&table, &one, size, &ReadOptions::default())))
    };
    let missing = text.replace("dog/0.png", "dog/nothing.png");
    assert_has(&read(&missing, 2)?, &["own.csv", "line 8", "dog/nothing.png", "check the path"]);
    assert_has(&read(&format!("{text} ,0,0,p\n"), 2)?, &["line 14", "`file`", "is empty"]);
    assert_has(&read(&format!("{text}cat,0,0,p\n"), 2)?, &["line 14", "is no file"]);
    for size in [0, 1_025] {
        assert_has(&read(&text, size)?, &["cannot be", "1 to 1024"]);
    }
    // More than 8 GiB of pixels are refused before any is decoded.
    let many = text + &"cat/0.png,0,0,p\n".repeat(2_800);
    assert_has(&read(&many, 1_024)?, &["2812 images", "limit of 8 GiB", "1009 or below"]);
    Ok(())
}

#[test]
fn the_split_of_images_is_by_their_files() -> Result<()> {
    let folder = tempdir()?;
    for class in 0..2u8 {
        let place = folder.path().join(class.to_string());
        fs::create_dir(&place)?;
        for i in 0..40 {
            fs::write(place.join(format!("{i}.png")), png([i, i + 1, class])?)?;
        }
        // The same file again, under another name.
        fs::copy(place.join("3.png"), place.join("again.png"))?;
    }
    let (all, _) = read(folder.path())?;
    let split = all.clone().split(HeldOut::one_in(4)?, folder.path())?;
    assert_eq!(split.train.len() + split.test.len(), 82);
    let pixels = |records: &ImageRecords| -> Vec<(Vec<u8>, u32)> {
        let Labels::Classes(labels) = &records.labels else { panic!("kind") };
        (0..records.len()).map(|i| (records.image(i).to_vec(), labels[i])).collect()
    };
    let (train, test) = (pixels(&split.train), pixels(&split.test));
    assert!(test.iter().all(|image| !train.contains(image)));
    let mut joined = [train, test].concat();
    joined.sort_unstable();
    let mut all = pixels(&all);
    all.sort_unstable();
    assert_eq!(joined, all);

    // Removing one moves no other.
    fs::remove_file(folder.path().join("0/7.png"))?;
    let (fewer, _) = read(folder.path())?;
    let fewer = fewer.split(HeldOut::one_in(4)?, folder.path())?;
    let gone = |all: &ImageRecords, fewer: &ImageRecords| {
        let (mut all, fewer) = (pixels(all), pixels(fewer));
        all.retain(|image| !fewer.contains(image));
        all.len()
    };
    assert_eq!(gone(&split.train, &fewer.train) + gone(&split.test, &fewer.test), 1);
    assert_eq!(gone(&fewer.train, &split.train) + gone(&fewer.test, &split.test), 0);
    Ok(())
}

#[test]
fn standard_sets_become_the_same_records() -> Result<()> {
    let images = |channels: usize| Images {
        pixels: (0..8 * channels).map(|value| value as u8).collect(),
        labels: vec![1, 0],
        channels,
        height: 2,
        width: 2,
        classes: &["a", "b"],
    };
    let gray = ImageRecords::try_from(images(1))?;
    assert_eq!(gray.image(1), [4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7]);
    assert_eq!(
        (gray.labels.clone(), gray.classes.clone()),
        (Labels::Classes(vec![1, 0]), names(&["a", "b"]))
    );
    let rgb = ImageRecords::try_from(images(3))?;
    assert_eq!((rgb.image(1), rgb.len()), (&images(3).pixels[12..], 2));
    let wide = Images { height: 1, width: 4, ..images(1) };
    assert_has(&refused(ImageRecords::try_from(wide)), &["1 x 4", "squares"]);
    let short = Images { labels: vec![0; 3], ..images(1) };
    assert_has(&refused(ImageRecords::try_from(short)), &["8 pixels", "3 images"]);
    Ok(())
}
