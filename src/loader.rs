//! A burn `DataLoader` of Poisson-sampled logical batches.

use std::sync::Arc;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::{Dataset, DatasetError};
use burn::tensor::Device;

use crate::error::{BatchError, Error, Result};
use crate::optimizer::{DpOptimizer, LogicalBatch, Samples};

/// Loads the logical batches of a run from a burn [`Dataset`] with a burn [`Batcher`].
///
/// Its iterator yields one item for each step that the plan has left: a [`LogicalBatch`] for
/// [`DpOptimizer::step`], which loads its physical batches one at a time. Unlike burn's own loader
/// it does not shuffle: each record enters each batch independently.
///
/// One pass over it is the rest of the run, so there are no epochs. After a step that failed, make
/// a new loader: it begins at the step that is due.
pub struct PoissonDataLoader<I, O> {
    samples: Samples,
    dataset: Arc<dyn Dataset<I>>,
    collate: Arc<Collate<I, O>>,
    physical: usize,
    device: Device,
}

/// A batcher that can fail.
type Collate<I, O> = dyn Fn(Vec<I>, &Device) -> Result<O> + Send + Sync;

impl<I, O> PoissonDataLoader<I, O> {
    /// A loader for the steps that `optimizer` has left, in physical batches of at most `physical`
    /// records on `device`.
    ///
    /// # Errors
    /// When `physical` is 0, or the data set is larger than the sampler can count.
    pub fn new<E>(
        optimizer: &DpOptimizer<E>,
        dataset: impl Dataset<I> + 'static,
        batcher: impl Batcher<I, O> + 'static,
        physical: usize,
        device: Device,
    ) -> Result<Self> {
        let collate = move |items, device: &Device| Ok(batcher.batch(items, device));
        Self::with_collate(optimizer, dataset, Arc::new(collate), physical, device)
    }

    /// [`new`](Self::new), with a closure that can fail instead of the batcher. A step returns the
    /// closure's error as [`BatchError::Loading`]. The step is then not taken, and nothing is
    /// spent.
    ///
    /// # Errors
    /// As `new`.
    pub fn try_new<E, F>(
        optimizer: &DpOptimizer<impl Sized>,
        dataset: impl Dataset<I> + 'static,
        collate: F,
        physical: usize,
        device: Device,
    ) -> Result<Self>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
        F: Fn(Vec<I>, &Device) -> std::result::Result<O, E> + Send + Sync + 'static,
    {
        let collate = move |items, device: &Device| collate(items, device).map_err(Error::loading);
        Self::with_collate(optimizer, dataset, Arc::new(collate), physical, device)
    }

    fn with_collate<E>(
        optimizer: &DpOptimizer<E>,
        dataset: impl Dataset<I> + 'static,
        collate: Arc<Collate<I, O>>,
        physical: usize,
        device: Device,
    ) -> Result<Self> {
        if physical == 0 {
            return Err(Error::setting("physical batch size", 0, "at least 1"));
        }
        let samples = optimizer.samples(dataset.len())?;
        Ok(Self { samples, dataset: Arc::new(dataset), collate, physical, device })
    }

    /// The same loader for those of the run's steps `start..end` that it covers.
    #[cfg(feature = "train")]
    pub(crate) fn between(&self, start: u64, end: u64) -> Self {
        Self { samples: self.samples.between(start, end), ..self.clone() }
    }

    /// The same loader on another device.
    pub(crate) fn on(&self, device: &Device) -> Self {
        Self { device: device.clone(), ..self.clone() }
    }

    /// A batch for each step.
    pub(crate) fn into_batches(self) -> Logical<I, O> {
        Logical { loader: self, taken: 0 }
    }
}

impl<I, O> Clone for PoissonDataLoader<I, O> {
    fn clone(&self) -> Self {
        Self {
            samples: self.samples.clone(),
            dataset: self.dataset.clone(),
            collate: self.collate.clone(),
            physical: self.physical,
            device: self.device.clone(),
        }
    }
}

/// The physical batches of one logical batch, loaded on demand.
pub struct PhysicalBatches<I, O> {
    loader: PoissonDataLoader<I, O>,
    indices: std::vec::IntoIter<usize>,
}

impl<I, O> Iterator for PhysicalBatches<I, O> {
    type Item = Result<O>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk: Vec<usize> = self.indices.by_ref().take(self.loader.physical).collect();
        if chunk.is_empty() {
            return None;
        }
        let items = self.loader.dataset.get_many(chunk);
        let items =
            items.map_err(|error| Error::Batch(BatchError::Dataset { reason: error.to_string() }));
        Some(items.and_then(|items| (self.loader.collate)(items, &self.loader.device)))
    }
}

/// The logical batches of the remaining steps.
pub(crate) struct Logical<I, O> {
    loader: PoissonDataLoader<I, O>,
    taken: usize,
}

impl<I, O> Iterator for Logical<I, O> {
    type Item = core::result::Result<LogicalBatch<PhysicalBatches<I, O>>, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (ticket, indices) = self.loader.samples.sample(self.taken as u64)?;
        self.taken += 1;
        let batches = PhysicalBatches { loader: self.loader.clone(), indices: indices.into_iter() };
        Some(Ok(LogicalBatch::new(ticket, batches)))
    }
}

impl<I, O> DataLoaderIterator<LogicalBatch<PhysicalBatches<I, O>>> for Logical<I, O> {
    fn progress(&self) -> Progress {
        let total = self.loader.samples.steps() as usize;
        Progress::new(self.taken, total, Some("steps".to_owned()))
    }
}

impl<I, O> DataLoader<LogicalBatch<PhysicalBatches<I, O>>> for PoissonDataLoader<I, O>
where
    I: 'static,
    O: 'static,
{
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<LogicalBatch<PhysicalBatches<I, O>>> + 'a> {
        Box::new(self.clone().into_batches())
    }

    /// The number of logical steps.
    fn num_items(&self) -> usize {
        self.samples.steps() as usize
    }

    fn to_device(
        &self,
        device: &Device,
    ) -> Arc<dyn DataLoader<LogicalBatch<PhysicalBatches<I, O>>>> {
        Arc::new(self.on(device))
    }

    /// Steps `start..end` of the remaining ones. (Records cannot be sliced: a part of the data
    /// would be another population.)
    fn slice(
        &self,
        start: usize,
        end: usize,
    ) -> Arc<dyn DataLoader<LogicalBatch<PhysicalBatches<I, O>>>> {
        let samples = self.samples.slice(start as u64, end as u64);
        Arc::new(Self { samples, ..self.clone() })
    }
}
