//! Folders of images.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result};
use finetune::data::{ImageRecords, Labels, ReadOptions, image_folder};
use image::{DynamicImage, ImageFormat, RgbImage};
use tempfile::{TempDir, tempdir};

use crate::common::{assert_has, refused};
use crate::tools::{classes, leave_out, names};

fn encode(image: &DynamicImage, format: ImageFormat) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format)?;
    Ok(bytes.into_inner())
}

fn flat(color: [u8; 3]) -> DynamicImage {
    RgbImage::from_pixel(4, 4, image::Rgb(color)).into()
}

/// A PNG of one color.
pub fn png(color: [u8; 3]) -> Result<Vec<u8>> {
    encode(&flat(color), ImageFormat::Png)
}

/// Six images of each of two classes in `place`, each of its own color.
fn fill(place: &Path) -> Result<()> {
    for (class, blue) in [("cat", 10), ("dog", 200)] {
        let folder = place.join(class);
        fs::create_dir_all(&folder)?;
        for i in 0..6 {
            fs::write(folder.join(format!("{i}.png")), png([i * 20, 7, blue])?)?;
        }
    }
    Ok(())
}

pub fn filled() -> Result<TempDir> {
    let folder = tempdir()?;
    fill(folder.path())?;
    Ok(folder)
}

pub fn read(folder: &Path) -> Result<(ImageRecords, Option<ImageRecords>)> {
    image_folder(folder, 2, &ReadOptions::default())
}

#[test]
fn a_folder_for_each_class_is_read() -> Result<()> {
    let folder = filled()?;
    fs::write(folder.path().join(".DS_Store"), "")?;
    fs::write(folder.path().join("cat/.hidden"), "")?;
    fs::write(folder.path().join("README.txt"), "my images")?;
    let (records, none) = read(folder.path())?;
    assert!(none.is_none());
    assert_eq!(
        (records.len(), records.size, records.classes.clone()),
        (12, 2, names(&["cat", "dog"]))
    );
    assert_eq!(records.labels, Labels::Classes([[0; 6], [1; 6]].concat()));
    assert_eq!(records.image(8), [40, 40, 40, 40, 7, 7, 7, 7, 200, 200, 200, 200]);
    assert_eq!(records.image(12), [0u8; 0]);
    assert_has(&records.notes.join("\n"), &["2 classes", "public"]);
    // Given classes.
    let given = classes(&["dog", "bird", "cat"]);
    let (records, _) = image_folder(folder.path(), 2, &given)?;
    assert_eq!(records.labels.counts(3), [6, 0, 6]);
    assert!(records.notes.is_empty());
    Ok(())
}

#[test]
fn folders_for_training_and_testing_are_read() -> Result<()> {
    let folder = tempdir()?;
    let root = folder.path();
    fill(&root.join("train"))?;
    assert!(read(root)?.1.is_none());
    fs::create_dir_all(root.join("val/dog"))?;
    fs::write(root.join("val/dog/a.JPG"), encode(&flat([1, 2, 3]), ImageFormat::Jpeg)?)?;
    let (_, test) = read(root)?;
    let test = test.context("no test images")?;
    assert_eq!((test.labels, test.classes), (Labels::Classes(vec![1]), names(&["cat", "dog"])));
    fs::create_dir_all(root.join("test/cow"))?;
    fs::write(root.join("test/cow/a.png"), png([0; 3])?)?;
    assert_has(&refused(read(root)), &["test", "cow", "none of the classes `cat`, `dog`"]);
    fs::rename(root.join("test/cow"), root.join("test/cat"))?;
    let (train, test) = read(root)?;
    assert_eq!(test.context("no test images")?.labels, Labels::Classes(vec![0]));
    assert_has(&train.notes.join("\n"), &["test is held out", "val is not read"]);
    Ok(())
}

