//! The trainable parameters of a model, with what rules need to know about each.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Shape, Tensor};

use crate::error::{Error, ModelError, Result, SelectionError};
use crate::model::{Change, Place, Visit, change, visit};

/// One parameter. A parameter that occurs in two fields is listed once, with both paths.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: ParamId,
    /// Dotted paths of field names.
    pub(crate) paths: Vec<String>,
    pub(crate) shape: Shape,
    /// Whether it is currently trained, in any of its fields.
    pub(crate) trained: bool,
    /// The path of the module that owns it. `layer_type` is that module's type.
    pub(crate) layer: String,
    pub(crate) layer_type: String,
    /// The name of the reparameterization it belongs to.
    pub(crate) attached: Option<String>,
}

/// All parameters, in the model's order.
#[derive(Clone, Debug)]
pub(crate) struct Inventory {
    pub(crate) entries: Vec<Entry>,
}

impl Entry {
    pub(crate) fn path(&self) -> &str {
        self.paths.first().map_or("", String::as_str)
    }

    /// The last part of the path: the field's name.
    pub(crate) fn name(&self) -> &str {
        self.path().rsplit('.').next().unwrap_or("")
    }

    pub(crate) fn scalars(&self) -> usize {
        self.shape.num_elements()
    }

    /// # Errors
    /// [`ModelError::SharedParameter`] where it occurs in two fields: training it would train both.
    pub(crate) fn check_alone(&self) -> Result<()> {
        match &self.paths[..] {
            [first, second, ..] => Err(Error::Model(ModelError::SharedParameter {
                first: first.clone(),
                second: second.clone(),
            })),
            [] | [_] => Ok(()),
        }
    }
}

impl Inventory {
    /// # Errors
    /// When no parameter can be trained: the model has none, or is on a device without autodiff.
    pub(crate) fn of<M: Module>(model: &M) -> Result<Self> {
        let mut lister = Lister::default();
        visit(model, &mut lister);
        // Running statistics are visited like parameters, but cannot be made to require gradients.
        let mut trainable = Trainable::default();
        visit(&change(model.clone(), &mut RequireAll), &mut trainable);
        let mut entries = lister.entries;
        entries.retain(|entry| trainable.ids.contains(&entry.id));
        if entries.is_empty() {
            return Err(Error::Selection(SelectionError::NothingToSelect));
        }
        Ok(Self { entries })
    }

    pub(crate) fn scalars(&self) -> usize {
        self.entries.iter().map(Entry::scalars).sum()
    }
}

#[derive(Default)]
struct Lister {
    entries: Vec<Entry>,
}

impl Visit for Lister {
    fn float<const D: usize>(&mut self, place: &Place, param: &Param<Tensor<D>>) {
        let path = place.path();
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == param.id) {
            entry.paths.push(path);
            entry.trained |= param.is_require_grad();
            return;
        }
        let (depth, layer_type, attached) = owner(place);
        self.entries.push(Entry {
            id: param.id,
            paths: vec![path],
            shape: param.base().shape(),
            trained: param.is_require_grad(),
            layer: place.names[..depth].join("."),
            layer_type,
            attached,
        });
    }
}

/// The place in the path where the innermost struct ends that is not a reparameterization, that
/// struct's type, and the name of the reparameterization inside it.
fn owner(Place { names, containers }: &Place) -> (usize, String, Option<String>) {
    let attached = containers.iter().position(|kind| kind == "Reparameterization");
    let inside = attached.unwrap_or(containers.len());
    let owner = containers[..inside].iter().rposition(|kind| kind.starts_with("Struct:"));
    let name = attached.and_then(|index| names.get(index).cloned());
    match owner {
        Some(index) => {
            let kind = containers[index].trim_start_matches("Struct:").to_owned();
            (index, kind, name)
        }
        None => (inside.saturating_sub(1), String::new(), name),
    }
}

struct RequireAll;

impl Change for RequireAll {
    fn float<const D: usize>(&mut self, _: &Place, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.set_require_grad(true)
    }
}

#[derive(Default)]
struct Trainable {
    ids: std::collections::HashSet<ParamId>,
}

impl Visit for Trainable {
    fn float<const D: usize>(&mut self, _: &Place, param: &Param<Tensor<D>>) {
        if param.is_require_grad() {
            self.ids.insert(param.id);
        }
    }
}
