//! The weights of a folder as Hugging Face saves it.
//!
//! They are in `model.safetensors`, or in several such files with `model.safetensors.index.json` to say which
//! tensor is where. Nothing here knows of a family of models: a family lists its parameters as [`Entry`]s.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use burn::store::burn_pack::Tensor as Stored;
use burn::store::{
    FloatCastAdapter, ModuleAdapter, ModuleSnapshot, ModuleStore, PyTorchToBurnAdapter,
    SafetensorsStore,
};
use burn::tensor::DType;

pub use files::ADVICE;
pub(super) use files::Files;

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

/// How a file keeps the weights of dense maps. burn keeps them as `[in, out]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dense {
    /// As PyTorch's `Linear` does.
    OutIn,
    /// As GPT-2's `Conv1D` does.
    InOut,
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
        let files = Files::of(folder)?;
        let shown = files.shown.display().to_string();
        let mut all = BTreeMap::new();
        for file in &files.paths {
            for (name, tensor) in tensors(file)? {
                files.check_home(&name, file)?;
                all.insert(name, tensor);
            }
        }
        files.check_all(|name| all.contains_key(name))?;
        Ok(Self { shown, tensors: all })
    }

    /// The names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// With names as `rule` makes them, for files that name the same tensors differently.
    ///
    /// # Errors
    /// When two tensors get one name.
    pub fn rename(mut self, rule: impl Fn(&str) -> String) -> Result<Self> {
        let mut renamed = BTreeMap::new();
        for (name, tensor) in self.tensors {
            let new = rule(&name);
            let twice = renamed.insert(new.clone(), tensor).is_some();
            ensure!(!twice, "{}: `{new}` is there twice; {ADVICE}", self.shown);
        }
        self.tensors = renamed;
        Ok(self)
    }

    /// Whether two tensors hold the same, if both are there.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn same(&self, one: &str, other: &str) -> Result<Option<bool>> {
        let (Some(one), Some(other)) = (self.tensors.get(one), self.tensors.get(other)) else {
            return Ok(None);
        };
        let bytes = |tensor: &Stored| {
            let bytes = tensor.to_bytes().map_err(|error| anyhow!("{error}"));
            bytes.with_context(|| format!("cannot read {}; {ADVICE}", self.shown))
        };
        Ok(Some(one.dtype == other.dtype && *bytes(one)? == *bytes(other)?))
    }

    /// What errors call it.
    pub fn shown(&self) -> &str {
        &self.shown
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
        dense: Dense,
        unused: impl Fn(&str) -> bool,
    ) -> Result<M> {
        let tensors = self.matched(entries)?;
        let name = &self.shown;
        let used: BTreeSet<&str> = entries.iter().map(|entry| entry.stored.as_str()).collect();
        let extra: Vec<&str> =
            self.names().filter(|name| !used.contains(name) && !unused(name)).collect();
        ensure!(extra.is_empty(), "{name} has {} too, which is not used; {ADVICE}", listed(&extra));

        let single = FloatCastAdapter::to(DType::F32);
        let adapter: Box<dyn ModuleAdapter> = match dense {
            Dense::OutIn => Box::new(PyTorchToBurnAdapter.chain(single)),
            Dense::InOut => Box::new(single),
        };
        let result = module.apply(tensors, None, Some(adapter), false);
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

fn tensors(file: &Path) -> Result<BTreeMap<String, Stored>> {
    let mut store = SafetensorsStore::from_file(file);
    let tensors = store.get_all_tensors();
    Ok(tensors.with_context(|| format!("cannot read {}; {ADVICE}", file.display()))?.clone())
}

/// The first few of `names`, which may be all of a file's.
fn listed(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(3).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
