//! Selection of what to train by the size of its gradients.

use std::fmt;

use burn::module::Module;
use burn::tensor::Tensor;
use burn_dp_accounting::{ClippingNorm, ExpectedBatchSize};

use super::inventory::{Entry, Inventory};
use super::rows::{RowSelection, row_count};
use super::selected::Selection;
use crate::bounded_sum::BoundedSum;
use crate::error::{Error, ModelError, Result, SelectionError};
use crate::noise::Noise;
use crate::per_example::{Engine, PerExample, read};
use crate::seed::{Domain, Seed};

/// The unit of selection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Groups {
    /// Each parameter.
    #[default]
    Parameters,
    /// Each layer, an innermost module, with all its parameters.
    Layers,
    /// Each slice of a parameter along its first axis.
    Rows,
}

/// Selects the groups of parameters whose gradients are largest. A group's score is the sum over
/// records of the norm of each record's gradient in the group. Only parameters that are currently
/// trained can be selected.
///
/// - From **public** data ([`on_public`](Self::on_public)) it costs nothing.
/// - From the **private** data ([`DpOptimizer::select_top`]) it is one Gaussian release:
///   each record's vector of norms is clipped, the vectors are summed, and noise is added. The
///   choice is post-processing. The plan must include the release
///   ([`PrivacyPlanBuilder::selection`]), and ε then covers both.
///
/// Private data cannot be used without paying: a private sample is not [`PublicData`].
///
/// ```compile_fail
/// # use burn_dp::{DpOptimizer, Result, per_example::Engine, selection::*};
/// # use burn::{module::Module, tensor::Tensor};
/// fn unpaid<M: Module, E: Engine<M, Tensor<2>>>(
///     optimizer: &DpOptimizer<E>, engine: &mut E, model: &M, records: Tensor<2>,
/// ) -> Result<TopSelection> {
///     let batch = optimizer.sample(100)?.batches(10, |_| records.clone())?;
///     TopGradientNorm::count(3)?.on_public(engine, model, batch)
/// }
/// ```
///
/// [`DpOptimizer::select_top`]: crate::DpOptimizer::select_top
/// [`PrivacyPlanBuilder::selection`]: crate::privacy::PrivacyPlanBuilder::selection
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopGradientNorm {
    groups: Groups,
    amount: Amount,
    per_scalar: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Amount {
    Count(usize),
    Share(f64),
}

/// Batches of data that anybody may see. **You vouch for that**: a selection by them is not
/// accounted for.
pub struct PublicData<I>(I);

impl<X, I: Iterator<Item = X>> PublicData<I> {
    /// Batches that are public.
    pub fn vouch(batches: impl IntoIterator<IntoIter = I>) -> Self {
        Self(batches.into_iter())
    }
}

impl TopGradientNorm {
    /// The `count` groups with the largest norms.
    ///
    /// # Errors
    /// [`Error::Setting`] for 0.
    pub fn count(count: usize) -> Result<Self> {
        match count {
            0 => Err(Error::setting("count", count, "at least 1")),
            _ => Ok(Self::new(Amount::Count(count))),
        }
    }

    /// Takes groups in descending order of their norms, as long as together they have at most this
    /// share of the model's scalars. A group that would exceed it is left out. At least the first
    /// is selected.
    ///
    /// # Errors
    /// [`Error::Setting`] unless it is above 0 and at most 1.
    pub fn share(share: f64) -> Result<Self> {
        match share > 0.0 && share <= 1.0 {
            true => Ok(Self::new(Amount::Share(share))),
            false => Err(Error::setting("share", share, "above 0 and at most 1")),
        }
    }

    const fn new(amount: Amount) -> Self {
        Self { groups: Groups::Parameters, amount, per_scalar: false }
    }

    /// Sets the unit of selection; the default is parameters.
    #[must_use]
    pub const fn by(mut self, groups: Groups) -> Self {
        self.groups = groups;
        self
    }

    /// Orders by norm / √(scalars in the group), so that large groups have no advantage.
    #[must_use]
    pub const fn per_scalar(mut self) -> Self {
        self.per_scalar = true;
        self
    }

    /// The selection by public data.
    ///
    /// # Errors
    /// As [`Engine::per_example`] and [`ParamSelector::select`](super::ParamSelector::select);
    /// [`ModelError::NoTrainableParameter`] where nothing can be selected;
    /// [`SelectionError::Empty`] where the data has no example.
    pub fn on_public<M, X, E, I>(
        &self,
        engine: &mut E,
        model: &M,
        data: PublicData<I>,
    ) -> Result<TopSelection>
    where
        M: Module,
        E: Engine<M, X>,
        I: Iterator<Item = X>,
    {
        let mut scores = Scores::new(self, model, ClippingNorm::new(f64::MAX)?)?;
        for batch in data.0 {
            scores.add(&engine.per_example(model, batch)?)?;
        }
        if scores.examples == 0 {
            let advice = "give it at least one batch with an example";
            return Err(Error::Selection(SelectionError::Empty {
                selector: "top gradient norm of no data".into(),
                advice: advice.into(),
            }));
        }
        Ok(scores.into_public())
    }
}

/// What [`TopGradientNorm`] chose.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TopSelection {
    /// Whole parameters.
    Parameters(Selection),
    /// Rows of parameters.
    Rows(RowSelection),
}

