//! Turns an ONNX file into burn code: `encoder.rs` in OUT_DIR, with its weights beside it.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use burn_onnx::{LoadStrategy, ModelGen};

/// Names another ONNX file than this example's own.
const VARIABLE: &str = "BURN_DP_ONNX";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let file = env::var_os(VARIABLE).map_or_else(|| PathBuf::from("encoder.onnx"), PathBuf::from);
    println!("cargo::rerun-if-changed={}", file.display());
    let (true, Some(path), Some(name)) = (file.is_file(), file.to_str(), file.file_name()) else {
        let problem = format!("{VARIABLE}={}: no such file", file.display());
        return Err(format!("{problem}; give a full path, such as \"$PWD/encoder.onnx\"").into());
    };
    ModelGen::new()
        .input(path)
        .out_dir("onnx")
        .load_strategy(LoadStrategy::Embedded)
        .run_from_script();

    // burn-onnx names the code after the file, and `include!` needs one name.
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let code = fs::read_to_string(out.join("onnx").join(name).with_extension("rs"))?;
    // It makes masks and ranges on the device that it was loaded to, in a field that `valid`, `to_device` and the trace
    // of burn-dp do not reach: with this one change, on the device that its weights are on now.
    let code = code.replace("&self.device", "&crate::device::device_of(self, &self.device)");
    fs::write(out.join("encoder.rs"), code)?;
    Ok(())
}
