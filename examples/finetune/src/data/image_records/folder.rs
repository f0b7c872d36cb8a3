//! A folder of images for each class: `cats/1.png`, `dogs/2.jpg`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::{ImageRecords, Listed};
use crate::data::bad_records::{Bad, BadKind, Place, settle};
use crate::data::classes;
use crate::data::labels::Labels;
use crate::data::options::ReadOptions;
use crate::data::select::{check_test, check_training};
use crate::data::words::{did_you_mean, listed, quoted};

/// Folders for held-out images; the first that is there is read.
const HELD_OUT: [&str; 4] = ["test", "val", "valid", "validation"];

/// Reads `root/<class>/*.png|jpg|jpeg`. Or, if `root` has a folder `train` and no folders beside it but `test`, `val`,
/// `valid` and `validation`, reads the classes in `train`, and held-out images in the first of the others.
///
/// Files and folders whose names begin with a dot are passed over.
///
/// # Errors
/// When a class has no image, two classes' names differ in case only, a file is no image and is not to be left out,
/// or there is too little to train on.
pub fn image_folder(
    root: &Path,
    size: usize,
    options: &ReadOptions,
) -> Result<(ImageRecords, Option<ImageRecords>)> {
    let mut folders = entries(root)?;
    folders.retain(|_, path| path.is_dir());
    // Else `train` is a class, beside `bus` and `ship`.
    let split = folders.keys().all(|name| name == "train" || HELD_OUT.contains(&name.as_str()));
    let Some(train) = folders.get("train").filter(|_| split) else {
        return Ok((training(root, size, options)?, None));
    };
    let mut train = training(train, size, options)?;
    let mut held_out = HELD_OUT.iter().filter_map(|name| folders.get(*name));
    let Some(folder) = held_out.next() else {
        return Ok((train, None));
    };
    for other in held_out {
        let (folder, other) = (folder.display(), other.display());
        train.notes.push(format!("{folder} is held out; {other} is not read"));
    }
    let options = ReadOptions { classes: Some(train.classes.clone()), ..options.clone() };
    let test = ImageRecords::of(list(folder, &options)?, size, folder, &options)?;
    check_test(&test.labels, folder)?;
    Ok((train, Some(test)))
}

fn training(folder: &Path, size: usize, options: &ReadOptions) -> Result<ImageRecords> {
    let records = ImageRecords::of(list(folder, options)?, size, folder, options)?;
    check_training(&records.labels, &records.classes, folder)?;
    Ok(records)
}

/// The images of all class folders, in an order that doesn't depend on the file system.
fn list(root: &Path, options: &ReadOptions) -> Result<Listed> {
    let shown = root.display();
    let mut folders = BTreeMap::new();
    for (name, path) in entries(root)? {
        if path.is_dir() {
            folders.insert(name, path);
        } else {
            ensure!(
                !is_image(&path),
                "{} lies in no class's folder: move it to one",
                path.display()
            );
        }
    }
    ensure!(!folders.is_empty(), "{shown} has no folders: it should have one for each class");
    refuse_case_twins(root, folders.keys())?;
    let mut notes = Vec::new();
    let classes = match &options.classes {
        Some(classes) => {
            classes::check(classes)?;
            classes.clone()
        }
        None => {
            notes.push(format!(
                "the {} classes are the folders in {shown}, so that their names are treated as public",
                folders.len()
            ));
            classes::sorted(folders.keys().map(String::as_str))
        }
    };
    let (mut files, mut labels, mut bad) = (Vec::new(), Vec::new(), Vec::new());
    for (name, folder) in folders {
        let Some(class) = classes.iter().position(|class| *class == name) else {
            let near = did_you_mean(&name, classes.iter().map(String::as_str));
            bail!("{} is none of the classes {}{near}", folder.display(), listed(&classes));
        };
        let images = entries(&folder)?;
        ensure!(
            !images.is_empty(),
            "{} has no image: add some, or remove the folder",
            folder.display()
        );
        for (_, path) in images {
            if is_image(&path) {
                files.push(path);
                labels.push(u32::try_from(class)?);
            } else {
                let told = match path.is_dir() {
                    true => "it is a folder within a class's folder: move its images up",
                    false => "it is no .png, .jpg or .jpeg: convert it, or take it out",
                };
                bad.push(Bad { at: Place::File(path), kind: BadKind::Image, told: told.into() });
            }
        }
    }
    notes.extend(settle(root, bad, options.bad_records)?);
    let places = files.iter().cloned().map(Place::File).collect();
    Ok(Listed { files, places, labels: Labels::Classes(labels), users: None, classes, notes })
}

/// What a folder holds, by name.
fn entries(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let cannot = || format!("cannot read the folder {}: check its path", folder.display());
    let mut entries = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{} is not UTF-8: rename it", path.display()))?;
        if !name.starts_with('.') {
            entries.insert(name.to_owned(), path.clone());
        }
    }
    Ok(entries)
}

fn is_image(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    path.is_file() && ["png", "jpg", "jpeg"].contains(&ending.to_ascii_lowercase().as_str())
}

/// `Cats` beside `cats` is a mistake, and one folder on many systems.
fn refuse_case_twins<'a>(root: &Path, names: impl Iterator<Item = &'a String>) -> Result<()> {
    let mut seen = BTreeMap::new();
    for name in names {
        if let Some(other) = seen.insert(name.to_lowercase(), name) {
            let (root, name, other) = (root.display(), quoted(name), quoted(other));
            bail!(
                "{root} has the folders {other} and {name}, which differ in case only: join them"
            );
        }
    }
    Ok(())
}