impl TopSelection {
    /// Freezes everything else, as [`Selection::apply`] and [`RowSelection::apply`] do.
    ///
    /// # Errors
    /// As these two.
    pub fn apply<M: Module>(&self, model: M) -> Result<M> {
        match self {
            Self::Parameters(selection) => selection.apply(model),
            Self::Rows(selection) => selection.apply(model),
        }
    }

    /// Number of selected scalars.
    pub fn trained(&self) -> usize {
        match self {
            Self::Parameters(selection) => selection.trained(),
            Self::Rows(selection) => selection.trained(),
        }
    }

    /// Number of scalars of the model's parameters.
    pub fn total(&self) -> usize {
        match self {
            Self::Parameters(selection) => selection.total(),
            Self::Rows(selection) => selection.total(),
        }
    }
}

impl fmt::Display for TopSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameters(selection) => selection.fmt(f),
            Self::Rows(selection) => selection.fmt(f),
        }
    }
}

/// The sum over examples of each group's gradient norm, with each example's vector of norms clipped.
pub(crate) struct Scores {
    rule: TopGradientNorm,
    inventory: Inventory,
    candidates: Vec<Candidate>,
    sums: BoundedSum,
    examples: usize,
}

/// One group that can be selected: parameters by their place in the inventory, or one row of a
/// parameter.
#[derive(Debug)]
struct Candidate {
    members: Vec<usize>,
    row: Option<usize>,
    scalars: usize,
}

impl Scores {
    pub(crate) fn new<M: Module>(
        rule: &TopGradientNorm,
        model: &M,
        clipping_norm: ClippingNorm,
    ) -> Result<Self> {
        let inventory = Inventory::of(model)?;
        let mut trained = inventory.entries.iter().filter(|entry| entry.trained);
        trained.try_for_each(Entry::check_alone)?;
        let candidates = candidates(&inventory, rule.groups);
        if candidates.is_empty() {
            return Err(Error::Model(ModelError::NoTrainableParameter));
        }
        let sums = BoundedSum::new([candidates.len()], clipping_norm);
        Ok(Self { rule: *rule, inventory, candidates, sums, examples: 0 })
    }

    /// Adds the clipped vectors of a batch. A vector that is not finite counts as zero.
    pub(crate) fn add(&mut self, gradients: &PerExample) -> Result<()> {
        let examples = gradients.len();
        let mut squares = vec![vec![0.0; self.candidates.len()]; examples];
        let mut next_row = 0;
        for (index, candidate) in self.candidates.iter().enumerate() {
            match candidate.row {
                // All rows of a parameter are read at once, at its first row.
                Some(0) => {
                    let rows = self.row_squares(gradients, candidate)?;
                    next_row = rows.len() / examples.max(1);
                    for (example, rows) in rows.chunks(next_row.max(1)).enumerate() {
                        squares[example][index..index + next_row].copy_from_slice(rows);
                    }
                }
                Some(row) => debug_assert!(row < next_row),
                None => {
                    for member in &candidate.members {
                        let id = self.inventory.entries[*member].id;
                        let norms = read(gradients.estimated_squared_norms_of(id)?)?;
                        for (squares, norm) in squares.iter_mut().zip(norms) {
                            squares[index] += norm;
                        }
                    }
                }
            }
        }
        for squares in squares {
            // Rounding may leave a square slightly negative.
            self.sums.add(squares.into_iter().map(|square| square.max(0.0).sqrt()))?;
        }
        self.examples += examples;
        Ok(())
    }

    /// The paths of all parameters, trained or not.
    pub(crate) fn paths(&self) -> Vec<&str> {
        self.inventory.entries.iter().flat_map(|entry| &entry.paths).map(String::as_str).collect()
    }

