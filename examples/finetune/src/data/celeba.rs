//! CelebA (Liu et al. 2015): 202,599 faces of 10,177 people, with 40 attributes each.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::bad_records::{BadRecords, Place};
use super::image_records::{ImageRecords, Listed};
use super::labels::Labels;
use super::options::ReadOptions;
use super::select::{check_test, check_training};
use super::split::Split;
use super::words::quoted;

const ATTRIBUTES: usize = 40;

/// Reads `celeba/list_attr_celeba.txt`, `celeba/list_eval_partition.txt` and `celeba/img_align_celeba` in the data
/// folder: the training images, and the test images (partition 2) as held out. The validation images are not read.
///
/// The people are the users if `celeba/identity_CelebA.txt` is there, so that the privacy can be theirs.
///
/// # Errors
/// When a file is missing or is not what it should be.
pub fn celeba(folder: &Path, size: usize, bad_records: BadRecords) -> Result<Split<ImageRecords>> {
    let options = ReadOptions { classes: None, bad_records };
    let folder = folder.join("celeba");
    let attributes = Attributes::read(&folder.join("list_attr_celeba.txt"))?;
    let partition = numbers(&folder.join("list_eval_partition.txt"))?;
    let identity = folder.join("identity_CelebA.txt");
    let people = if identity.exists() { Some(numbers(&identity)?) } else { None };
    let part = |number: &str| -> Result<ImageRecords> {
        let listed = attributes.listed(&folder, &partition, number, people.as_ref())?;
        ImageRecords::of(listed, size, &folder, &options)
    };
    let split = Split { train: part("0")?, test: part("2")? };
    check_training(&split.train.labels, &split.train.classes, &folder)?;
    check_test(&split.test.labels, &folder)?;
    Ok(split)
}

/// The table of attributes: a number of images, the attributes' names, and for each image -1 or 1 for each of them.
struct Attributes {
    file: PathBuf,
    names: Vec<String>,
    images: Vec<(String, Vec<bool>)>,
}

impl Attributes {
    fn read(file: &Path) -> Result<Self> {
        let (text, shown) = (text(file)?, file.display());
        let mut lines = text.lines();
        let mut line = || lines.next().map(str::trim).unwrap_or_default();
        let count: usize = line().parse().ok().with_context(|| {
            format!("{shown}, line 1: should be the number of images; get CelebA's own file")
        })?;
        let names: Vec<String> = line().split_whitespace().map(str::to_owned).collect();
        ensure!(
            names.len() == ATTRIBUTES,
            "{shown}, line 2: names {} attributes instead of {ATTRIBUTES}; get CelebA's own file",
            names.len()
        );
        let mut images = Vec::new();
        for (index, line) in lines.enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let image = image(line)
                .with_context(|| format!("{shown}, line {}: get CelebA's own file", index + 3))?;
            images.push(image);
        }
        ensure!(
            images.len() == count,
            "{shown} has {} images, but its first line says {count}: the file is cut off; get it again",
            images.len()
        );
        Ok(Self { file: file.to_owned(), names, images })
    }

    /// The images of a partition.
    fn listed(
        &self,
        folder: &Path,
        partition: &HashMap<String, String>,
        number: &str,
        people: Option<&HashMap<String, String>>,
    ) -> Result<Listed> {
        let place = folder.join("img_align_celeba");
        let (mut files, mut flags, mut users) =
            (Vec::new(), Vec::new(), people.map(|_| Vec::new()));
        for (name, values) in &self.images {
            let of = partition.get(name);
            let of = of.with_context(|| {
                format!("list_eval_partition.txt has no line for {name}: get it again")
            })?;
            ensure!(
                ["0", "1", "2"].contains(&of.as_str()),
                "list_eval_partition.txt has {} for {name} instead of 0, 1 or 2",
                quoted(of)
            );
            if of != number {
                continue;
            }
            files.push(place.join(name));
            flags.extend_from_slice(values);
            if let (Some(users), Some(people)) = (&mut users, people) {
                let person = people.get(name);
                let person = person.with_context(|| {
                    format!(
                        "identity_CelebA.txt has no line for {name}: get it again, or remove it"
                    )
                })?;
                users.push(person.clone());
            }
        }
        ensure!(
            !files.is_empty(),
            "{} has no image of partition {number}: get CelebA's own files",
            self.file.display()
        );
        Ok(Listed {
            places: files.iter().cloned().map(Place::File).collect(),
            files,
            labels: Labels::Multi { flags, classes: ATTRIBUTES },
            users,
            classes: self.names.clone(),
            notes: Vec::new(),
        })
    }
}

/// `000001.jpg -1  1 ...`
fn image(line: &str) -> Result<(String, Vec<bool>)> {
    let mut words = line.split_whitespace();
    let name = plain_name(words.next().unwrap_or_default())?;
    let flags = words.map(|word| match word {
        "1" => Ok(true),
        "-1" => Ok(false),
        other => bail!("{} is neither 1 nor -1", quoted(other)),
    });
    let flags: Vec<bool> = flags.collect::<Result<_>>()?;
    ensure!(flags.len() == ATTRIBUTES, "{} values instead of {ATTRIBUTES}", flags.len());
    Ok((name, flags))
}

/// `000001.jpg 2`, line after line.
fn numbers(file: &Path) -> Result<HashMap<String, String>> {
    let (text, mut all) = (text(file)?, HashMap::new());
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("{}, line {}", file.display(), index + 1);
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, number] = words.as_slice() else {
            bail!("{}: {} words instead of 2; get CelebA's own file", place(), words.len());
        };
        let again = all.insert(plain_name(name).with_context(place)?, (*number).to_owned());
        ensure!(again.is_none(), "{}: {name} stands there twice", place());
    }
    Ok(all)
}

fn plain_name(name: &str) -> Result<String> {
    ensure!(!name.contains(['/', '\\']), "{} is no name of an image", quoted(name));
    Ok(name.to_owned())
}

fn text(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| {
        format!(
            "cannot read {}: put CelebA's list_attr_celeba.txt, list_eval_partition.txt and img_align_celeba there",
            file.display()
        )
    })
}
