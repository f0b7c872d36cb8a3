//! Every method takes a private step on every family of models that a folder may hold.

mod common;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use common::fixture;
use finetune::run::task::{
    AnyTask, ImageArgs, ImageSet, OwnArgs, OwnImages, OwnTexts, TextArgs, TextSet,
};
use finetune::run::{Args, Method};
use tempfile::tempdir;

const TEXTS: [&str; 6] = [
    "text_tiny",
    "text_bert",
    "text_roberta",
    "text_xlm_roberta",
    "text_distilbert",
    "text_sharded",
];
const IMAGES: [&str; 8] = [
    "vision_vit",
    "vision_deit",
    "vision_beit",
    "vision_beit_shared",
    "vision_resnet_basic",
    "vision_resnet_bottleneck",
    "vision_resnet_gn",
    "vision_resnet_timm",
];

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    run: Args,
}

#[derive(Parser)]
struct Own {
    #[command(flatten)]
    data: OwnArgs,
}

fn own(words: &[&str]) -> Result<OwnArgs> {
    Ok(Own::try_parse_from([&["own"], words].concat())?.data)
}

/// One private step by each method.
fn every_method(task: &AnyTask, folder: &Path, name: &str) -> Result<()> {
    for method in Method::value_variants() {
        let out = folder.join(method.name());
        let words = format!(
            "run --method {} --steps 2 --batch 8 --physical 8 --epsilon 8 --seed 1",
            method.name()
        );
        let mut args = Flags::try_parse_from(words.split(' '))?.run;
        args.out = Some(out);
        let summary =
            task.fine_tune(&args, folder).with_context(|| format!("{name}, {}", method.name()))?;
        assert_eq!(summary.epsilon.is_some(), *method != Method::None, "{name}, {}", method.name());
        assert!(summary.loss.is_finite(), "{name}, {}", method.name());
    }
    Ok(())
}

#[test]
fn text_models_train_by_every_method() -> Result<()> {
    for name in TEXTS {
        let folder = tempdir()?;
        let table = folder.path().join("table.csv");
        let rows: String =
            (0..40).map(|i| format!("it was {} {i},{}\n", ["good", "bad"][i % 2], i % 2)).collect();
        fs::write(&table, format!("text,label\n{rows}"))?;
        let data = own(&[
            "--train",
            &table.display().to_string(),
            "--label",
            "label",
            "--held-out-one-in",
            "4",
        ])?;
        let set = TextSet::Own(Box::new(OwnTexts {
            data,
            text: vec!["text".into()],
            columns_as_text: Vec::new(),
        }));
        let args = TextArgs { model: Some(fixture(name)), length: 12, ..TextArgs::default() };
        every_method(&AnyTask::Texts { set, args }, folder.path(), name)?;
    }
    Ok(())
}

#[test]
fn image_models_train_by_every_method() -> Result<()> {
    for name in IMAGES {
        let folder = tempdir()?;
        let photos = folder.path().join("photos");
        for i in 0..40u8 {
            let class = photos.join(["left", "right"][usize::from(i % 2)]);
            fs::create_dir_all(&class)?;
            let pixel = |at: usize| if (at / 3 % 8 < 4) == (i % 2 == 0) { 200 - i } else { i };
            let pixels: Vec<u8> = (0..8 * 8 * 3).map(pixel).collect();
            let mut encoder =
                png::Encoder::new(fs::File::create(class.join(format!("{i}.png")))?, 8, 8);
            encoder.set_color(png::ColorType::Rgb);
            encoder.write_header()?.write_image_data(&pixels)?;
        }
        let data = own(&["--train", &photos.display().to_string(), "--held-out-one-in", "4"])?;
        let set = ImageSet::Own(Box::new(OwnImages { data, path: None }));
        let args = ImageArgs { model: Some(fixture(name)), ..ImageArgs::default() };
        every_method(&AnyTask::Images { set, args }, folder.path(), name)?;
    }
    Ok(())
}