    /// The best candidates after noise is added to their scores.
    ///
    /// # Errors
    /// As [`BoundedSum::release`].
    pub(crate) fn release(self, noise: Noise, seed: &Seed) -> Result<TopSelection> {
        let one = ExpectedBatchSize::new(1.0)?;
        let (scores, _) = self.sums.release(noise, one, seed, Domain::SelectionNoise, 0)?;
        Ok(selected(self.rule, self.inventory, &self.candidates, &scores.concat()))
    }

    /// The best candidates, for scores of public data.
    fn into_public(self) -> TopSelection {
        let scores = self.sums.into_public().concat();
        selected(self.rule, self.inventory, &self.candidates, &scores)
    }

    /// The squared norm of each row of each example's gradient, `[examples · rows]`.
    fn row_squares(&self, gradients: &PerExample, candidate: &Candidate) -> Result<Vec<f64>> {
        let mut rows = Vec::new();
        for entry in candidate.members.iter().map(|member| &self.inventory.entries[*member]) {
            let flat = gradients.flat(entry.id)?;
            let shape =
                [gradients.len() * row_count(entry), entry.scalars() / row_count(entry).max(1)];
            let squares: Tensor<2> = flat.reshape(shape).powi_scalar(2).sum_dim(1);
            rows = read(squares.reshape([shape[0]]))?;
        }
        Ok(rows)
    }
}

/// The best candidates by their scores.
fn selected(
    rule: TopGradientNorm,
    inventory: Inventory,
    candidates: &[Candidate],
    scores: &[f64],
) -> TopSelection {
    let chosen = best(rule, &inventory, candidates, scores);
    let count = inventory.entries.len();
    if rule.groups == Groups::Rows {
        let mut rows = vec![Vec::new(); count];
        for candidate in chosen.iter().map(|index| &candidates[*index]) {
            for member in &candidate.members {
                rows[*member].extend(candidate.row);
            }
        }
        rows.iter_mut().for_each(|rows| rows.sort_unstable());
        return TopSelection::Rows(RowSelection::new(inventory, rows));
    }
    let mut selected = vec![false; count];
    for candidate in chosen.iter().map(|index| &candidates[*index]) {
        for member in &candidate.members {
            selected[*member] = true;
        }
    }
    TopSelection::Parameters(Selection::unshared("top gradient norm".into(), inventory, selected))
}

fn best(
    rule: TopGradientNorm,
    inventory: &Inventory,
    candidates: &[Candidate],
    scores: &[f64],
) -> Vec<usize> {
    let size = |index: usize| candidates[index].scalars.max(1) as f64;
    let score = |index: usize| match rule.per_scalar {
        true => scores[index] / size(index).sqrt(),
        false => scores[index],
    };
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|one, other| score(*other).total_cmp(&score(*one)));
    match rule.amount {
        Amount::Count(count) => order.truncate(count),
        Amount::Share(share) => {
            let most = share * inventory.scalars() as f64;
            let mut used = 0.0;
            let first = order.first().copied();
            order.retain(|index| {
                let fits = used + size(*index) <= most || Some(*index) == first;
                used += if fits { size(*index) } else { 0.0 };
                fits
            });
        }
    }
    order
}

fn candidates(inventory: &Inventory, groups: Groups) -> Vec<Candidate> {
    let trained = || inventory.entries.iter().enumerate().filter(|(_, entry)| entry.trained);
    match groups {
        Groups::Parameters => trained()
            .map(|(index, entry)| Candidate {
                members: vec![index],
                row: None,
                scalars: entry.scalars(),
            })
            .collect(),
        Groups::Layers => {
            let mut layers: Vec<(&str, Candidate)> = Vec::new();
            for (index, entry) in trained() {
                match layers.iter_mut().find(|(layer, _)| *layer == entry.layer) {
                    Some((_, candidate)) => {
                        candidate.members.push(index);
                        candidate.scalars += entry.scalars();
                    }
                    None => {
                        let scalars = entry.scalars();
                        let members = vec![index];
                        layers.push((&entry.layer, Candidate { members, row: None, scalars }));
                    }
                }
            }
            layers.into_iter().map(|(_, candidate)| candidate).collect()
        }
        Groups::Rows => trained()
            .flat_map(|(index, entry)| {
                let scalars = entry.scalars() / row_count(entry).max(1);
                (0..row_count(entry)).map(move |row| Candidate {
                    members: vec![index],
                    row: Some(row),
                    scalars,
                })
            })
            .collect(),
    }
}
