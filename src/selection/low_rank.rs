//! Low-rank adapters for weights of any rank.

use burn::module::{Module, Param, ParamGroup, Reparameterization, Reparameterizer};
use burn::tensor::{Distribution, Tensor};

use super::inventory::{Entry, Inventory};
use super::selected::Selection;
use crate::error::{Error, Result, SelectionError};

/// Attaches low-rank adapters to weights: LoRA (Hu et al. 2021, arXiv 2106.09685). For matrices it
/// equals burn's own `Lora`. It also works for convolutions, whose kernels `[out, in, h, w]` are
/// matrices of `out` rows.
///
/// ```
/// use burn::module::Module;
/// use burn::nn::conv::{Conv2d, Conv2dConfig};
/// use burn::tensor::Device;
/// use burn_dp::selection::{LowRank, ParamSelector};
///
/// # fn main() -> burn_dp::Result<()> {
/// let device = Device::default().autodiff();
/// let model: Conv2d = Conv2dConfig::new([64, 64], [3, 3]).init(&device);
/// let model = LowRank::new(4, 8.0)?.apply(model)?;
/// assert_eq!(ParamSelector::lora().select(&model)?.trained(), 4 * (64 + 64 * 9));
/// # Ok(())
/// # }
/// ```
///
/// Everything except the adapters is frozen. To train a new head as well, leave it out with
/// [`on`](Self::on) and select `ParamSelector::lora().union(ParamSelector::head())`.
#[derive(Clone, Debug)]
pub struct LowRank {
    rank: usize,
    alpha: f64,
    /// The weights that get adapters; all if `None`.
    place: Option<Selection>,
    group: ParamGroup,
}

impl LowRank {
    /// Adapters of rank `rank` for every weight of two or more axes. Their product is scaled by
    /// `alpha / rank`.
    ///
    /// # Errors
    /// [`Error::Setting`] for a rank of 0, or an alpha that is not positive and finite.
    pub fn new(rank: usize, alpha: f64) -> Result<Self> {
        if rank == 0 {
            return Err(Error::setting("rank", rank, "at least 1"));
        }
        if !(alpha > 0.0 && alpha.is_finite()) {
            return Err(Error::setting("alpha", alpha, "positive and finite"));
        }
        Ok(Self { rank, alpha, place: None, group: ParamGroup::all() })
    }

    /// Adapts only the weights in `selection`.
    #[must_use]
    pub fn on(mut self, selection: &Selection) -> Self {
        self.group = selection.group();
        self.place = Some(selection.clone());
        self
    }

    /// The model with adapters and everything else frozen. (burn's `apply_reparameterization`
    /// adapts what it can. This method reports weights that do not exist.)
    ///
    /// # Errors
    /// [`SelectionError::OfAnotherModel`] where a selected weight is not in `model`,
    /// [`ModelError::SharedParameter`](crate::error::ModelError::SharedParameter) where its id
    /// occurs in two fields, [`SelectionError::CoversNothing`] where no weight of two or more axes
    /// gets an adapter, [`SelectionError::AlreadyReparameterized`] for a model that has adapters or
    /// masks (burn does not nest them), and [`SelectionError::NothingToSelect`].
    pub fn apply<M: Module>(self, model: M) -> Result<M> {
        let present = Inventory::of(&model)?;
        if let Some(adapter) = present.entries.iter().find(|entry| entry.attached.is_some()) {
            return Err(Error::Selection(SelectionError::AlreadyReparameterized {
                path: adapter.path().to_owned(),
            }));
        }
        let chosen = |entry: &&Entry| self.group.matches(&entry.id, Some(entry.path()));
        if let Some(place) = &self.place {
            let chosen: Vec<&Entry> = present.entries.iter().filter(chosen).collect();
            if chosen.len() < place.paths().count() {
                return Err(Error::Selection(SelectionError::OfAnotherModel));
            }
            // Adapters are attached by id, so both fields would get them.
            chosen.into_iter().try_for_each(Entry::check_alone)?;
        }
        if !present.entries.iter().filter(chosen).any(|entry| entry.shape.num_dims() >= 2) {
            let name = self.place.as_ref().map_or("all", Selection::rule).to_owned();
            return Err(Error::Selection(SelectionError::CoversNothing {
                setting: "selection of adapted weights",
                name,
                what: "weight of two or more axes",
                advice: "select matrices or kernels".into(),
            }));
        }
        Ok(model.apply_reparameterization(self))
    }
}

/// The factors of a low-rank change of a frozen weight. [`LowRank`] makes it.
#[derive(Module, Debug)]
pub struct LowRankAdapter {
    /// `[first axis, rank]`, initially normal with standard deviation 1 / rank.
    a: Param<Tensor<2>>,
    /// `[rank, all other axes]`, initially zero.
    b: Param<Tensor<2>>,
    scale: f64,
}

impl Reparameterization for LowRankAdapter {
    const NAME: &'static str = "lora";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let change = self.a.val().matmul(self.b.val().mul_scalar(self.scale));
        let shape = base.shape();
        base + change.reshape(shape)
    }
}

impl Reparameterizer for LowRank {
    type Reparam = LowRankAdapter;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<LowRankAdapter>) {
        let adapted = D >= 2 && self.group.matches(&param.id, Some(path));
        let base = param.set_require_grad(false);
        if !adapted {
            return (base, None);
        }
        let tensor = base.base();
        let (device, dtype, shape) = (tensor.device(), tensor.dtype(), tensor.shape());
        let rows = shape.as_slice().first().copied().unwrap_or(1).max(1);
        let columns = shape.num_elements() / rows;
        let spread = Distribution::Normal(0.0, 1.0 / self.rank as f64);
        let a = Tensor::<2>::random([rows, self.rank], spread, (&device, dtype));
        let b = Tensor::<2>::zeros([self.rank, columns], (&device, dtype));
        let (a, b) = (Param::from_tensor(a), Param::from_tensor(b));
        (base, Some(LowRankAdapter { a, b, scale: self.alpha / self.rank as f64 }))
    }
}
