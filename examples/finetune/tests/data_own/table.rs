//! Tables: the formats agree, and each mistake is told with its line.

use std::path::Path;

use anyhow::Result;
use finetune::data::{Format, LabelFrom, ReadOptions, Table, TextColumns, TextFrom, TextRecords};

use crate::common::{assert_has, refused};
use crate::tools::{classes, columns, csv, folder, leave_out, names, rows, table_of, train};

#[test]
fn all_formats_read_the_same_records() -> Result<()> {
    let record = |i: usize| (format!("a \"text\", {i}; with\ta tab"), ["bad", "good"][i % 2]);
    let written = |delimiter: u8| -> Result<Vec<u8>> {
        let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
        writer.write_record(["text", "label"])?;
        for (text, label) in (0..12).map(record) {
            writer.write_record([text.as_str(), label])?;
        }
        Ok(writer.into_inner()?)
    };
    let json: String = (0..12)
        .map(record)
        .map(|(text, label)| format!("{}\n", serde_json::json!({ "label": label, "text": text })))
        .collect();
    let crlf = String::from_utf8(written(b',')?)?.replace('\n', "\r\n");
    let with_mark = [b"\xef\xbb\xbf".as_slice(), crlf.as_bytes()].concat();
    let json_with_mark = format!("\u{feff}\n{}", json.replace('\n', "\r\n\r\n"));
    let files = [
        (Format::Csv, written(b',')?),
        (Format::Csv, crlf.into_bytes()),
        (Format::Csv, with_mark),
        (Format::Semicolon, written(b';')?),
        (Format::Tsv, written(b'\t')?),
        (Format::JsonLines, json.into_bytes()),
        (Format::JsonLines, json_with_mark.into_bytes()),
    ];
    let expected: Vec<_> = (0..12).map(|i| (record(i).0, None)).collect();
    let mut all = Vec::new();
    for (format, bytes) in files {
        let table = Table::parse(Path::new("own"), &bytes, format)?;
        all.push(TextRecords::train(&table, &columns(None), &ReadOptions::default())?);
    }
    assert_eq!(all[0].texts, expected);
    assert_eq!(all[0].classes, ["bad", "good"]);
    assert!(all.iter().all(|records| *records == all[0]));
    Ok(())
}

#[test]
fn the_ending_of_a_name_says_the_format() -> Result<()> {
    let table = table_of(&rows());
    let tabs = table.replace(',', "\t");
    let lines = "{\"text\": \"fine\", \"label\": 1}\n";
    let files: [(&str, &[u8]); 4] = [
        ("a.csv", table.as_bytes()),
        ("b.TSV", tabs.as_bytes()),
        ("c.jsonl", lines.as_bytes()),
        ("d.txt", table.as_bytes()),
    ];
    let folder = folder(&files)?;
    let read = |name: &str, format| Table::read(&folder.path().join(name), format);
    assert_eq!(read("a.csv", None)?.columns(), ["text", "label", "user"]);
    assert_eq!(read("b.TSV", None)?.columns(), ["text", "label", "user"]);
    assert_eq!(read("c.jsonl", None)?.columns(), ["text", "label"]);
    assert_has(&refused(read("d.txt", None)), &["d.txt", "--format", "json-lines"]);
    assert_eq!(read("d.txt", Some(Format::Csv))?.columns().len(), 3);
    assert_has(&refused(read("e.csv", None)), &["cannot read", "e.csv", "path"]);
    assert_has(&refused(Table::read(folder.path(), None)), &["is no file"]);
    Ok(())
}

#[test]
fn what_is_no_table_is_refused() {
    let cases: [(&[u8], Format, &[&str]); 12] = [
        (b"", Format::Csv, &["own", "is empty", "first line"]),
        (b"\xef\xbb\xbf", Format::Csv, &["is empty"]),
        (b"\n \n", Format::JsonLines, &["is empty"]),
        (b"PK\x03\x04...", Format::Csv, &["workbook", "export it as CSV"]),
        (b"PAR1", Format::Csv, &["Parquet", "convert"]),
        (b"\x1f\x8b\x08", Format::Tsv, &["compressed", "gunzip"]),
        (b"\xff\xfet\0e\0", Format::Csv, &["UTF-16", "UTF-8"]),
        (b"[{\"text\": 1}]", Format::JsonLines, &["JSON list", "one object a line"]),
        (b"text,label,text\n", Format::Csv, &["column 3", "`text`", "column 1", "rename"]),
        (b"text,l\xffbel\n", Format::Csv, &["column 2", "not UTF-8"]),
        (b"text,label\na,b\n\n\"c,d\ne,f\n", Format::Csv, &["line 4", "never closed"]),
        (b"text\tlabel\n\"a\tb\n", Format::Tsv, &["line 2", "never closed", "--format plain-tsv"]),
    ];
    for (bytes, format, told) in cases {
        assert_has(&refused(Table::parse(Path::new("own"), bytes, format)), told);
    }
    // Where a quote is a character, it need not be closed.
    assert!(Table::parse(Path::new("own"), b"text\tlabel\n\"a\tb\n", Format::PlainTsv).is_ok());
}

