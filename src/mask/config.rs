//! Attaching masks to a model.

use burn::module::{Module, ModuleVisitor, Param, ParamGroup, Reparameterization, Reparameterizer};
use burn::tensor::Tensor;

use super::kind::{MaskKind, Scope};
use super::structure::Structure;
use crate::error::Result;
use crate::selection::Selection;

/// Attaches a [`SuperMask`] to weights and freezes everything else.
#[derive(Clone, Debug)]
pub struct SuperMaskConfig {
    pub(super) kind: MaskKind,
    pub(super) structure: Structure,
    group: ParamGroup,
}

/// The scores of one weight; made by [`SuperMaskConfig`].
#[derive(Module, Debug)]
pub struct SuperMask {
    /// `[scores]`
    pub(super) scores: Param<Tensor<1>>,
    /// Draws `[scores]` of a stochastic mask, or the cut `[1]` of a global top-k. Not trained.
    pub(super) state: Option<Param<Tensor<1>>>,
    #[module(skip)]
    kind: MaskKind,
    #[module(skip)]
    structure: Structure,
}

impl SuperMaskConfig {
    /// Masks of this kind with a score for each number of every weight of two or more axes.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`](crate::Error::InvalidSetting) for a number out of its range.
    pub fn new(kind: MaskKind) -> Result<Self> {
        Ok(Self { kind: kind.checked()?, structure: Structure::Weight, group: ParamGroup::all() })
    }

    /// With a score for each row, column or head instead.
    #[must_use]
    pub fn with_structure(mut self, structure: Structure) -> Self {
        self.structure = structure;
        self
    }

    /// Only for the weights in `selection`.
    #[must_use]
    pub fn on(mut self, selection: &Selection) -> Self {
        self.group = selection.group();
        self
    }

    /// The kind of mask.
    pub fn kind(&self) -> MaskKind {
        self.kind
    }

    /// The model with a fresh mask, ready to train. (Unlike `apply_reparameterization` it tells of weights that the
    /// structure does not fit, instead of leaving them as they are.)
    ///
    /// # Errors
    /// [`Error::MaskDoesNotFit`](crate::Error::MaskDoesNotFit).
    pub fn apply<M: Module>(&self, model: M) -> Result<M> {
        let mut fit = Fit { config: self, path: Vec::new(), result: Ok(()) };
        model.visit(&mut fit);
        fit.result?;
        Ok(model.apply_reparameterization(self.clone()))
    }

    /// Whether this weight gets a mask.
    fn wants<const D: usize>(&self, path: &str, weight: &Param<Tensor<D>>) -> bool {
        D >= 2 && self.group.matches(&weight.id, Some(path))
    }
}

impl Reparameterizer for SuperMaskConfig {
    type Reparam = SuperMask;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<SuperMask>) {
        let wanted = self.wants(path, &param);
        let base = param.set_require_grad(false);
        let weight = base.base();
        let (device, dtype) = (weight.device(), weight.dtype());
        let Some(count) = self.structure.scores(&weight.dims()).filter(|_| wanted) else {
            return (base, None);
        };
        let scores = Tensor::<1>::full([count], self.kind.initial(), (&device, dtype));
        let state = match self.kind {
            MaskKind::Stochastic { .. } => Some(Tensor::full([count], 0.5, (&device, dtype))),
            MaskKind::TopK { scope: Scope::Global, .. } => {
                Some(Tensor::full([1], self.kind.initial(), (&device, dtype)))
            }
            _ => None,
        };
        let state = state.map(|state| Param::from_tensor(state).set_require_grad(false));
        let (kind, structure) = (self.kind, self.structure);
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

/// Looks for a weight that the structure does not fit.
struct Fit<'c> {
    config: &'c SuperMaskConfig,
    path: Vec<String>,
    result: Result<()>,
}

impl ModuleVisitor for Fit<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, weight: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        if self.result.is_ok() && self.config.wants(&path, weight) {
            let fit = self.config.structure.check(&path, &weight.base().dims());
            self.result = fit.map(|_| ());
        }
    }
}
