//! What is said of folders that cannot be used: the field, tensor or file that is wrong.

mod changed;
mod common;

use std::fs;

use anyhow::Result;
use changed::{INDEX, WEIGHTS, changed, edit, load, load_refused, tensors};
use common::{assert_has, refused};
use finetune::models::text::{TextEncoderConfig, Tokenizer};
use serde_json::{Value, json};
use tempfile::TempDir;

// Errors about config.json.

#[test]
fn fields_that_are_not_built_are_named_as_the_family_names_them() -> Result<()> {
    let cases = [
        ("text_bert", "model_type", json!("gpt2"), "roberta, xlm-roberta or distilbert"),
        ("text_bert", "model_type", json!(7), "instead of a text"),
        ("text_bert", "position_embedding_type", json!("relative_key"), "only \"absolute\""),
        ("text_bert", "is_decoder", json!(true), "only false"),
        ("text_bert", "add_cross_attention", json!(true), "only false"),
        ("text_bert", "hidden_act", json!("silu"), "only gelu, gelu_new"),
        ("text_bert", "hidden_size", json!("32"), "instead of a count"),
        ("text_bert", "layer_norm_eps", json!("small"), "instead of a number"),
        ("text_bert", "type_vocab_size", json!(0), "give 1 to"),
        ("text_bert", "pad_token_id", json!(u64::MAX), "give 0 to"),
        ("text_roberta", "pad_token_id", json!(u64::MAX), "give 0 to"),
        ("text_roberta", "pad_token_id", json!(-1), "instead of a count"),
        ("text_roberta", "max_position_embeddings", json!(2), "give 3 to"),
        ("text_distilbert", "dim", Value::Null, "missing"),
        ("text_distilbert", "n_layers", json!(-1), "instead of a count"),
        ("text_distilbert", "n_heads", json!(5), "dim 32 cannot be shared by n_heads 5"),
        ("text_distilbert", "hidden_dim", json!(0), "give 1 to"),
        ("text_distilbert", "activation", json!("silu"), "only gelu"),
    ];
    for (name, field, value, words) in cases {
        let folder = changed(name, |folder| {
            edit(folder, "config.json", |config| config[field] = value.clone())
        })?;
        let error = refused(TextEncoderConfig::read(folder.path()));
        assert_has(&error, &["config.json", field, words]);
        load_refused(&folder, &[field, words]);
        assert_has(&refused(Tokenizer::load(folder.path())), &[field, words]);
    }
    Ok(())
}

#[test]
fn sizes_that_do_not_fit_the_tensors_are_named() -> Result<()> {
    let cases = [
        ("text_bert", "hidden_size", json!(36), "word_embeddings"),
        ("text_bert", "type_vocab_size", json!(3), "token_type_embeddings"),
        ("text_roberta", "max_position_embeddings", json!(50), "position_embeddings"),
        ("text_xlm_roberta", "intermediate_size", json!(64), "intermediate.dense"),
        ("text_distilbert", "dim", json!(64), "distilbert.embeddings.word_embeddings"),
        ("text_distilbert", "hidden_dim", json!(64), "ffn.lin1"),
    ];
    for (name, field, value, tensor) in cases {
        let folder = changed(name, |folder| {
            edit(folder, "config.json", |config| config[field] = value.clone())
        })?;
        load_refused(&folder, &[field, tensor, "has the shape", "model.safetensors"]);
    }
    // Fewer layers than the file has, and more.
    let depth = |layers: usize| {
        changed("text_roberta", |folder| {
            edit(folder, "config.json", |config| config["num_hidden_layers"] = json!(layers))
        })
    };
    load_refused(&depth(1)?, &["`roberta.encoder.layer.1.", "not used"]);
    load_refused(&depth(3)?, &["lacks", "`roberta.encoder.layer.2."]);
    Ok(())
}

#[test]
fn one_family_is_not_taken_for_another() -> Result<()> {
    let folder = changed("text_roberta", |folder| {
        edit(folder, "config.json", |config| config["model_type"] = json!("bert"))
    })?;
    load_refused(&folder, &["lacks", "`embeddings.word_embeddings.weight`", "the bert encoder"]);
    let folder = changed("text_distilbert", |folder| {
        edit(folder, "config.json", |config| config["model_type"] = json!("bert"))
    })?;
    load_refused(&folder, &["hidden_size is missing"]);
    Ok(())
}

// Errors about weights.

