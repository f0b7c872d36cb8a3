//! No file makes the readers panic, and what a table's writer wrote is read back.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use anyhow::Result;
use finetune::data::{
    BadRecords, ClassWeights, Format, LabelFrom, Table, TextColumns, TextFrom, TextRecords, celeba,
    image_folder, qqp,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tempfile::tempdir;

use crate::tools::{leave_out, names};

const FORMATS: [Format; 5] =
    [Format::Csv, Format::Semicolon, Format::Tsv, Format::PlainTsv, Format::JsonLines];

fn failed(error: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

/// Reads bytes in each format, with columns that the table has.
fn read_all(bytes: &[u8]) {
    for format in FORMATS {
        let Ok(table) = Table::parse(Path::new("own"), bytes, format) else { continue };
        let all = table.columns();
        for user in [None, all.get(2).cloned()] {
            let (Some(text), Some(label)) = (all.first(), all.get(1)) else { continue };
            let texts = [TextFrom::Column(text.clone()), TextFrom::Joined(vec![text.clone()])];
            let labels = [LabelFrom::Column(label.clone()), LabelFrom::Flags(vec![label.clone()])];
            for (text, label) in texts.into_iter().zip(labels) {
                let columns = TextColumns { text, label, user: user.clone() };
                let read = TextRecords::train(&table, &columns, &leave_out());
                assert!(read.is_err() || read.is_ok_and(|records| records.len() >= 10));
            }
        }
    }
}

/// Bytes that mean something to one format or another.
fn telling_bytes() -> impl Strategy<Value = Vec<u8>> {
    let parts: [&[u8]; 22] = [
        b",",
        b";",
        b"\t",
        b"\"",
        b"\"\"",
        b"\n",
        b"\r\n",
        b"\r",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b"null",
        b"0",
        b"1",
        b"text",
        b"\"label\"",
        b"\\",
        b"\xff",
        b"\xef\xbb\xbf",
        "\u{e9}".as_bytes(),
    ];
    prop::collection::vec(prop::sample::select(parts.to_vec()), 0..200)
        .prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read_all(&bytes);
    }

    #[test]
    fn telling_bytes_never_panic(bytes in telling_bytes()) {
        read_all(&bytes);
        read_all(&[b"text,label,user\n".as_slice(), &bytes].concat());
    }

    #[test]
    fn what_is_written_is_read(
        rows in prop::collection::vec(("[a-c,;\t\"\n\r \u{e9}]{0,6}[a-z]", "[ab]"), 12..30),
        at in any::<prop::sample::Index>(),
        crlf: bool,
    ) {
        let end = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        for (format, delimiter) in [(Format::Csv, b','), (Format::Semicolon, b';'), (Format::Tsv, b'\t')] {
            let mut writer =
                csv::WriterBuilder::new().delimiter(delimiter).terminator(end).flexible(true).from_writer(Vec::new());
            writer.write_record(["text", "label"]).map_err(failed)?;
            // One row has a field too many; the lines before it are counted in the bytes before it.
            let (at, mut line) = (at.index(rows.len()), 0);
            for (index, (text, label)) in rows.iter().enumerate() {
                if index == at {
                    writer.flush().map_err(failed)?;
                    line = lines(writer.get_ref()) + 1;
                    writer.write_record(["a", "b", "c"]).map_err(failed)?;
                }
                writer.write_record([text, label]).map_err(failed)?;
            }
            let bytes = writer.into_inner().map_err(failed)?;
            let table = Table::parse(Path::new("own"), &bytes, format).map_err(failed)?;
            let columns = TextColumns {
                text: TextFrom::Column("text".into()),
                label: LabelFrom::Column("label".into()),
                user: None,
            };
            let mut options = leave_out();
            options.classes = Some(names(&["a", "b", "c"]));
            match TextRecords::train(&table, &columns, &options) {
                Ok(read) => {
                    let texts: Vec<&String> = read.texts.iter().map(|(text, _)| text).collect();
                    prop_assert_eq!(texts, rows.iter().map(|(text, _)| text).collect::<Vec<_>>());
                }
                Err(error) => prop_assert!(error.to_string().contains("one class only"), "{}", error),
            }
            options.bad_records = BadRecords::Refuse;
            let error = TextRecords::train(&table, &columns, &options).map(|_| ()).map_err(|e| e.to_string());
            let told = format!("line {line}: 3 fields instead of 2");
            prop_assert!(error.as_ref().is_err_and(|error| error.contains(&told)), "{}: {:?}", told, error);
        }
    }

    #[test]
    fn arbitrary_class_weights_never_panic(text in "[a-c=,.0-9 e-]{0,20}") {
        if let Ok(weights) = ClassWeights::parse(&text, &names(&["a", "b", "c"])) {
            prop_assert!(weights.weights().iter().all(|weight| weight.is_finite() && *weight > 0.0));
        }
    }
}

/// Line breaks: LF, CRLF, or CR alone.
fn lines(bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    text.matches(['\n', '\r']).count()
}

fn small_images() -> Result<[Vec<u8>; 2]> {
    let image = image::RgbImage::from_fn(9, 7, |x, y| image::Rgb([x as u8 * 20, y as u8 * 30, 90]));
    let encode = |format| -> Result<Vec<u8>> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format)?;
        Ok(bytes.into_inner())
    };
    Ok([encode(image::ImageFormat::Png)?, encode(image::ImageFormat::Jpeg)?])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn damaged_images_never_panic(
        which in 0..2usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = small_images().map_err(failed)?[which].clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(bytes.len() / 2 + cut.index(bytes.len()));
        let folder = tempdir()?;
        fs::create_dir(folder.path().join("a"))?;
        fs::write(folder.path().join("a/x.png"), bytes)?;
        // One image is too little to train on, damaged or not.
        prop_assert!(image_folder(folder.path(), 4, &leave_out()).is_err());
    }

    #[test]
    fn arbitrary_standard_files_never_panic(
        bytes in telling_bytes(),
        more in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let folder = tempdir()?;
        fs::create_dir(folder.path().join("qqp"))?;
        fs::create_dir(folder.path().join("celeba"))?;
        let qqp_file = [b"question1\tquestion2\tis_duplicate\n".as_slice(), &bytes, &more].concat();
        fs::write(folder.path().join("qqp/train.tsv"), qqp_file)?;
        let celeba_file = [b"1\n".as_slice(), "a ".repeat(40).as_bytes(), b"\n", &bytes, &more].concat();
        fs::write(folder.path().join("celeba/list_attr_celeba.txt"), celeba_file)?;
        fs::write(folder.path().join("celeba/list_eval_partition.txt"), bytes)?;
        prop_assert!(qqp(folder.path()).is_err());
        prop_assert!(celeba(folder.path(), 4, BadRecords::LeaveOut).is_err());
    }
}