#[test]
fn a_class_may_be_called_train() -> Result<()> {
    let folder = filled()?;
    fs::rename(folder.path().join("dog"), folder.path().join("train"))?;
    assert_eq!(read(folder.path())?.0.classes, ["cat", "train"]);
    Ok(())
}

#[test]
fn every_kind_of_image_becomes_rgb() -> Result<()> {
    let pixel = |image: DynamicImage, format| -> Result<Vec<u8>> {
        let folder = filled()?;
        // The ending may lie.
        fs::write(folder.path().join("cat/0.png"), encode(&image, format)?)?;
        Ok(image_folder(folder.path(), 1, &ReadOptions::default())?.0.image(0).to_vec())
    };
    let gray = image::GrayImage::from_pixel(3, 2, image::Luma([77]));
    assert_eq!(pixel(gray.into(), ImageFormat::Png)?, [77, 77, 77]);
    let alpha = image::RgbaImage::from_pixel(3, 2, image::Rgba([9, 80, 160, 0]));
    assert_eq!(pixel(alpha.into(), ImageFormat::Png)?, [9, 80, 160]);
    let deep = image::ImageBuffer::from_pixel(3, 2, image::Rgb([0u16, 32_768, 65_535]));
    assert_eq!(pixel(DynamicImage::ImageRgb16(deep), ImageFormat::Png)?, [0, 128, 255]);
    let jpeg = pixel(flat([10, 100, 200]), ImageFormat::Jpeg)?;
    assert!(jpeg.iter().zip([10, 100, 200]).all(|(a, b)| a.abs_diff(b) <= 2), "{jpeg:?}");
    Ok(())
}

/// Made with Pillow 13.0.0: `image.resize((size, size), Image.BILINEAR)`, which torchvision calls.
/// Channel by channel, for sizes 3 and 8.
#[rustfmt::skip]
const PILLOW: ([u8; 27], [u8; 192]) = ([
    21, 100, 179, 21, 100, 179, 21, 100, 179, 34, 34, 34, 120, 120, 120, 206, 206, 206, 20, 91, 131, 35, 147, 123,
    51, 129, 115,
], [
    0, 22, 53, 84, 116, 147, 178, 200, 0, 22, 53, 84, 116, 147, 178, 200, 0, 22, 53, 84, 116, 147, 178, 200,
    0, 22, 53, 84, 116, 147, 178, 200, 0, 22, 53, 84, 116, 147, 178, 200, 0, 22, 53, 84, 116, 147, 178, 200,
    0, 22, 53, 84, 116, 147, 178, 200, 0, 22, 53, 84, 116, 147, 178, 200, 0, 0, 0, 0, 0, 0, 0, 0,
    33, 33, 33, 33, 33, 33, 33, 33, 68, 68, 68, 68, 68, 68, 68, 68, 103, 103, 103, 103, 103, 103, 103, 103,
    138, 138, 138, 138, 138, 138, 138, 138, 173, 173, 173, 173, 173, 173, 173, 173, 208, 208, 208, 208, 208, 208, 208, 208,
    240, 240, 240, 240, 240, 240, 240, 240, 0, 14, 33, 52, 72, 91, 110, 124, 0, 20, 48, 76, 104, 132, 160, 179,
    0, 26, 63, 101, 138, 175, 114, 63, 0, 33, 79, 126, 173, 219, 122, 42, 0, 39, 95, 151, 172, 158, 126, 102,
    0, 46, 111, 176, 161, 67, 116, 161, 0, 52, 123, 168, 163, 107, 141, 173, 0, 58, 125, 48, 52, 135, 74, 20,
]);

#[test]
fn images_are_resized_as_pillow_does() -> Result<()> {
    let image = RgbImage::from_fn(5, 7, |x, y| {
        image::Rgb([x * 50, y * 40, x * y * 17 + x * 31].map(|value| (value % 256) as u8))
    });
    let folder = filled()?;
    fs::write(folder.path().join("cat/0.png"), encode(&image.into(), ImageFormat::Png)?)?;
    for (size, expected) in [(3, PILLOW.0.as_slice()), (8, PILLOW.1.as_slice())] {
        let (records, _) = image_folder(folder.path(), size, &ReadOptions::default())?;
        let worst = records.image(0).iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(records.image(0).len() == expected.len() && worst <= Some(1), "{worst:?}");
    }
    Ok(())
}

