//! The program as somebody starts it who brings a model folder and data.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

/// Text models and image models as Hugging Face saves them, of random weights.
fn model(name: &str) -> String {
    fixture(name).display().to_string()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../finetune/tests/data").join(name)
}

/// Runs the program in `folder`, where its data folder is too.
fn started(folder: &Path, words: &[&str]) -> Result<Output> {
    Ok(Command::new(env!("CARGO_BIN_EXE_dp-finetune"))
        .args(words)
        .current_dir(folder)
        .env("BURN_DP_DATA", folder.join("data"))
        .output()?)
}

fn finished(folder: &Path, words: &[&str]) -> Result<String> {
    let output = started(folder, words)?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{words:?}: {told}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn summary(folder: &Path) -> Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(folder.join("out/run.json"))?)?)
}

/// Notes of sixty people, three of each.
fn notes(folder: &Path) -> Result<()> {
    let mut text = String::from("note,diagnosis,person\n");
    for record in 0..180 {
        let (word, diagnosis) =
            if record % 3 == 0 { ("fever", "ill") } else { ("good sleep", "well") };
        text += &format!("\"{word} on day {record}, again\",{diagnosis},p{}\n", record / 3);
    }
    Ok(fs::write(folder.join("notes.csv"), text)?)
}

const NOTES: [&str; 7] = ["text", "--train", "notes.csv", "--text", "note", "--label", "diagnosis"];
const SHORT: [&str; 8] = ["--steps", "3", "--batch", "40", "--seed", "1", "--out", "out"];

fn with_notes() -> Result<TempDir> {
    let folder = tempdir()?;
    notes(folder.path())?;
    Ok(folder)
}

#[test]
fn own_texts_train_a_folders_model_and_are_classified() -> Result<()> {
    let folder = with_notes()?;
    let model = model("text_roberta");
    let words =
        [&NOTES[..], &["--model", &model, "--length", "12", "--method", "bitfit"], &SHORT].concat();
    let output = started(folder.path(), &words)?;
    let (told, noted) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(told.contains("differential privacy"), "{told} {noted}");
    // The classes came from the data, and the program says what that means.
    ensure!(noted.contains("note: ") && noted.contains("public"), "{noted}");
    let run = summary(folder.path())?;
    assert_eq!(run["classes"], serde_json::json!(["ill", "well"]));
    assert!(run["epsilon"].as_f64().context("no epsilon")? <= 3.0);
    assert!(folder.path().join("out/report.html").exists());
    let told =
        finished(folder.path(), &["predict", "--run", "out", "--test", "2", "fever on Monday"])?;
    assert_eq!(told.lines().count(), 3);
    Ok(())
}

#[test]
fn users_are_protected_with_all_that_they_have() -> Result<()> {
    let folder = with_notes()?;
    let model = model("text_distilbert");
    let own =
        ["--model", &model, "--length", "12", "--user-column", "person", "--records-per-user", "2"];
    let words = [&NOTES[..], &own, &["--classes", "ill,well", "--method", "lora"]].concat();
    let short = ["--steps", "3", "--batch", "20", "--seed", "1", "--out", "out"];
    let told = finished(folder.path(), &[&words[..], &short].concat())?;
    ensure!(told.contains("A record of this statement is a user"), "{told}");
    ensure!(told.contains("users"), "{told}");
    Ok(())
}

#[test]
fn pairs_numbers_and_several_answers_are_read() -> Result<()> {
    let folder = tempdir()?;
    let mut table = String::from("first;second;same;age;pulse;tall;old\n");
    for record in 0..120 {
        let (same, tall) = (record % 2, (record / 2) % 2);
        table += &format!(
            "a {record};b {};{same};{};{};{tall};{same}\n",
            record / 2,
            20 + record % 60,
            50 + record % 50
        );
    }
    fs::write(folder.path().join("table.csv"), table)?;
    let model = model("text_bert");
    let common = [
        "text",
        "--train",
        "table.csv",
        "--format",
        "semicolon",
        "--model",
        &model,
        "--length",
        "16",
    ];
    for (name, kind) in [
        ("pairs", vec!["--text", "first,second", "--label", "same"]),
        (
            "numbers",
            vec!["--columns-as-text", "age,pulse", "--label", "same", "--class-weights", "1=3"],
        ),
        ("answers", vec!["--text", "first", "--label", "tall,old"]),
    ] {
        let short =
            ["--steps", "2", "--batch", "30", "--seed", "1", "--method", "full", "--out", name];
        finished(folder.path(), &[&common[..], &kind, &short].concat())?;
        ensure!(folder.path().join(name).join("model.safetensors").exists(), "{name}");
    }
    Ok(())
}

