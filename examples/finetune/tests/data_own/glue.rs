//! MNLI, QQP and QNLI, in small files that are written as the published ones are.

use anyhow::Result;
use finetune::data::{Labels, mnli, qnli, qqp};

use crate::common::{assert_has, refused};
use crate::tools::{folder, names};

const CLASSES: [&str; 3] = ["entailment", "neutral", "contradiction"];

/// GLUE's MNLI has two parses of each sentence before the sentences, and a label of each of `annotators`.
fn mnli_tsv(annotators: usize, wrong: &[&str]) -> String {
    let head: String = (1..=annotators).map(|number| format!("\tlabel{number}")).collect();
    let mut text = format!(
        "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t\
         sentence2_parse\tsentence1\tsentence2{head}\tgold_label\n"
    );
    for i in 0..12 {
        let label = CLASSES[i % 3];
        let row = format!(
            "{i}\t{i}{i}\t{i}e\tfiction\t( A b )\t( \"C )\t(ROOT (S A b))\t(ROOT \"C)\t\
             \"Well , number {i}\tHe said \"no\"."
        );
        text += &format!("{row}{}\t{label}\n", format!("\t{label}").repeat(annotators));
    }
    text + &wrong.concat()
}

#[test]
fn mnli_is_read_as_glue_writes_it() -> Result<()> {
    // The annotators of the last row agreed on nothing.
    let undecided = "x\t".repeat(10) + &"neutral\t".repeat(5) + "-\n";
    let (train, dev) = (mnli_tsv(1, &[]), mnli_tsv(5, &["torn\trow\n", &undecided]));
    let files: [(&str, &[u8]); 3] = [
        ("mnli/train.tsv", train.as_bytes()),
        ("mnli/dev_matched.tsv", dev.as_bytes()),
        ("mnli/dev_mismatched.tsv", dev.as_bytes()),
    ];
    let sets = mnli(folder(&files)?.path())?;
    // Quotes are characters.
    let pair = ("\"Well , number 4".to_owned(), Some("He said \"no\".".to_owned()));
    for set in [&sets.train, &sets.matched, &sets.mismatched] {
        assert_eq!((set.len(), &set.texts[4], &set.classes), (12, &pair, &names(&CLASSES)));
        assert_eq!(set.labels, Labels::Classes([0, 1, 2].repeat(4)));
    }
    assert_has(&sets.train.notes.join("\n"), &["12 records", "392702"]);
    let told = sets.matched.notes.join("\n");
    assert_has(&told, &["left out 2 records", "1 with another number of fields", "9815"]);
    assert_has(&told, &["1 without a label"]);
    Ok(())
}

#[test]
fn mnli_is_read_as_hugging_face_exports_it() -> Result<()> {
    let hypothesis = "it, \"h\"";
    let record = |i: usize| {
        let (premise, label) = (format!("p{i}"), i % 3);
        serde_json::json!({ "premise": premise, "hypothesis": hypothesis, "label": label, "idx": i })
    };
    let lines: String = (0..12).map(|i| format!("{}\n", record(i))).collect();
    // With names instead of numbers.
    let row = |i: usize| format!("p{i},\"it, \"\"h\"\"\",{},{i}\n", CLASSES[i % 3]);
    let csv = "premise,hypothesis,label,idx\n".to_owned() + &(0..12).map(row).collect::<String>();
    let files: [(&str, &[u8]); 3] = [
        ("mnli/train.jsonl", lines.as_bytes()),
        ("mnli/validation_matched.csv", csv.as_bytes()),
        ("mnli/validation_mismatched.json", lines.as_bytes()),
    ];
    let sets = mnli(folder(&files)?.path())?;
    assert_eq!(sets.train.texts[7], ("p7".to_owned(), Some("it, \"h\"".to_owned())));
    for set in [&sets.matched, &sets.mismatched] {
        assert_eq!((&set.texts, &set.labels), (&sets.train.texts, &sets.train.labels));
        assert_eq!(set.classes, CLASSES);
    }
    Ok(())
}