/// A PNG that claims a size, and holds nothing of it.
fn bomb(width: u32, height: u32) -> Vec<u8> {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let body = [kind.as_slice(), data].concat();
        let length = (data.len() as u32).to_be_bytes();
        [length.as_slice(), &body, &crc32fast::hash(&body).to_be_bytes()].concat()
    };
    let sizes = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let header = [sizes.as_slice(), &[8, 2, 0, 0, 0]].concat();
    let start = b"\x89PNG\r\n\x1a\n";
    [start.as_slice(), &chunk(b"IHDR", &header), &chunk(b"IDAT", &[0; 9]), &chunk(b"IEND", &[])]
        .concat()
}

#[test]
fn broken_images_are_named() -> Result<()> {
    let whole = encode(&flat([1, 2, 3]), ImageFormat::Jpeg)?;
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("x.png", b"no picture".to_vec(), "neither PNG nor JPEG"),
        ("x.jpg", whole[..whole.len() / 3].to_vec(), "damaged"),
        ("x.png", Vec::new(), "neither PNG nor JPEG"),
        ("x.png", bomb(60_000, 60_000), "too large"),
        ("x.png", bomb(16_000, 16_000), "too large"),
        ("x.gif", b"GIF89a".to_vec(), "no .png, .jpg or .jpeg"),
    ];
    for (name, bytes, told) in cases {
        let folder = filled()?;
        fs::write(folder.path().join("dog").join(name), bytes)?;
        let error = refused(read(folder.path()));
        assert_has(&error, &["dog", name, told, "--bad-records leave-out"]);
        let (left, _) = image_folder(folder.path(), 2, &leave_out())?;
        let (right, _) = read(filled()?.path())?;
        assert_eq!((left.pixels, left.labels), (right.pixels, right.labels));
        assert_has(&left.notes.join("\n"), &["1 record", "an image that cannot be read"]);
    }
    Ok(())
}

#[test]
fn folders_that_make_no_classes_are_named() -> Result<()> {
    let told = |change: &dyn Fn(&Path) -> Result<()>, parts: &[&str]| -> Result<()> {
        let folder = filled()?;
        change(folder.path())?;
        assert_has(&refused(read(folder.path())), parts);
        Ok(())
    };
    told(&|root| Ok(fs::create_dir(root.join("cow"))?), &["cow has no image"])?;
    told(
        &|root| Ok(fs::write(root.join("a.png"), png([0; 3])?)?),
        &["a.png", "no class's folder"],
    )?;
    told(&|root| Ok(fs::create_dir(root.join("cat/more"))?), &["more", "within a class's folder"])?;
    told(&|root| Ok(fs::remove_dir_all(root.join("dog"))?), &["6 records", "needs 10"])?;
    let twins = |root: &Path| {
        fs::create_dir(root.join("Dog"))?;
        Ok(fs::write(root.join("Dog/a.png"), png([0; 3])?)?)
    };
    // Where the file system knows one folder of that name, there are no twins.
    if twins(filled()?.path()).is_ok() {
        told(&twins, &["`Dog`", "`dog`", "case only"])?;
    }
    assert_has(&refused(read(tempdir()?.path())), &["has no folders", "one for each class"]);
    assert_has(&refused(read(Path::new("/nowhere"))), &["cannot read the folder /nowhere"]);
    let given = image_folder(filled()?.path(), 2, &classes(&["cat", "dogs"]));
    assert_has(&refused(given), &["dog", "none of the classes", "did you mean `dogs`?"]);
    Ok(())
}
