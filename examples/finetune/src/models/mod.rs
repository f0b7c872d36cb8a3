//! Pretrained models as ordinary burn modules.