fn qqp_tsv(more: &str) -> String {
    let row = |i: usize| format!("{i}\t{i}1\t{i}2\tWhat is \"{i}?\tWhy {i}?\t{}\n", i % 2);
    let rows: String = (0..12).map(row).collect();
    format!("id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n{rows}{more}")
}

#[test]
fn rows_that_qqp_tears_are_left_out() -> Result<()> {
    // A line break in the first question, and no second question.
    let torn = "90\t1\t2\tWhat is\nthis?\tWhy?\t0\n91\t1\t2\tWhat?\t\t0\n";
    let (train, dev) = (qqp_tsv(torn), qqp_tsv(""));
    let files: [(&str, &[u8]); 2] =
        [("qqp/train.tsv", train.as_bytes()), ("qqp/dev.tsv", dev.as_bytes())];
    let split = qqp(folder(&files)?.path())?;
    assert_eq!((split.train.len(), split.test.len()), (12, 12));
    assert_eq!(split.train.texts[3], ("What is \"3?".to_owned(), Some("Why 3?".to_owned())));
    assert_eq!(split.train.labels, Labels::Classes([0, 1].repeat(6)));
    assert_eq!(split.train.classes, ["not_duplicate", "duplicate"]);
    let told = split.train.notes.join("\n");
    assert_has(
        &told,
        &["left out 3 records", "2 with another number of fields", "1 without a text"],
    );

    // A file of mostly torn rows is another file.
    let other = qqp_tsv(&"torn\n".repeat(11));
    let files: [(&str, &[u8]); 2] =
        [("qqp/train.tsv", other.as_bytes()), ("qqp/dev.tsv", dev.as_bytes())];
    assert_has(
        &refused(qqp(folder(&files)?.path())),
        &["train.tsv", "11 records", "of 23 records", "get it again"],
    );
    Ok(())
}

#[test]
fn qnli_is_read_and_what_is_missing_is_told() -> Result<()> {
    let row = |i: usize| {
        format!("{i}\tWho {i}?\tHe, {i}.\t{}\n", ["entailment", "not_entailment"][i % 2])
    };
    let rows: String = (0..12).map(row).collect();
    let text = format!("index\tquestion\tsentence\tlabel\n{rows}");
    let files: [(&str, &[u8]); 2] =
        [("qnli/train.tsv", text.as_bytes()), ("qnli/dev.tsv", text.as_bytes())];
    let split = qnli(folder(&files)?.path())?;
    assert_eq!(split.test.texts[1], ("Who 1?".to_owned(), Some("He, 1.".to_owned())));
    assert_eq!(split.test.labels, Labels::Classes([0, 1].repeat(6)));

    let nothing = folder(&[])?;
    assert_has(&refused(qnli(nothing.path())), &["qnli", "train.tsv", "put GLUE's"]);
    assert_has(&refused(mnli(nothing.path())), &["mnli", "train.tsv"]);
    let only: [(&str, &[u8]); 1] = [("qnli/train.tsv", text.as_bytes())];
    assert_has(&refused(qnli(folder(&only)?.path())), &["dev.tsv", "validation.jsonl"]);
    // GLUE's test sets have no labels; nor has another set these columns.
    let unlabeled =
        text.replace("\tlabel", "").replace("\tentailment", "").replace("\tnot_entailment", "");
    let files: [(&str, &[u8]); 1] = [("qnli/train.tsv", unlabeled.as_bytes())];
    assert_has(&refused(qnli(folder(&files)?.path())), &["train.tsv", "no column `label`"]);
    let files: [(&str, &[u8]); 1] = [("qqp/train.tsv", text.as_bytes())];
    assert_has(&refused(qqp(folder(&files)?.path())), &["no column"]);
    Ok(())
}
