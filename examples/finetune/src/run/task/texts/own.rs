//! The user's own texts.

use anyhow::{Result, bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::data::{Split, TextColumns, TextFrom, TextRecords};
use crate::run::Units;
use crate::run::task::OwnArgs;

/// A table of the user's own texts.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct OwnTexts {
    #[command(flatten)]
    #[serde(flatten)]
    pub data: OwnArgs,
    /// The column with the text; two, separated by a comma, where records are pairs of texts
    #[arg(long, value_delimiter = ',', conflicts_with = "columns_as_text")]
    pub text: Vec<String>,
    /// In place of --text: columns that are put together into one text, `age is 61, pulse is 72`
    #[arg(long, value_delimiter = ',')]
    pub columns_as_text: Vec<String>,
}

impl OwnTexts {
    /// Training and held-out records, and what is protected.
    pub(super) fn read(&self) -> Result<(Split<TextRecords>, Units)> {
        let columns = TextColumns {
            text: self.text_from()?,
            label: self.data.label()?,
            user: self.data.user_column.clone(),
        };
        let options = self.data.options();
        let train = TextRecords::train(&self.data.table()?, &columns, &options)?;
        let data = match self.data.held_out_table()? {
            Some(table) => {
                let test = TextRecords::test(&table, &columns, &train, &options)?;
                Split { train, test }
            }
            None => train.split(self.data.rule()?, &self.data.train)?,
        };
        let units = self.data.units(data.train.users.as_ref(), data.train.len())?;
        Ok((data, units))
    }

    fn text_from(&self) -> Result<TextFrom> {
        ensure!(
            self.text.is_empty() || self.columns_as_text.is_empty(),
            "give --text or --columns-as-text, not both"
        );
        match self.text.as_slice() {
            [] if self.columns_as_text.is_empty() => {
                bail!("say which column has the text: --text NAME, or --columns-as-text A,B,C")
            }
            [] => Ok(TextFrom::Joined(self.columns_as_text.clone())),
            [one] => Ok(TextFrom::Column(one.clone())),
            [first, second] => Ok(TextFrom::Pair(first.clone(), second.clone())),
            more => bail!("--text names {} columns: a record is one text or a pair", more.len()),
        }
    }
}