/// A folder of little images, white or black above.
fn photos(folder: &Path) -> Result<()> {
    for class in ["cats", "dogs"] {
        fs::create_dir_all(folder.join("photos").join(class))?;
        for number in 0..40u8 {
            let image = image(class == "cats", number);
            fs::write(folder.join("photos").join(class).join(format!("{number}.png")), image)?;
        }
    }
    Ok(())
}

/// A PNG of 4 x 4 gray pixels, without compression.
fn image(light: bool, number: u8) -> Vec<u8> {
    let mut rows = Vec::new();
    for y in 0..4u8 {
        rows.push(0);
        rows.extend((0..4u8).map(|x| if light == (y < 2) { 255 - x } else { x ^ number }));
    }
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        png.extend((data.len() as u32).to_be_bytes());
        let body = [kind.as_slice(), data].concat();
        png.extend(&body);
        png.extend(crc(&body).to_be_bytes());
    };
    chunk(b"IHDR", &[0, 0, 0, 4, 0, 0, 0, 4, 8, 0, 0, 0, 0]);
    let length = rows.len() as u16;
    let mut stored = vec![0x78, 0x01, 0x01];
    stored.extend(length.to_le_bytes());
    stored.extend((!length).to_le_bytes());
    stored.extend(&rows);
    stored.extend(adler(&rows).to_be_bytes());
    chunk(b"IDAT", &stored);
    chunk(b"IEND", &[]);
    png
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}

fn adler(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    (b << 16) | a
}

#[test]
fn own_images_train_a_folders_model_and_are_classified() -> Result<()> {
    let folder = tempdir()?;
    photos(folder.path())?;
    let model = model("vision_vit");
    let own =
        ["images", "--train", "photos", "--model", &model, "--method", "bitfit", "--views", "2"];
    finished(folder.path(), &[&own[..], &SHORT].concat())?;
    assert_eq!(summary(folder.path())?["classes"], serde_json::json!(["cats", "dogs"]));
    let told = finished(folder.path(), &["predict", "--run", "out", "photos/cats/1.png"])?;
    ensure!(told.contains("photos/cats/1.png"), "{told}");
    Ok(())
}

/// What somebody got wrong, the words that have to be in the answer, and how it comes about.
struct Mistake {
    told: &'static [&'static str],
    files: &'static [(&'static str, &'static str)],
    words: &'static [&'static str],
}

