//! The laws of the held-out split and of users' records.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::Result;
use finetune::data::{HeldOut, Labels, ReadOptions, Split, TextRecords};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::common::{assert_has, refused};
use crate::tools::{classes, columns, csv, rows, table_of, train};

type Case = std::result::Result<(), TestCaseError>;

/// Text, label, user.
type Record = (String, bool, u8);

/// The records and forty more, so that both sides have enough.
fn read(records: &[Record], users: bool) -> Result<TextRecords> {
    let more = (0..60).map(|i| (format!("filler {i}"), i % 2 == 0, 100 + i));
    let rows: Vec<String> = records
        .iter()
        .cloned()
        .chain(more)
        .map(|(text, label, user)| format!("{text},{label},user {user}"))
        .collect();
    let columns = columns(users.then_some("user"));
    TextRecords::train(&csv(table_of(&rows))?, &columns, &classes(&["false", "true"]))
}

fn split(
    records: &[Record],
    users: bool,
) -> std::result::Result<Split<TextRecords>, TestCaseError> {
    let split = read(records, users)
        .and_then(|records| records.split(HeldOut::one_in(3)?, Path::new("own.csv")));
    split.map_err(|error| TestCaseError::fail(format!("{error:#}")))
}

fn texts(records: &TextRecords) -> Vec<&str> {
    records.texts.iter().map(|(text, _)| text.as_str()).collect()
}

/// The texts and labels of each user, in the order of the units.
type ByUser = BTreeMap<String, Vec<(String, u32)>>;

fn by_user(records: &TextRecords) -> ByUser {
    let Labels::Classes(labels) = &records.labels else { panic!("kind") };
    let one = |record: &usize| (records.texts[*record].0.clone(), labels[*record]);
    let users = records.users.iter().flat_map(|users| users.iter());
    users.map(|(id, records)| (id.to_owned(), records.iter().map(one).collect())).collect()
}

