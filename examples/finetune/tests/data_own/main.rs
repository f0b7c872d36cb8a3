//! The user's own data and the standard sets that the user puts there: what is accepted, and what is said of the rest.

#[path = "../common/mod.rs"]
mod common;

mod arbitrary;
mod breast_cancer;
mod glue;
mod image_tables;
mod images;
mod labels;
mod split;
mod standard;
mod table;
mod tools;