#[test]
fn bad_records_are_told_with_their_lines() -> Result<()> {
    let with = |line: usize, row: &str| {
        let mut rows = rows();
        rows[line - 2] = row.to_owned();
        table_of(&rows)
    };
    let given = classes(&["good", "bad"]);
    let cases: [(String, &[&str]); 6] = [
        (with(4, "a,good"), &["own.csv", "line 4", "2 fields instead of 3"]),
        (with(5, "a,good,u,v"), &["line 5", "4 fields instead of 3"]),
        (with(6, "  ,good,u"), &["line 6", "`text`", "is empty"]),
        (with(7, "a,god,u"), &["line 7", "`god`", "`good`, `bad`", "did you mean `good`?"]),
        (with(8, "a,,u"), &["line 8", "`label`", "is empty"]),
        (with(9, "\"two\nlines\",good,u\nb"), &["line 11", "1 field instead of 3"]),
    ];
    for (text, told) in cases {
        let error = refused(train(&text, &given));
        assert_has(&error, told);
        assert_has(&error, &["1 record", "--bad-records leave-out"]);
    }
    // Latin-1.
    let bytes: Vec<u8> =
        with(3, "caf~,good,u").bytes().map(|b| if b == b'~' { 0xe9 } else { b }).collect();
    assert_has(&refused(train(bytes, &given)), &["line 3", "`text`", "not UTF-8"]);
    // The first five, and how many more.
    let many = table_of(&vec!["a,wrong,u".to_owned(); 12]);
    let error = refused(train(many, &given));
    assert_has(&error, &["12 records", "line 2:", "line 6:", "7 more"]);
    assert!(!error.contains("line 7:"), "{error}");
    // An empty user.
    let table = csv(with(10, "a,good, "))?;
    let error = refused(TextRecords::train(&table, &columns(Some("user")), &given));
    assert_has(&error, &["line 10", "`user`", "is empty"]);
    Ok(())
}

#[test]
fn bad_records_are_left_out_and_counted() -> Result<()> {
    let mut rows = rows();
    rows.extend(["short", ",good,u", ",good,u", "a,unheard of,u"].map(str::to_owned));
    let mut options = leave_out();
    options.classes = Some(names(&["good", "bad"]));
    let records = train(table_of(&rows), &options)?;
    assert_eq!(records.len(), 12);
    let [note] = records.notes.as_slice() else { panic!("{:?}", records.notes) };
    assert_has(
        note,
        &["own.csv", "4 records", "1 with another number of fields", "2 without a text"],
    );
    assert_has(note, &["1 without a label"]);
    // A bad record decides nothing, not even that its label is a class.
    options.classes = None;
    rows.push(",a third class,u".into());
    rows.retain(|row| !row.contains("unheard"));
    assert_eq!(train(table_of(&rows), &options)?.classes, ["bad", "good"]);
    Ok(())
}

#[test]
fn json_records_that_are_none_are_told() -> Result<()> {
    let good: String =
        (0..12).map(|i| format!("{{\"text\": \"t{i}\", \"label\": {}}}\n", i % 2)).collect();
    let cases: [(&[u8], &[&str]); 8] = [
        (b"{\"text\": \"a\"", &["line 13", "column"]),
        (b"17", &["line 13", "a JSON object"]),
        (b"{\"text\": \"a\", \"text\": \"b\", \"label\": 1}", &["`text`", "twice"]),
        (b"{\"text\": \"a\", \"label\": 1} x", &["trailing"]),
        (b"{\"text\": [\"a\"], \"label\": 1}", &["`text`", "list"]),
        (b"{\"text\": null, \"label\": 1}", &["`text`", "empty"]),
        (b"{\"label\": 1}", &["`text`", "empty"]),
        (b"{\"text\": \"caf\xe9\", \"label\": 1}", &["byte 14", "not UTF-8"]),
    ];
    for (line, told) in cases {
        let bytes = [good.as_bytes(), line].concat();
        let read = Table::parse(Path::new("own.jsonl"), &bytes, Format::JsonLines)
            .and_then(|table| TextRecords::train(&table, &columns(None), &ReadOptions::default()));
        assert_has(&refused(read), told);
        assert_has(
            &refused(Table::parse(Path::new("x"), &bytes, Format::JsonLines)),
            &["accepted"],
        );
    }
    // Very deep nesting overflows no stack.
    let deep = format!("{{\"text\": {}", "[".repeat(200_000));
    let table = Table::parse(Path::new("own.jsonl"), deep.as_bytes(), Format::JsonLines)?;
    assert!(refused(table_error(&table)).contains("`text`"));
    Ok(())
}

fn table_error(table: &Table) -> Result<TextRecords> {
    TextRecords::train(table, &columns(None), &ReadOptions::default())
}

#[test]
fn columns_that_are_missing_or_have_two_roles_are_told() -> Result<()> {
    let read = |text: &str, table: &str, label: &str, user: Option<&str>| -> Result<String> {
        let columns = TextColumns {
            text: TextFrom::Column(text.into()),
            label: LabelFrom::Column(label.into()),
            user: user.map(str::to_owned),
        };
        Ok(refused(TextRecords::train(&csv(table)?, &columns, &ReadOptions::default())))
    };
    let table = table_of(&rows());
    assert_has(
        &read("txt", &table, "label", None)?,
        &["no column `txt`", "did you mean `text`?", "`user`"],
    );
    assert_has(&read("text", &table, "Labels", None)?, &["`Labels`", "did you mean `label`?"]);
    assert_has(&read("text", &table, "label", Some("patient"))?, &["no column `patient`"]);
    assert_has(&read("text", &table, "text", None)?, &["both the input and the label"]);
    assert_has(&read("text", &table, "label", Some("label"))?, &["both the label and the user"]);
    let other = table.replace(',', ";");
    assert_has(&read("text", &other, "label", None)?, &["separated by `;`", "--format semicolon"]);
    let other = table.replace(',', "\t");
    assert_has(&read("text", &other, "label", None)?, &["separated by tabs", "--format tsv"]);
    let twice = TextColumns { text: TextFrom::Joined(names(&["text", "text"])), ..columns(None) };
    let error = refused(TextRecords::train(&csv(&table)?, &twice, &ReadOptions::default()));
    assert_has(&error, &["`text` is named twice"]);
    Ok(())
}
