//! Flags for the user's own data.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::data::{BadRecords, Format, HeldOut, LabelFrom, ReadOptions, Table, Units};

/// Where the user's own records are, and what is done with them.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct OwnArgs {
    /// The records to train on: a CSV, TSV or JSON-lines file; for images also a folder with a folder for each class
    #[arg(long)]
    pub train: PathBuf,
    /// Records to test on. Else some of the training records are held out
    #[arg(long)]
    pub held_out: Option<PathBuf>,
    /// Without --held-out, one record (or user) in so many is held out: which ones, its own content decides
    #[arg(long, default_value_t = 10)]
    pub held_out_one_in: u64,
    /// The column with each record's class; or several columns of 0 and 1, separated by commas, that may all be true
    #[arg(long, value_delimiter = ',')]
    pub label: Vec<String>,
    /// The names of the classes. Else they are taken from the data, and with that made public
    #[arg(long, value_delimiter = ',')]
    pub classes: Option<Vec<String>>,
    /// What classes count, such as `ill=3`, from public knowledge; the others count 1
    #[arg(long)]
    pub class_weights: Option<String>,
    /// The column with each record's user: then all records of a user are protected together
    #[arg(long)]
    pub user_column: Option<String>,
    /// Records of a user that are used
    #[arg(long, default_value = "8")]
    pub records_per_user: NonZeroUsize,
    /// What happens to records that cannot be used
    #[arg(long, value_enum, default_value_t = BadRecords::Refuse)]
    pub bad_records: BadRecords,
    /// How the file is written, if its name does not tell
    #[arg(long, value_enum)]
    pub format: Option<Format>,
}

impl OwnArgs {
    pub(super) fn table(&self) -> Result<Table> {
        Table::read(&self.train, self.format)
    }

    /// The table of held-out records, if they are in a file of their own.
    pub(super) fn held_out_table(&self) -> Result<Option<Table>> {
        self.held_out.as_deref().map(|file| Table::read(file, self.format)).transpose()
    }

    /// The data in words: the name of the file or folder.
    pub(super) fn words(&self) -> String {
        let name = self.train.file_name().unwrap_or(self.train.as_os_str());
        name.to_string_lossy().into_owned()
    }

    pub(super) fn options(&self) -> ReadOptions {
        ReadOptions { classes: self.classes.clone(), bad_records: self.bad_records }
    }

    pub(super) fn label(&self) -> Result<LabelFrom> {
        match self.label.as_slice() {
            [] => anyhow::bail!("say which column has the class of a record: --label NAME"),
            [one] => Ok(LabelFrom::Column(one.clone())),
            several => Ok(LabelFrom::Flags(several.to_vec())),
        }
    }

    pub(super) fn rule(&self) -> Result<HeldOut> {
        HeldOut::one_in(self.held_out_one_in)
    }

    /// What is protected.
    pub(super) fn units(&self, users: Option<&Units>, records: usize) -> Result<crate::run::Units> {
        let Some(users) = users else {
            return Ok(crate::run::Units::records(records));
        };
        let lists = users.iter().map(|(_, records)| records.to_vec()).collect();
        crate::run::Units::users(lists, self.records_per_user.get())
    }
}
