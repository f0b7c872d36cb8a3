//! What is said about a GPT-2's files that can and that cannot be used.

mod common;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Int, Tensor};
use common::{assert_has, fixture, refused};
use finetune::models::gpt2::{Gpt2, Gpt2Config, Tokenizer};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

const WEIGHTS: &str = "model.safetensors";

/// Tensors of a file: name, type, shape and numbers.
type Stored = Vec<(String, Dtype, Vec<usize>, Vec<u8>)>;

#[test]
fn missing_files_are_named() -> Result<()> {
    for file in ["config.json", WEIGHTS] {
        let folder = changed(|folder| Ok(fs::remove_file(folder.join(file))?))?;
        load_refused(folder.path(), &[file, "save_pretrained"]);
    }
    let folder = changed(|folder| Ok(fs::remove_file(folder.join("tokenizer.json"))?))?;
    assert_has(&refused(Tokenizer::load(folder.path())), &["tokenizer.json", "save_pretrained"]);
    Ok(())
}

#[test]
fn damaged_files_are_named() -> Result<()> {
    let whole = fs::read(tiny().join(WEIGHTS))?;
    for length in [0, 5, 1000, whole.len() - 1] {
        let folder = changed(|folder| Ok(fs::write(folder.join(WEIGHTS), &whole[..length])?))?;
        load_refused(folder.path(), &["cannot read", WEIGHTS]);
    }
    let folder = changed(|folder| Ok(fs::write(folder.join("config.json"), "{")?))?;
    load_refused(folder.path(), &["config.json", "not a model's"]);
    let folder = changed(|folder| Ok(fs::write(folder.join("tokenizer.json"), "{")?))?;
    assert_has(&refused(Tokenizer::load(folder.path())), &["cannot read", "tokenizer.json"]);
    Ok(())
}

#[test]
fn tensors_that_do_not_fit_are_named() -> Result<()> {
    let name = "transformer.h.1.attn.c_attn.weight";
    let bare = "h.1.attn.c_attn.weight";
    weights_refused(|all| all.retain(|(other, ..)| other != name), &["lacks", bare])?;
    weights_refused(|all| all.push(tensor("other", &[2])), &["`other`", "not used"])?;
    weights_refused(
        |all| all.push(tensor("h.x.attn.bias", &[2])),
        &["`h.x.attn.bias`", "not used"],
    )?;
    weights_refused(|all| all.push(tensor(bare, &[32, 96])), &[bare, "twice"])?;
    // Conv1D keeps [in, out]; the transposed shape is another model's.
    let transposed = |all: &mut Stored| {
        all.retain(|(other, ..)| other != name);
        all.push(tensor(name, &[96, 32]));
    };
    weights_refused(transposed, &[bare, "[96, 32]", "[32, 96]"])?;
    let whole_numbers = |all: &mut Stored| {
        all.retain(|(other, ..)| other != name);
        all.push((name.to_owned(), Dtype::I32, vec![32, 96], vec![0; 4 * 32 * 96]));
    };
    weights_refused(whole_numbers, &[bare, "I32"])?;
    // An output layer of its own would be lost.
    let untied = |all: &mut Stored| all.push(tensor("lm_head.weight", &[300, 32]));
    weights_refused(untied, &["lm_head.weight", "differs", "wte.weight"])
}

#[test]
fn checkpoints_of_every_kind_give_the_same_model() -> Result<()> {
    let expected = answer(&tiny())?;
    // Without the prefix, as a model without its output layer is saved.
    let bare = changed(|folder| {
        rewrite(folder, |all| {
            for (name, ..) in all.iter_mut() {
                *name = name.trim_start_matches("transformer.").to_owned();
            }
        })
    })?;
    ensure!(answer(bare.path())? == expected);
    // With what older files hold as well.
    let older = changed(|folder| {
        rewrite(folder, |all| {
            let table = all.iter().find(|(name, ..)| name == "transformer.wte.weight").cloned();
            all.extend(table.map(|(_, dtype, shape, bytes)| {
                ("lm_head.weight".to_owned(), dtype, shape, bytes)
            }));
            all.push(tensor("transformer.h.0.attn.bias", &[1, 1, 32, 32]));
            all.push(tensor("transformer.h.1.attn.masked_bias", &[]));
        })
    })?;
    ensure!(answer(older.path())? == expected);
    ensure!(answer(sharded(|_| ())?.path())? == expected);
    Ok(())
}

