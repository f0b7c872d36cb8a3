//! CIFAR-100 and CelebA, in files that are written as the published ones are.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result};
use finetune::data::{BadRecords, Labels, celeba, cifar100};
use image::{ImageFormat, RgbImage};
use tempfile::tempdir;

use crate::common::{assert_has, refused};

// CIFAR-100.

/// `count` records, each class as often as any other; record `i` is of class `i % 100`.
fn binary(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count * 3_074];
    for (index, record) in bytes.chunks_exact_mut(3_074).enumerate() {
        record[0] = (index % 20) as u8;
        record[1] = (index % 100) as u8;
        record[2..].fill((index % 251) as u8);
        record[2] = 99;
    }
    bytes
}

#[test]
fn cifar100_is_read() -> Result<()> {
    let folder = tempdir()?;
    assert_has(&refused(cifar100(folder.path())), &["train.bin", "cifar-100-binary.tar.gz"]);
    let place = folder.path().join("cifar-100-binary");
    fs::create_dir(&place)?;
    fs::write(place.join("train.bin"), binary(50_000))?;
    fs::write(place.join("test.bin"), binary(10_000))?;
    let split = cifar100(folder.path())?;
    assert_eq!((split.train.len(), split.test.len()), (50_000, 10_000));
    assert_eq!((split.train.labels[49_999], split.test.labels[101]), (99, 1));
    assert_eq!(split.test.image(252)[..3], [99, 1, 1]);
    // The names are in alphabetical order, as in the archive's list.
    let classes = split.train.classes;
    assert!(classes.len() == 100 && classes.is_sorted());
    assert_eq!((classes[0], classes[49], classes[99]), ("apple", "mountain", "worm"));

    let spoil = |change: &dyn Fn(&mut Vec<u8>)| -> Result<String> {
        let mut bytes = binary(10_000);
        change(&mut bytes);
        fs::write(place.join("test.bin"), bytes)?;
        Ok(refused(cifar100(folder.path())))
    };
    assert_has(&spoil(&|bytes| bytes.truncate(3_074))?, &["test.bin", "3074 bytes", "30740000"]);
    assert_has(&spoil(&|bytes| bytes[3_074] = 20)?, &["record 2", "coarse"]);
    assert_has(&spoil(&|bytes| bytes[1] = 100)?, &["label 100"]);
    assert_has(&spoil(&|bytes| bytes[1] = 1)?, &["should have 100"]);
    Ok(())
}

// CelebA.

/// Ten images to train on, one to validate on, two to test on: image `i` has attribute `i % 40` alone.
fn write_celeba(root: &Path) -> Result<()> {
    let place = root.join("celeba");
    fs::create_dir_all(place.join("img_align_celeba"))?;
    let names: String = (0..40).map(|i| format!("Attribute_{i} ")).collect();
    let (mut attributes, mut partition, mut people) =
        (format!("13\n{names}\n"), String::new(), String::new());
    for i in 0..13u8 {
        let name = format!("{:06}.jpg", i + 1);
        // The published file aligns its columns with further spaces.
        let flags: String = (0..40).map(|j| if j == i { "  1" } else { " -1" }).collect();
        attributes += &format!("{name}{flags}\n");
        let part = [0, 1, 2][usize::from(i > 9) + usize::from(i > 10)];
        partition += &format!("{name} {part}\n");
        people += &format!("{name} {}\n", 2_880 + u32::from(i / 3));
        let mut bytes = Cursor::new(Vec::new());
        RgbImage::from_pixel(178, 218, image::Rgb([i * 10; 3]))
            .write_to(&mut bytes, ImageFormat::Jpeg)?;
        fs::write(place.join("img_align_celeba").join(name), bytes.into_inner())?;
    }
    fs::write(place.join("list_attr_celeba.txt"), attributes)?;
    fs::write(place.join("list_eval_partition.txt"), partition)?;
    Ok(fs::write(place.join("identity_CelebA.txt"), people)?)
}

#[test]
fn celeba_is_read() -> Result<()> {
    let folder = tempdir()?;
    assert_has(
        &refused(celeba(folder.path(), 8, BadRecords::Refuse)),
        &["list_attr_celeba.txt", "img_align_celeba"],
    );
    write_celeba(folder.path())?;
    let split = celeba(folder.path(), 8, BadRecords::Refuse)?;
    assert_eq!((split.train.len(), split.test.len(), split.train.classes.len()), (10, 2, 40));
    let Labels::Multi { flags, classes: 40 } = &split.test.labels else {
        panic!("{:?}", split.test.labels)
    };
    let set: Vec<usize> = (0..80).filter(|at| flags[*at]).collect();
    assert_eq!(set, [11, 40 + 12]);
    assert!(split.test.image(1).iter().all(|value| value.abs_diff(120) <= 2));
    let people = split.train.users.context("no people")?;
    let sizes: Vec<usize> = people.iter().map(|(_, records)| records.len()).collect();
    assert_eq!(sizes, [3, 3, 3, 1]);

    fs::remove_file(folder.path().join("celeba/identity_CelebA.txt"))?;
    assert!(celeba(folder.path(), 8, BadRecords::Refuse)?.train.users.is_none());
    Ok(())
}

#[test]
fn damaged_celeba_is_told() -> Result<()> {
    let told = |file: &str, from: &str, to: &str, parts: &[&str]| -> Result<()> {
        let folder = tempdir()?;
        write_celeba(folder.path())?;
        let file = folder.path().join("celeba").join(file);
        let text = fs::read_to_string(&file)?;
        assert!(text.contains(from));
        fs::write(&file, text.replacen(from, to, 1))?;
        assert_has(&refused(celeba(folder.path(), 8, BadRecords::Refuse)), parts);
        Ok(())
    };
    let attributes = "list_attr_celeba.txt";
    told(attributes, "13\n", "image_id\n", &[attributes, "line 1", "number of images"])?;
    told(attributes, "13\n", "202599\n", &["13 images", "says 202599", "cut off"])?;
    told(attributes, "Attribute_0 ", "", &["line 2", "39 attributes"])?;
    told(attributes, "jpg  1", "jpg  2", &["line 3", "`2`", "neither 1 nor -1"])?;
    told(attributes, "jpg  1", "jpg", &["line 3", "39 values"])?;
    told(attributes, "000001.jpg", "../1.jpg", &["line 3", "no name of an image"])?;
    let partition = "list_eval_partition.txt";
    told(partition, "000002.jpg 0\n", "", &[partition, "no line for 000002.jpg"])?;
    told(partition, "000002.jpg 0", "000002.jpg 3", &["`3`", "000002.jpg"])?;
    told(partition, "000002.jpg 0", "000002.jpg", &[partition, "line 2", "1 words"])?;
    told(partition, "000002.jpg", "000001.jpg", &["line 2", "twice"])?;
    told("identity_CelebA.txt", "000004.jpg 2881\n", "", &["no line for 000004.jpg"])?;
    let folder = tempdir()?;
    write_celeba(folder.path())?;
    fs::remove_file(folder.path().join("celeba/img_align_celeba/000003.jpg"))?;
    assert_has(
        &refused(celeba(folder.path(), 8, BadRecords::Refuse)),
        &["000003.jpg", "cannot be found"],
    );
    Ok(())
}
