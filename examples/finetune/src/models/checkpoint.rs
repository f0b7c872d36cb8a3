//! The weights of a folder as Hugging Face saves it.
//!
//! They are in `model.safetensors`, or in several such files with `model.safetensors.index.json` to say which
//! tensor is where. Nothing here knows of a family of models: a family lists its parameters as [`Entry`]s.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn::store::burn_pack::Tensor as Stored;
use burn::store::{
    FloatCastAdapter, ModuleAdapter, ModuleSnapshot, ModuleStore, PyTorchToBurnAdapter,
    SafetensorsStore,
};
use burn::tensor::DType;
use serde::Deserialize;

/// The last words of every error about a folder.
pub const ADVICE: &str = "save the folder again with save_pretrained of transformers, or run examples/data.sh if it \
                          is one that the examples download";

/// The tensors of a folder. Each is read from disk when it is used, and only then.
pub struct Checkpoint {
    /// The file that errors name.
    shown: String,
    tensors: BTreeMap<String, Stored>,
}

/// A parameter of a module and the tensor that it is read from.
pub struct Entry {
    /// The tensor's name in the file.
    pub stored: String,
    /// The parameter's path in the module.
    pub path: String,
    /// As stored: PyTorch's dense weights are `[out, in]`.
    pub shape: Vec<Size>,
}

/// A length, and the field of `config.json` that gives it.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub usize, pub &'static str);

impl Checkpoint {
    /// Looks at the weights in `folder`, of which it reads the names and shapes.
    ///
    /// # Errors
    /// When there are none, or a file is missing or damaged. Weights in PyTorch's own format, which may run any
    /// code when it is read, are refused with the command that converts them.
    pub fn open(folder: &Path) -> Result<Self> {
        let (single, index) = (folder.join(SINGLE), folder.join(INDEX));
        if single.is_file() {
            return Ok(Self { shown: single.display().to_string(), tensors: tensors(&single)? });
        }
        if index.is_file() {
            return sharded(folder, &index);
        }
        let folder = folder.display();
        for file in ["pytorch_model.bin", "pytorch_model.bin.index.json"] {
            ensure!(
                !single.with_file_name(file).exists(),
                "{folder} has {file} instead of {SINGLE}. In that folder, this writes the file: {CONVERT}",
            );
        }
        bail!("{folder} has neither {SINGLE} nor {INDEX}; {ADVICE}");
    }

    /// The names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// With names as `rule` makes them, for older files that name the same tensors differently.
    pub fn rename(mut self, rule: impl Fn(&str) -> String) -> Self {
        let tensors = self.tensors.into_iter();
        self.tensors = tensors.map(|(name, tensor)| (rule(&name), tensor)).collect();
        self
    }

    /// `module` with the tensors that `entries` name. Half precision becomes single. Tensors of which `unused`
    /// says so are left alone.
    ///
    /// Everything is compared before anything is read, so that errors are in the file's own terms. Then tensors
    /// are read one by one, so that no more than one is held twice.
    ///
    /// # Errors
    /// Names the tensor that is missing, left over, not of floats, or of another shape than its entry.
    pub fn load<M: ModuleSnapshot>(
        self,
        mut module: M,
        entries: &[Entry],
        unused: impl Fn(&str) -> bool,
    ) -> Result<M> {
        let tensors = self.matched(entries)?;
        let name = &self.shown;
        let used: BTreeSet<&str> = entries.iter().map(|entry| entry.stored.as_str()).collect();
        let extra: Vec<&str> =
            self.names().filter(|name| !used.contains(name) && !unused(name)).collect();
        ensure!(extra.is_empty(), "{name} has {} too, which is not used; {ADVICE}", listed(&extra));

        // Linear weights are transposed.
        let adapter = PyTorchToBurnAdapter.chain(FloatCastAdapter::to(DType::F32));
        let result = module.apply(tensors, None, Some(Box::new(adapter)), false);
        if let Some(error) = result.errors.first() {
            bail!("{name}: {error}; {ADVICE}");
        }
        let empty: Vec<&str> = result.missing.iter().map(|(path, _)| path.as_str()).collect();
        ensure!(empty.is_empty(), "{name} gave nothing for {}", listed(&empty));
        Ok(module)
    }

    /// The tensor of each entry, under the entry's path.
    fn matched(&self, entries: &[Entry]) -> Result<Vec<Stored>> {
        let name = &self.shown;
        let (mut tensors, mut missing) = (Vec::new(), Vec::new());
        for Entry { stored, path, shape } in entries {
            let Some(tensor) = self.tensors.get(stored) else {
                missing.push(stored.as_str());
                continue;
            };
            ensure!(
                tensor.dtype.is_float(),
                "{name}: `{stored}` holds {:?} instead of floats; {ADVICE}",
                tensor.dtype,
            );
            let lengths: Vec<usize> = shape.iter().map(|size| size.0).collect();
            let fields: Vec<&str> = shape.iter().map(|size| size.1).collect();
            ensure!(
                tensor.shape[..] == lengths[..],
                "{name}: `{stored}` has the shape {:?}, but config.json makes it {lengths:?} ({}); {ADVICE}",
                &tensor.shape[..],
                fields.join(", "),
            );
            let mut tensor = tensor.clone();
            tensor.name.clone_from(path);
            tensors.push(tensor);
        }
        ensure!(missing.is_empty(), "{name} lacks {}; {ADVICE}", listed(&missing));
        Ok(tensors)
    }
}

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Copies every tensor, since safetensors refuses two names for one memory.
const CONVERT: &str = "python3 -c 'import glob, torch; from safetensors.torch import save_file; \
                       save_file({k: v.clone().contiguous() for file in glob.glob(\"pytorch_model*.bin\") for k, v in \
                       torch.load(file, map_location=\"cpu\", weights_only=True).items()}, \"model.safetensors\")'";

fn tensors(file: &Path) -> Result<BTreeMap<String, Stored>> {
    let mut store = SafetensorsStore::from_file(file);
    let tensors = store.get_all_tensors();
    Ok(tensors.with_context(|| format!("cannot read {}; {ADVICE}", file.display()))?.clone())
}

/// Which file has which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

fn sharded(folder: &Path, index: &Path) -> Result<Checkpoint> {
    let shown = index.display().to_string();
    let text = fs::read_to_string(index).with_context(|| format!("cannot read {shown}"))?;
    let Index { weight_map } = serde_json::from_str(&text)
        .with_context(|| format!("{shown} does not say which file has which tensor; {ADVICE}"))?;
    let mut all = BTreeMap::new();
    for file in weight_map.values().collect::<BTreeSet<_>>() {
        // A file from elsewhere should not make this program read another folder.
        let plain = Path::new(file).file_name().is_some_and(|name| name == file.as_str());
        ensure!(plain, "{shown} names {file:?}, which is not a file of its folder");
        for (name, tensor) in tensors(&folder.join(file))? {
            let home = weight_map.get(&name);
            ensure!(
                home == Some(file),
                "{file} has `{name}`, but {shown} has it in {}; {ADVICE}",
                home.map_or("no file", String::as_str),
            );
            all.insert(name, tensor);
        }
    }
    for (name, file) in &weight_map {
        ensure!(all.contains_key(name), "{shown} has `{name}` in {file}, which lacks it; {ADVICE}");
    }
    Ok(Checkpoint { shown, tensors: all })
}

/// The first few of `names`, which may be all of a file's.
fn listed(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(3).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