#[test]
fn shards_that_cannot_be_used_are_named() -> Result<()> {
    let index = |folder: &Path| folder.join("model.safetensors.index.json");
    let folder = sharded(|_| ())?;
    fs::remove_file(folder.path().join("model-2.safetensors"))?;
    load_refused(folder.path(), &["cannot read", "model-2.safetensors"]);
    let folder = sharded(|map| *map = json!({"wte.weight": "../model.safetensors"}))?;
    load_refused(folder.path(), &["../model.safetensors", "not a file of its folder"]);
    let folder = sharded(|map| *map = json!({}))?;
    load_refused(folder.path(), &["names no file"]);
    fs::write(index(folder.path()), "[]")?;
    load_refused(folder.path(), &["index.json", "does not say which file"]);
    // A shard that the index does not name leaves its tensors missing.
    let folder = sharded(|map| {
        if let Some(map) = map.as_object_mut() {
            map.retain(|_, shard| shard != "model-2.safetensors");
        }
    })?;
    load_refused(folder.path(), &["lacks"]);
    Ok(())
}

#[test]
fn half_precision_becomes_single() -> Result<()> {
    let ones = [0x80, 0x3f].repeat(32); // 1.0 in bfloat16 is the upper half of 1.0 in single precision
    let folder = changed(|folder| {
        rewrite(folder, |all| {
            all.retain(|(name, ..)| name != "transformer.ln_f.weight");
            all.push(("transformer.ln_f.weight".to_owned(), Dtype::BF16, vec![32], ones.clone()));
        })
    })?;
    let model = Gpt2::load(folder.path(), &Device::default())?;
    let gamma = model.ln_f.gamma.val().into_data();
    assert_eq!(gamma.try_to_vec::<f32>().ok(), Some(vec![1.0; 32]));
    Ok(())
}

#[test]
fn configurations_that_are_not_built_are_refused_by_name() -> Result<()> {
    let cases = [
        ("activation_function", json!("relu"), "only \"gelu_new\" and \"gelu\""),
        ("model_type", json!("llama"), "only \"gpt2\""),
        ("scale_attn_weights", json!(false), "only true"),
        ("scale_attn_by_inverse_layer_idx", json!(true), "only false"),
        ("reorder_and_upcast_attn", json!(true), "only false"),
        ("add_cross_attention", json!(true), "only false"),
        ("tie_word_embeddings", json!(false), "only true"),
        ("n_head", json!(5), "cannot be shared"),
        ("n_head", json!(0), "give 1 to"),
        ("n_layer", json!(1u64 << 40), "give 1 to"),
        ("n_inner", json!(0), "give 1 to"),
        ("layer_norm_epsilon", json!(-1.0), "layer_norm_epsilon"),
        ("eos_token_id", json!(300), "no row of a table of 300"),
    ];
    for (field, value, words) in cases {
        let folder = changed(|folder| configure(folder, field, value.clone()))?;
        assert_has(&refused(Gpt2Config::read(folder.path())), &["config.json", field, words]);
    }
    let folder = changed(|folder| configure(folder, "vocab_size", json!(200)))?;
    assert_has(&refused(Tokenizer::load(folder.path())), &["299", "200 rows"]);
    load_refused(folder.path(), &["wte.weight", "[300, 32]", "[200, 32]"]);
    // A width of its own between the dense maps, and no marks.
    let folder = changed(|folder| {
        configure(folder, "n_inner", json!(128))?;
        configure(folder, "bos_token_id", Value::Null)?;
        configure(folder, "eos_token_id", Value::Null)
    })?;
    ensure!(answer(folder.path())? == answer(&tiny())?);
    let tokenizer = Tokenizer::load(folder.path())?;
    assert_eq!(tokenizer.encode(&["a"], 8)?, [[65]]);
    assert_has(&refused(tokenizer.prompt("")), &["prompt is empty"]);
    Ok(())
}