fn some_records() -> impl Strategy<Value = Vec<Record>> {
    prop::collection::vec(("[ab]{1,2}[a-z]?", any::<bool>(), 0..8u8), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn removing_a_record_moves_no_other(records in some_records(), at in any::<prop::sample::Index>(), users: bool) {
        let mut fewer = records.clone();
        let removed = fewer.remove(at.index(records.len())).0;
        let (all, fewer) = (split(&records, users)?, split(&fewer, users)?);
        for (all, fewer) in [(&all.train, &fewer.train), (&all.test, &fewer.test)] {
            let mut expected = texts(all);
            if expected.len() > fewer.len() {
                // One record with the removed text is gone, from the side where that text was.
                let at = expected.iter().position(|text| *text == removed);
                prop_assert!(at.is_some());
                expected.remove(at.unwrap_or_default());
            }
            let (mut expected, mut found) = (expected, texts(fewer));
            expected.sort_unstable();
            found.sort_unstable();
            prop_assert_eq!(expected, found);
        }
    }

    #[test]
    fn order_moves_no_record(records in some_records(), users: bool) {
        let reversed: Vec<Record> = records.iter().rev().cloned().collect();
        let (one, other) = (split(&records, users)?, split(&reversed, users)?);
        let set = |records: &TextRecords| {
            let mut all: Vec<String> = texts(records).into_iter().map(str::to_owned).collect();
            all.sort_unstable();
            all
        };
        prop_assert_eq!(set(&one.train), set(&other.train));
        prop_assert_eq!(set(&one.test), set(&other.test));
        if users {
            prop_assert_eq!(by_user(&one.train), by_user(&other.train));
        }
    }

    #[test]
    fn a_user_or_a_text_is_on_one_side(records in some_records()) {
        let with_users = split(&records, true)?;
        let users = |records: &TextRecords| -> BTreeSet<String> {
            by_user(records).into_keys().collect()
        };
        prop_assert!(users(&with_users.train).is_disjoint(&users(&with_users.test)));
        let rule = HeldOut::one_in(3).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(users(&with_users.test).iter().all(|user| rule.takes_user(user)));
        let without = split(&records, false)?;
        let trained: BTreeSet<&str> = texts(&without.train).into_iter().collect();
        prop_assert!(texts(&without.test).iter().all(|text| !trained.contains(text)));
    }

    #[test]
    fn labels_stay_with_their_texts(records in some_records()) {
        // Each text says its label.
        let records: Vec<Record> =
            records.into_iter().map(|(text, label, user)| (format!("{text}{label}"), label, user)).collect();
        let split = split(&records, false)?;
        for side in [&split.train, &split.test] {
            let Labels::Classes(labels) = &side.labels else { return Err(TestCaseError::fail("kind")) };
            prop_assert_eq!(labels.len(), side.len());
            for (text, label) in texts(side).iter().zip(labels) {
                prop_assert!(text.starts_with("filler") || text.ends_with(["false", "true"][*label as usize]));
            }
        }
    }

    #[test]
    fn which_records_of_a_user_count_is_up_to_that_user(records in some_records(), cap in 1..4usize) {
        capped(&records, cap)?;
    }
}

/// Other users' records change nothing about the records of a user that are used.
fn capped(records: &[Record], cap: usize) -> Case {
    let cap = NonZeroUsize::new(cap).unwrap_or(NonZeroUsize::MIN);
    let used = |records: &[Record]| -> std::result::Result<ByUser, TestCaseError> {
        let read = read(records, true);
        let mut read = read.map_err(|error| TestCaseError::fail(error.to_string()))?;
        read.users = read.users.map(|users| users.capped(cap));
        Ok(by_user(&read))
    };
    let all = used(records)?;
    for user in 0..8u8 {
        let alone: Vec<Record> =
            records.iter().filter(|record| record.2 == user).cloned().collect();
        let id = format!("user {user}");
        let alone_used = used(&alone)?;
        prop_assert_eq!(all.get(&id), alone_used.get(&id));
        prop_assert_eq!(all.get(&id).map_or(0, Vec::len), alone.len().min(cap.get()));
    }
    Ok(())
}

#[test]
fn users_have_their_records() -> Result<()> {
    let records = TextRecords::train(
        &csv(table_of(&rows()))?,
        &columns(Some("user")),
        &ReadOptions::default(),
    )?;
    let users = records.users.unwrap_or_else(|| panic!("no users"));
    assert_eq!(users.len(), 5);
    let mut first = users.records(0).to_vec();
    first.sort_unstable();
    assert_eq!(first, [0, 5, 10]);
    assert_eq!(users.records(5), [0usize; 0]);
    let capped = users.clone().capped(NonZeroUsize::MIN);
    assert_eq!(capped.records(0), &users.records(0)[..1]);
    assert!(capped.iter().all(|(_, records)| records.len() == 1));
    Ok(())
}

#[test]
fn a_split_that_leaves_too_little_is_refused() -> Result<()> {
    let rule = HeldOut::one_in(1_000_000)?;
    let records = train(table_of(&rows()), &ReadOptions::default())?;
    assert_has(
        &refused(records.clone().split(rule, Path::new("own.csv"))),
        &["own.csv", "to test on"],
    );
    let half = HeldOut::one_in(2)?;
    assert_has(&refused(records.split(half, Path::new("own.csv"))), &["own.csv", "needs 10"]);
    for n in [0, 1] {
        assert_has(&refused(HeldOut::one_in(n)), &["2 or more"]);
    }
    Ok(())
}

#[test]
fn repeated_records_are_told_unless_users_are_known() -> Result<()> {
    let mut rows = rows();
    rows.extend(["text 1,bad,u1", "text 1,good,u7"].map(str::to_owned));
    let table = csv(table_of(&rows))?;
    let read = |user| TextRecords::train(&table, &columns(user), &ReadOptions::default());
    assert_has(&read(None)?.notes.join("\n"), &["own.csv: 2 records repeating", "users"]);
    assert!(!read(Some("user"))?.notes.join("\n").contains("repeat"));
    Ok(())
}
