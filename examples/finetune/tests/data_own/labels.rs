//! Classes, labels and class weights.

use anyhow::Result;
use finetune::data::{
    ClassWeights, LabelFrom, Labels, ReadOptions, TextColumns, TextFrom, TextRecords,
};

use crate::common::{assert_has, refused};
use crate::tools::{classes, columns, csv, names, rows, table_of, train};

#[test]
fn classes_of_the_data_are_sorted_and_said_to_be_public() -> Result<()> {
    let records = train(table_of(&rows()), &ReadOptions::default())?;
    assert_eq!(records.classes, ["bad", "good"]);
    assert_eq!(records.labels, Labels::Classes((0..12).map(|i| (i + 1) % 2).collect()));
    assert_has(&records.notes.join("\n"), &["`bad`, `good`", "`label`", "public", "--classes"]);

    // Given classes keep their order, and nothing needs to be said.
    let records = train(table_of(&rows()), &classes(&["good", "neither", "bad"]))?;
    assert_eq!(records.labels, Labels::Classes((0..12).map(|i| i % 2 * 2).collect()));
    assert_eq!(records.labels.counts(3), [6, 0, 6]);
    assert!(records.notes.is_empty());

    // Integers are sorted by value, spaces around a label are none of it.
    let numbers: Vec<String> = (0..12).map(|i| format!("t, {} ,u", [10, 9, -1][i % 3])).collect();
    assert_eq!(train(table_of(&numbers), &ReadOptions::default())?.classes, ["-1", "9", "10"]);
    Ok(())
}

#[test]
fn a_test_file_has_the_classes_of_the_training_file() -> Result<()> {
    let records = train(table_of(&rows()), &ReadOptions::default())?;
    let test = |text: &str| {
        let (columns, options) = (columns(None), ReadOptions::default());
        csv(text).and_then(|table| TextRecords::test(&table, &columns, &records, &options))
    };
    let tested = test("label,text\ngood,fine\n")?;
    assert_eq!(
        (tested.labels, tested.classes),
        (Labels::Classes(vec![1]), names(&["bad", "good"]))
    );
    assert_has(&refused(test("label,text\nnew,fine\n")), &["line 2", "`new`", "`bad`, `good`"]);
    assert_has(&refused(test("label,text\n")), &["no record to test on"]);
    Ok(())
}

#[test]
fn too_little_to_learn_from_is_refused() {
    let data = ReadOptions::default();
    let of = |count: usize, label: &dyn Fn(usize) -> String| {
        table_of(&(0..count).map(|i| format!("t{i},{},u", label(i))).collect::<Vec<_>>())
    };
    let two = |i: usize| (i % 2).to_string();
    assert_has(&refused(train(of(9, &two), &data)), &["9 records", "needs 10"]);
    assert_has(&refused(train("text,label\n", &data)), &["0 records"]);
    assert_has(&refused(train(of(12, &|_| "x".into()), &data)), &["one class only", "`x`"]);
    let named = classes(&["x", "y"]);
    assert_has(&refused(train(of(12, &|_| "x".into()), &named)), &["one class only"]);
    // Ids or measurements instead of classes.
    let error = refused(train(of(30, &|i| format!("{i}.5")), &data));
    assert_has(&error, &["30 different labels", "not classes", "--classes"]);
    let error = refused(train(of(12, &|i| ["Yes", "yes", "no"][i % 3].into()), &data));
    assert_has(&error, &["`Yes`", "`yes`", "case only"]);
}

#[test]
fn given_classes_are_checked() {
    let table = table_of(&rows());
    for (given, told) in [
        (&["good"][..], "two"),
        (&["good", "good"], "twice"),
        (&["good", ""], "empty"),
        (&["good", " bad"], "space"),
    ] {
        assert_has(&refused(train(&table, &classes(given))), &[told, "class"]);
    }
}

#[test]
fn several_label_columns_are_several_classes() -> Result<()> {
    let columns = TextColumns {
        text: TextFrom::Column("note".into()),
        label: LabelFrom::Flags(names(&["fever", "cough"])),
        user: None,
    };
    let read = |rows: &[&str]| {
        let table = format!("note,fever,cough\n{}\n", rows.join("\n"));
        TextRecords::train(&csv(table)?, &columns, &ReadOptions::default())
    };
    let records = read(&["a,0,1", "b,1, 1 ", "c,false,true", "d,0,0", "e,0,0"].repeat(2))?;
    let flags = [[false, true], [true, true], [false, true], [false, false], [false, false]];
    let flags = flags.concat().repeat(2);
    assert_eq!(records.labels, Labels::Multi { flags, classes: 2 });
    assert_eq!(
        (records.len(), records.labels.len(), records.labels.counts(2)),
        (10, 10, vec![2, 6])
    );
    assert_eq!(records.classes, ["fever", "cough"]);
    let table = csv("note,fever,cough\na,0,1\n")?;
    let named = TextRecords::train(&table, &columns, &classes(&["fever", "flu"]));
    assert_has(&refused(named), &["several label columns", "leave out --classes"]);
    let wrong = read(&["a,0,1", "b,2,1"].repeat(5));
    assert_has(&refused(wrong), &["line 3", "`fever`", "`2` instead of 0 or 1"]);
    Ok(())
}

#[test]
fn class_weights_come_from_the_user_alone() -> Result<()> {
    let classes = names(&["ill", "well", "a=b"]);
    let parse = |text: &str| ClassWeights::parse(text, &classes);
    assert_eq!(parse("well=0.5, ill=3")?.weights(), [3.0, 0.5, 1.0]);
    assert_eq!(parse("a=b=2")?.weights(), [1.0, 1.0, 2.0]);
    for (wrong, told) in [
        ("ill", "class=weight"),
        ("", "class=weight"),
        ("wel=1", "did you mean `well`?"),
        ("ill=1,ill=2", "twice"),
        ("ill=0", "not a positive number"),
        ("ill=-1", "not a positive number"),
        ("ill=NaN", "not a positive number"),
        ("ill=inf", "not a positive number"),
        ("ill=x", "`x`"),
    ] {
        assert_has(&refused(parse(wrong)), &["--class-weights", told]);
    }
    Ok(())
}
