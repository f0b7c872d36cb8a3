//! Folders that differ from what transformers saves today, and are read all the same.

mod changed;
mod common;

use std::fs;

use anyhow::{Result, ensure};
use burn::tensor::Device;
use changed::{WEIGHTS, changed, edit, load, load_refused, pooled, tensors};
use common::{assert_has, fixture, refused};
use finetune::models::text::{Pooling, TextEncoder};
use serde_json::{Value, json};

#[test]
fn names_may_have_the_prefix_of_a_task_or_none() -> Result<()> {
    for (name, prefix) in [
        ("text_bert", "bert."),
        ("text_roberta", "roberta."),
        ("text_xlm_roberta", "roberta."),
        ("text_distilbert", "distilbert."),
    ] {
        let expected = pooled(&fixture(name), Pooling::Cls)?;
        let without = changed(name, |folder| {
            tensors(folder, WEIGHTS, |key| Some(key.strip_prefix(prefix).unwrap_or(key).to_owned()))
        })?;
        let with = changed(name, |folder| {
            tensors(folder, WEIGHTS, |key| {
                Some(format!("{prefix}{}", key.strip_prefix(prefix).unwrap_or(key)))
                    .filter(|key| !key.contains("head.") && !key.contains("cls."))
                    .filter(|key| !key.contains("classifier."))
            })
        })?;
        for folder in [without, with] {
            assert_eq!(pooled(folder.path(), Pooling::Cls)?, expected, "{name}");
        }
    }
    Ok(())
}

#[test]
fn older_names_are_known() -> Result<()> {
    // bert-base-uncased is published so.
    let folder = changed("text_bert", |folder| {
        tensors(folder, WEIGHTS, |key| {
            let key = key.replace("LayerNorm.weight", "LayerNorm.gamma");
            Some(key.replace("LayerNorm.bias", "LayerNorm.beta"))
        })
    })?;
    let expected = pooled(&fixture("text_bert"), Pooling::Pooler)?;
    assert_eq!(pooled(folder.path(), Pooling::Pooler)?, expected);
    // Files from before 2020 say less.
    let folder = changed("text_bert", |folder| {
        edit(folder, "config.json", |config| {
            for field in ["model_type", "pad_token_id", "layer_norm_eps", "is_decoder"] {
                config[field] = Value::Null;
            }
        })
    })?;
    assert_eq!(pooled(folder.path(), Pooling::Pooler)?, expected);
    Ok(())
}

#[test]
fn activations_go_by_their_formula() -> Result<()> {
    let of = |name: &str| {
        let folder = changed("text_bert", |folder| {
            edit(folder, "config.json", |config| config["hidden_act"] = json!(name))
        })?;
        pooled(folder.path(), Pooling::Mean)
    };
    assert_eq!(of("gelu_new")?, of("gelu_pytorch_tanh")?);
    ensure!(of("gelu")? != of("gelu_new")? && of("gelu")? != of("relu")?);
    Ok(())
}

// How texts are pooled.

#[test]
fn sentence_transformers_says_how_texts_are_pooled() -> Result<()> {
    assert_eq!(Pooling::of(&fixture("text_bert"))?, None);
    assert_eq!(load(&fixture("text_bert"))?.pooling, Pooling::Mean);
    let modules = json!([
        { "idx": 0, "path": "", "type": "sentence_transformers.models.Transformer" },
        { "idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling" },
    ]);
    let older = json!({ "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false });
    let cases = [
        (older, Ok(Pooling::Cls)),
        (json!({ "pooling_mode_mean_tokens": true }), Ok(Pooling::Mean)),
        (json!({ "pooling_mode": "cls" }), Ok(Pooling::Cls)),
        (json!({ "pooling_mode": ["mean"] }), Ok(Pooling::Mean)),
        (json!({ "word_embedding_dimension": 32 }), Ok(Pooling::Mean)),
        (json!({ "pooling_mode_max_tokens": true }), Err("pooling_mode is max_tokens")),
        (json!({ "pooling_mode": ["cls", "mean"] }), Err("pooling_mode is cls with mean")),
        (json!({ "pooling_mode": 1 }), Err("pooling_mode is 1")),
    ];
    for (config, expected) in cases {
        for modules in [None, Some(&modules)] {
            let folder = changed("text_bert", |folder| {
                fs::create_dir(folder.join("1_Pooling"))?;
                fs::write(folder.join("1_Pooling/config.json"), config.to_string())?;
                modules.map_or(Ok(()), |modules| {
                    Ok(fs::write(folder.join("modules.json"), modules.to_string())?)
                })
            })?;
            match expected {
                Ok(pooling) => assert_eq!(load(folder.path())?.pooling, pooling, "{config}"),
                Err(words) => load_refused(&folder, &[words, "1_Pooling"]),
            }
            // What you ask for counts.
            ensure!(
                pooled(folder.path(), Pooling::Cls)?
                    == pooled(&fixture("text_bert"), Pooling::Cls)?
            );
        }
    }
    for (modules, words) in [
        (json!([{ "path": "../other", "type": "models.Pooling" }]), "../other"),
        (json!([{ "path": "2_Pooling", "type": "models.Pooling" }]), "2_Pooling"),
        (json!({}), "modules.json is damaged"),
    ] {
        let folder = changed("text_bert", |folder| {
            Ok(fs::write(folder.join("modules.json"), modules.to_string())?)
        })?;
        load_refused(&folder, &[words]);
    }
    Ok(())
}

#[test]
fn a_pooler_that_is_not_there_is_refused() {
    for (name, tensor) in [
        ("text_roberta", "`roberta.pooler.dense.weight`"),
        ("text_distilbert", "`distilbert.pooler.dense.weight`"),
    ] {
        let encoder = TextEncoder::load_with(&fixture(name), Pooling::Pooler, &Device::default());
        assert_has(&refused(encoder), &["no pooler", tensor, "mean or cls"]);
    }
}
