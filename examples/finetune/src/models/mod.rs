//! Pretrained models as ordinary burn modules.

pub mod text;
pub mod vision;
