//! Attaching masks to a model.

use std::collections::BTreeSet;

use burn::module::{Module, Param, Reparameterization, Reparameterizer};
use burn::tensor::Tensor;

use super::mask_kind::MaskKind;
use super::structure::Structure;
use crate::error::{Error, MaskError, Result, SelectionError};
use crate::model::{Place, Visit, nearest, visit};
use crate::selection::Selection;

/// Attaches a [`SuperMask`] to weights and freezes everything else.
#[derive(Clone, Debug)]
pub struct SuperMaskConfig {
    pub(super) kind: MaskKind,
    structure: Structure,
    /// Structures of particular weights. The last matching one applies.
    exceptions: Vec<(Paths, Structure)>,
    /// The weights that get masks; all if `None`.
    place: Option<Paths>,
}

/// Weights by path. Paths outlive a model's ids.
type Paths = BTreeSet<String>;

/// The scores of one weight. [`SuperMaskConfig`] makes it.
#[derive(Module, Debug)]
pub struct SuperMask {
    /// `[scores]`
    pub(super) scores: Param<Tensor<1>>,
    /// The draws `[scores]` of a stochastic mask, or the cut `[1]` of a global top-k. Not trained.
    pub(super) state: Option<Param<Tensor<1>>>,
    #[module(skip)]
    kind: MaskKind,
    #[module(skip)]
    pub(super) structure: Structure,
}

impl SuperMaskConfig {
    /// Masks of this kind, with one score for each number of every weight of two or more axes.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for a number out of its range.
    pub fn new(kind: MaskKind) -> Result<Self> {
        let structure = Structure::Weight;
        Ok(Self { kind: kind.checked()?, structure, exceptions: Vec::new(), place: None })
    }

    /// Sets the structure: one score for each row, column or head instead.
    #[must_use]
    pub fn with_structure(mut self, structure: Structure) -> Self {
        self.structure = structure;
        self
    }

    /// Sets another structure for the weights in `selection`. Heads, for example, are runs of
    /// columns in some weights and of rows in others.
    #[must_use]
    pub fn with_structure_on(mut self, selection: &Selection, structure: Structure) -> Self {
        self.exceptions.push((paths(selection), structure));
        self
    }

    /// Masks only the weights in `selection`.
    #[must_use]
    pub fn on(mut self, selection: &Selection) -> Self {
        self.place = Some(paths(selection));
        self
    }

    /// The kind of mask.
    pub fn kind(&self) -> MaskKind {
        self.kind
    }

    /// The model with a fresh mask, ready to train. (Unlike `apply_reparameterization`, this
    /// reports weights that the structure does not fit, instead of leaving them as they are.)
    ///
    /// # Errors
    /// [`MaskError::DoesNotFit`]; [`SelectionError::CoversNothing`] where a weight of a selection
    /// is not in `model`, a selection has no weight that gets a mask, or `model` has none;
    /// [`MaskError::Unreadable`] for a model that already has masks.
    pub fn apply<M: Module>(&self, model: M) -> Result<M> {
        let (weights, masked) = (Paths::new(), Paths::new());
        let mut fit = Fit { config: self, weights, masked, result: Ok(()) };
        visit(&model, &mut fit);
        fit.result?;
        self.check_names(&fit.weights, &fit.masked)?;
        Ok(model.apply_reparameterization(self.clone()))
    }

    /// Checks that every name exists in the model, and that every selection has an effect.
    fn check_names(&self, weights: &Paths, masked: &Paths) -> Result<()> {
        let exceptions = self.exceptions.iter().map(|(place, _)| place);
        for place in self.place.iter().chain(exceptions) {
            if let Some(absent) = place.difference(weights).next() {
                let advice = nearest(absent, weights.iter().map(String::as_str));
                return Err(without_use(absent, "weight of the model", advice));
            }
            if place.is_disjoint(masked) {
                let name = place.first().map_or("", String::as_str);
                let advice = "only weights of two or more axes get masks, and only those in `on`";
                return Err(without_use(name, "weight that gets a mask", advice.into()));
            }
        }
        match masked.is_empty() {
            true => {
                let advice = "the model has no weight of two or more axes".into();
                Err(without_use("all", "weight that gets a mask", advice))
            }
            false => Ok(()),
        }
    }

    /// Whether this weight gets a mask.
    fn wants<const D: usize>(&self, path: &str) -> bool {
        D >= 2 && self.place.as_ref().is_none_or(|place| place.contains(path))
    }

    pub(super) fn structure_of(&self, path: &str) -> Structure {
        let mut exceptions = self.exceptions.iter().rev();
        let exception = exceptions.find(|(place, _)| place.contains(path));
        exception.map_or(self.structure, |(_, structure)| *structure)
    }
}

fn without_use(name: &str, what: &'static str, advice: String) -> Error {
    let (setting, name) = ("selection of masked weights", name.to_owned());
    Error::Selection(SelectionError::CoversNothing { setting, name, what, advice })
}

fn paths(selection: &Selection) -> Paths {
    selection.paths().map(str::to_owned).collect()
}

impl Reparameterizer for SuperMaskConfig {
    type Reparam = SuperMask;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<SuperMask>) {
        let wanted = self.wants::<D>(path);
        let structure = self.structure_of(path);
        let base = param.set_require_grad(false);
        let weight = base.base();
        let (device, dtype) = (weight.device(), weight.dtype());
        let Some(count) = structure.scores(&weight.dims()).filter(|_| wanted) else {
            return (base, None);
        };
        let scores = Tensor::<1>::full([count], self.kind.initial(), (&device, dtype));
        let state = self.kind.initial_state(count);
        let state = state.map(|(count, value)| Tensor::full([count], value, (&device, dtype)));
        let state = state.map(|state| Param::from_tensor(state).set_require_grad(false));
        let kind = self.kind;
        (base, Some(SuperMask { scores: Param::from_tensor(scores), state, kind, structure }))
    }
}

impl Reparameterization for SuperMask {
    const NAME: &'static str = "mask";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let state = self.state.as_ref().map(Param::val);
        let mask = self.kind.mask(self.scores.val(), state);
        let shape = base.dims();
        base * self.structure.spread(mask, shape)
    }
}

/// Finds a weight that the structure does not fit.
struct Fit<'c> {
    config: &'c SuperMaskConfig,
    weights: Paths,
    masked: Paths,
    result: Result<()>,
}

impl Visit for Fit<'_> {
    fn enter(&mut self, place: &Place) {
        let name = place.names.last().is_some_and(|name| name == SuperMask::NAME);
        let attached = place.containers.last().is_some_and(|kind| kind == "Reparameterization");
        if name && attached && self.result.is_ok() {
            self.result = Err(Error::Mask(MaskError::AlreadyAttached));
        }
    }

    fn float<const D: usize>(&mut self, place: &Place, weight: &Param<Tensor<D>>) {
        let path = place.path();
        if self.result.is_ok() && self.config.wants::<D>(&path) {
            let structure = self.config.structure_of(&path);
            let fit = structure.check(&path, &weight.base().dims());
            self.result = fit.map(|_| ());
            self.masked.insert(path.clone());
        }
        self.weights.insert(path);
    }
}