#[test]
fn tensors_left_over_are_named_unless_they_are_a_head() -> Result<()> {
    let add = |extra: &'static str| {
        changed("text_bert", move |folder| {
            tensors(folder, WEIGHTS, |key| {
                Some(if key == "cls.predictions.bias" { extra } else { key }.to_owned())
            })
        })
    };
    for head in ["classifier.bias", "qa_outputs.weight", "bert.embeddings.position_ids"] {
        load(add(head)?.path())?;
    }
    for other in ["bert.encoder.relative.weight", "bert.embeddings.project", "clspredictions"] {
        load_refused(&add(other)?, &[&format!("`{other}`"), "not used"]);
    }
    Ok(())
}

#[test]
fn weights_of_pytorch_are_refused_with_the_command_that_converts_them() -> Result<()> {
    for file in ["pytorch_model.bin", "pytorch_model.bin.index.json"] {
        let folder = changed("text_bert", |folder| {
            Ok(fs::rename(folder.join(WEIGHTS), folder.join(file))?)
        })?;
        load_refused(&folder, &[file, "save_file", "weights_only=True"]);
    }
    let folder = changed("text_bert", |folder| Ok(fs::remove_file(folder.join(WEIGHTS))?))?;
    load_refused(&folder, &["neither model.safetensors nor model.safetensors.index.json"]);
    Ok(())
}

#[test]
fn shards_that_do_not_fit_together_are_named() -> Result<()> {
    let (first, second) = ("model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors");
    let word = "embeddings.word_embeddings.weight";
    let indexed =
        |change: fn(&mut Value)| changed("text_sharded", |folder| edit(folder, INDEX, change));

    let folder = changed("text_sharded", |folder| Ok(fs::remove_file(folder.join(second))?))?;
    load_refused(&folder, &["cannot read", second]);
    let folder = changed("text_sharded", |folder| Ok(fs::write(folder.join(second), "short")?))?;
    load_refused(&folder, &["cannot read", second]);
    let folder = changed("text_sharded", |folder| {
        tensors(folder, first, |key| Some(key.to_owned()).filter(|key| key != word))
    })?;
    load_refused(&folder, &[word, first, "lacks it"]);
    let folder = changed("text_sharded", |folder| {
        tensors(folder, first, |key| Some(key.replace(word, "pooler.dense.weight")))
    })?;
    load_refused(&folder, &["`pooler.dense.weight`", first, INDEX]);

    let folder = indexed(|index| {
        index["weight_map"]
            .as_object_mut()
            .map(|map| map.remove("embeddings.word_embeddings.weight"));
    })?;
    load_refused(&folder, &[word, "in no file"]);
    let folder = indexed(|index| index["weight_map"]["other"] = json!("../model.safetensors"))?;
    load_refused(&folder, &["../model.safetensors", "not a file of its folder"]);
    let folder = indexed(|index| index["weight_map"] = json!(1))?;
    load_refused(&folder, &[INDEX, "which file has which tensor"]);
    Ok(())
}

// Errors about tokenizers.

#[test]
fn tokenizers_that_do_not_fit_are_refused() -> Result<()> {
    let folder =
        changed("text_roberta", |folder| Ok(fs::remove_file(folder.join("tokenizer.json"))?))?;
    assert_has(
        &refused(Tokenizer::load(folder.path())),
        &["no tokenizer.json", "AutoTokenizer.from_pretrained"],
    );

    let mark = |id: u32, kind: u32| {
        changed("text_bert", |folder| {
            edit(folder, "tokenizer.json", |file| {
                file["post_processor"]["special_tokens"]["[SEP]"]["ids"] = json!([id]);
                file["post_processor"]["pair"][4]["SpecialToken"]["type_id"] = json!(kind);
            })
        })
    };
    let pair = |folder: &TempDir| Tokenizer::load(folder.path())?.encode_pairs(&[("a", "b")], 8);
    pair(&mark(3, 1)?)?;
    assert_has(&refused(pair(&mark(9999, 1)?)), &["the id 9999", "vocab_size"]);
    assert_has(&refused(pair(&mark(3, 2)?)), &["the id 2", "type_vocab_size is 2"]);

    let folder = changed("text_bert", |folder| {
        edit(folder, "config.json", |config| config["type_vocab_size"] = json!(1))
    })?;
    assert_has(&refused(pair(&folder)), &["second text of a pair", "type_vocab_size is 1"]);
    Ok(())
}
