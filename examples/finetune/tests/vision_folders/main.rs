//! Image models from folders as Hugging Face saves them, against transformers, timm and Pillow.
//!
//! The folders and what is expected of them: `reference/vision_folders.py`, which transformers and timm computed
//! in double precision.

#[path = "../common/mod.rs"]
mod common;

mod folders;
mod forward;
mod places;
mod preprocessing;
mod refusals;
mod weights;
