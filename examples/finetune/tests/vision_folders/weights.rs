//! Files of weights: formats that are read, and what is said about files that are damaged or another model's.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use burn::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::json;

use crate::common::{assert_has, refused};
use crate::folders::{Copy, expected, folder, model, numbers};

const FILE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Tensors of a file: type, shape and bytes.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn read(folder: &Path) -> Result<Tensors> {
    let bytes = fs::read(folder.join(FILE))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let parts = |view: &TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
    Ok(file.iter().map(|(name, view)| (name.to_owned(), parts(&view))).collect())
}

fn write(folder: &Path, tensors: &Tensors) -> Result<()> {
    let mut views = Vec::new();
    for (name, (dtype, shape, bytes)) in tensors {
        views.push((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes)?));
    }
    Ok(fs::write(folder.join(FILE), safetensors::serialize(views, None)?)?)
}

/// A copy of `vit` with other tensors.
fn with(change: impl FnOnce(&mut Tensors)) -> Result<Copy> {
    let copy = Copy::of("vit")?;
    let mut tensors = read(copy.path())?;
    change(&mut tensors);
    write(copy.path(), &tensors)?;
    Ok(copy)
}

fn features(copy: &Copy) -> Result<Vec<f64>> {
    Ok(numbers(copy.load()?.features(expected("vit", "pixels")?)))
}

fn of_vit() -> Result<Vec<f64>> {
    Ok(numbers(model("vit", &Device::default())?.features(expected("vit", "pixels")?)))
}

#[test]
fn a_head_and_a_prefix_make_no_difference() -> Result<()> {
    let bare = with(|tensors| {
        tensors.retain(|name, _| !name.starts_with("classifier."));
        let without = |(name, tensor): (String, _)| (name.replace("vit.", ""), tensor);
        *tensors = std::mem::take(tensors).into_iter().map(without).collect();
    })?;
    assert_eq!(features(&bare)?, of_vit()?);
    Ok(())
}

#[test]
fn double_precision_is_read() -> Result<()> {
    let doubled = with(|tensors| {
        for (dtype, _, bytes) in tensors.values_mut() {
            let (numbers, _) = bytes.as_chunks::<4>();
            *bytes = numbers
                .iter()
                .flat_map(|x| f64::from(f32::from_le_bytes(*x)).to_le_bytes())
                .collect();
            *dtype = Dtype::F64;
        }
    })?;
    assert_eq!(features(&doubled)?, of_vit()?);
    Ok(())
}

#[test]
fn tensors_that_are_missing_left_over_or_no_floats_are_named() -> Result<()> {
    let missing = with(|tensors| {
        tensors.remove("vit.layernorm.bias");
    })?;
    assert_has(
        &refused(missing.load()),
        &["no tensor vit.layernorm.bias", "the whole folder again"],
    );

    let odd = (Dtype::I64, vec![2], vec![0; 16]);
    let left_over = with(|tensors| {
        tensors.insert("vit.something.weight".to_owned(), odd.clone());
    })?;
    let error = refused(left_over.load());
    assert_has(&error, &["vit.something.weight and 0 more", "no place for"]);

    // Only the head of masked training may stand outside of the prefix.
    let outside = with(|tensors| {
        tensors.insert("embeddings.cls_token".to_owned(), odd.clone());
    })?;
    assert_has(&refused(outside.load()), &["tensor embeddings.cls_token", "no place for"]);

    let whole_numbers = with(|tensors| {
        let (dtype, _, bytes) =
            &mut tensors.entry("vit.layernorm.bias".to_owned()).or_insert(odd.clone());
        (*dtype, *bytes) = (Dtype::I32, vec![0; 4 * 32]);
    })?;
    let error = refused(whole_numbers.load());
    assert_has(&error, &["vit.layernorm.bias is I32", "F64, F32, F16 and BF16"]);
    Ok(())
}

#[test]
fn files_that_are_damaged_or_missing_are_named() -> Result<()> {
    let copy = Copy::of("vit")?;
    let whole = fs::read(copy.path().join(FILE))?;
    for length in [0, 100, whole.len() - 1] {
        fs::write(copy.path().join(FILE), &whole[..length])?;
        assert_has(&refused(copy.load()), &[FILE, "damaged", "the whole folder again"]);
    }
    fs::remove_file(copy.path().join(FILE))?;
    assert_has(&refused(copy.load()), &["neither", FILE, INDEX]);
    Ok(())
}

#[test]
fn shards_that_do_not_fit_are_named() -> Result<()> {
    let shards: Vec<String> = fs::read_dir(folder("deit"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    let shards: Vec<&String> = shards.iter().filter(|name| name.starts_with("model-")).collect();
    assert!(shards.len() > 1, "{shards:?}");

    let copy = Copy::of("deit")?;
    fs::copy(copy.path().join(shards[0]), copy.path().join("again.safetensors"))?;
    copy.set(INDEX, "weight_map/again", json!("again.safetensors"))?;
    assert_has(&refused(copy.load()), &["is in two files"]);

    for outside in ["../model.safetensors", "/model.safetensors", "", ".."] {
        let copy = Copy::of("deit")?;
        copy.set(INDEX, "weight_map/again", json!(outside))?;
        assert_has(
            &refused(copy.load()),
            &["weight_map", &format!("{outside:?}"), "not a file of its folder"],
        );
    }

    let copy = Copy::of("deit")?;
    fs::remove_file(copy.path().join(shards[0]))?;
    assert_has(&refused(copy.load()), &["cannot read", shards[0]]);
    copy.set(INDEX, "weight_map", json!({}))?;
    assert_has(&refused(copy.load()), &["weight_map", "names no file"]);
    copy.set(INDEX, "weight_map", json!(null))?;
    assert_has(&refused(copy.load()), &[INDEX, "missing field `weight_map`"]);
    Ok(())
}