/// A copy of the tiny model's folder with something changed in it.
fn changed(change: impl FnOnce(&Path) -> Result<()>) -> Result<TempDir> {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    for file in ["config.json", WEIGHTS, "tokenizer.json"] {
        fs::copy(tiny().join(file), folder.path().join(file))?;
    }
    change(folder.path())?;
    Ok(folder)
}

/// A copy whose weights are in two shards; `change` works on the index's map from tensors to files.
fn sharded(change: impl FnOnce(&mut Value)) -> Result<TempDir> {
    changed(|folder| {
        let all = stored(folder)?;
        fs::remove_file(folder.join(WEIGHTS))?;
        let half = all.len() / 2;
        let mut map = json!({});
        for (number, part) in [&all[..half], &all[half..]].into_iter().enumerate() {
            let file = format!("model-{}.safetensors", number + 1);
            write(&folder.join(&file), part)?;
            part.iter().for_each(|(name, ..)| map[name] = json!(file));
        }
        change(&mut map);
        let index = json!({"metadata": {"total_size": 0}, "weight_map": map});
        Ok(fs::write(folder.join("model.safetensors.index.json"), index.to_string())?)
    })
}

fn stored(folder: &Path) -> Result<Stored> {
    let bytes = fs::read(folder.join(WEIGHTS))?;
    let tensors = SafeTensors::deserialize(&bytes)?.tensors();
    let own = tensors
        .into_iter()
        .map(|(name, view)| (name, view.dtype(), view.shape().to_vec(), view.data().to_vec()));
    let mut own: Stored = own.collect();
    own.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(own)
}

fn rewrite(folder: &Path, change: impl FnOnce(&mut Stored)) -> Result<()> {
    let mut all = stored(folder)?;
    change(&mut all);
    write(&folder.join(WEIGHTS), &all)
}

fn write(file: &Path, tensors: &[(String, Dtype, Vec<usize>, Vec<u8>)]) -> Result<()> {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        Ok((name.clone(), TensorView::new(*dtype, shape.clone(), bytes)?))
    });
    let views: Vec<(String, TensorView)> = views.collect::<Result<_>>()?;
    Ok(fs::write(file, serialize(views, None)?)?)
}

fn tensor(name: &str, shape: &[usize]) -> (String, Dtype, Vec<usize>, Vec<u8>) {
    (name.to_owned(), Dtype::F32, shape.to_vec(), vec![0; 4 * shape.iter().product::<usize>()])
}

fn weights_refused(change: impl FnOnce(&mut Stored), words: &[&str]) -> Result<()> {
    let folder = changed(|folder| rewrite(folder, change))?;
    load_refused(folder.path(), words);
    Ok(())
}

fn load_refused(folder: &Path, words: &[&str]) {
    assert_has(&refused(Gpt2::load(folder, &Device::default())), words);
}

fn configure(folder: &Path, field: &str, value: Value) -> Result<()> {
    let file = folder.join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
    config.as_object_mut().context("not an object")?.insert(field.to_owned(), value);
    Ok(fs::write(file, config.to_string())?)
}

/// The logits of a few tokens.
fn answer(folder: &Path) -> Result<Vec<f32>> {
    let device = Device::default();
    let tokens = Tensor::<2, Int>::from_data([[0, 7, 250, 3]], &device);
    Ok(Gpt2::load(folder, &device)?.forward(tokens).into_data().iter::<f32>().collect())
}

fn tiny() -> PathBuf {
    fixture("gpt2_tiny")
}