const MISTAKES: [Mistake; 9] = [
    Mistake {
        told: &["diagnosi", "did you mean", "diagnosis"],
        files: &[],
        words: &["text", "--train", "notes.csv", "--text", "note", "--label", "diagnosi"],
    },
    Mistake {
        told: &["--label"],
        files: &[],
        words: &["text", "--train", "notes.csv", "--text", "note"],
    },
    Mistake {
        told: &["line 2", "ill", "sick"],
        files: &[],
        words: &[
            "text",
            "--train",
            "notes.csv",
            "--text",
            "note",
            "--label",
            "diagnosis",
            "--classes",
            "sick,well",
        ],
    },
    Mistake {
        told: &["line 3", "empty", "leave-out"],
        files: &[("few.csv", "t,l\na,x\n ,y\nb,x\nc,y\nd,x\ne,y\nf,x\ng,y\nh,x\ni,y\nj,x\nk,y\n")],
        words: &["text", "--train", "few.csv", "--text", "t", "--label", "l"],
    },
    Mistake {
        told: &["one class only", "x"],
        files: &[("one.csv", "t,l\na,x\nb,x\nc,x\nd,x\ne,x\nf,x\ng,x\nh,x\ni,x\nj,x\nk,x\n")],
        words: &["text", "--train", "one.csv", "--text", "t", "--label", "l"],
    },
    Mistake {
        told: &["3 records"],
        files: &[("three.csv", "t,l\na,x\nb,y\nc,x\n")],
        words: &["text", "--train", "three.csv", "--text", "t", "--label", "l"],
    },
    Mistake {
        told: &["cats/0.png"],
        files: &[("photos/cats/0.png", "no image at all")],
        words: &["images", "--train", "photos"],
    },
    Mistake {
        told: &["missing.csv"],
        files: &[],
        words: &["text", "--train", "missing.csv", "--text", "t", "--label", "l"],
    },
    Mistake {
        told: &["--views"],
        files: &[],
        words: &[
            "text",
            "--train",
            "notes.csv",
            "--text",
            "note",
            "--label",
            "diagnosis",
            "--length",
            "12",
            "--views",
            "4",
        ],
    },
];

#[test]
fn mistakes_are_told_before_any_privacy_is_spent() -> Result<()> {
    for Mistake { told, files, words } in MISTAKES {
        let folder = with_notes()?;
        photos(folder.path())?;
        for (file, content) in files {
            fs::write(folder.path().join(file), content)?;
        }
        let model = model(if words[0] == "images" { "vision_vit" } else { "text_tiny" });
        let run = ["--model", &model, "--method", "full", "--checkpoint-every", "1"];
        let output = started(folder.path(), &[words, &run, &SHORT].concat())?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success(), "{words:?} was accepted");
        ensure!(!error.contains("panicked"), "{words:?}: {error}");
        for word in told {
            ensure!(error.contains(word), "{words:?}: no {word} in {error}");
        }
        ensure!(!folder.path().join("out").exists(), "{words:?} left results");
    }
    Ok(())
}

#[test]
fn a_language_model_learns_from_own_texts_and_writes() -> Result<()> {
    let folder = tempdir()?;
    let lines: String = (0..120).map(|i| format!("On day {i} the patient slept well.\n")).collect();
    fs::write(folder.path().join("texts.txt"), lines)?;
    let model = model("gpt2_tiny_guide");
    let words = [
        "language",
        "--train",
        "texts.txt",
        "--model",
        &model,
        "--steps",
        "4",
        "--seed",
        "1",
        "--length",
        "24",
    ];
    for method in ["full", "bitfit", "lora"] {
        let told = finished(
            folder.path(),
            &[&words[..], &["--method", method, "--out", method]].concat(),
        )?;
        ensure!(
            told.contains("perplexity after") && told.contains("differential privacy"),
            "{told}"
        );
        ensure!(folder.path().join(method).join("privacy.txt").exists(), "{method}");
    }
    let told = finished(folder.path(), &["write", "--model", "lora", "--tokens", "5", "On day 3"])?;
    ensure!(told.starts_with("On day 3"), "{told}");
    let output =
        started(folder.path(), &["language", "--train", "texts.txt", "--model", "nowhere"])?;
    ensure!(String::from_utf8_lossy(&output.stderr).contains("nowhere"), "no word of the folder");
    Ok(())
}

#[test]
fn features_that_were_computed_before_are_those_of_these_records() -> Result<()> {
    let folder = with_notes()?;
    let model = model("text_tiny");
    for held_out in ["a.csv", "b.csv", "a.csv"] {
        let text = format!("note,diagnosis\nfrom {held_out},ill\nslept well,well\n");
        fs::write(folder.path().join(held_out), text)?;
        let own = ["--held-out", held_out, "--model", &model, "--length", "12", "--method", "head"];
        finished(folder.path(), &[&NOTES[..], &own, &SHORT].concat())?;
    }
    // Those to train on and to test on, for either held-out file.
    assert_eq!(fs::read_dir(folder.path().join("data/features"))?.count(), 4);
    Ok(())
}
