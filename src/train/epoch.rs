//! A loader that continues where the run is.

use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator};
use burn::tensor::Device;

use super::shared_run::SharedRun;
use crate::loader::{PhysicalBatches, PoissonDataLoader};
use crate::optimizer::LogicalBatch;

type Batch<I, O> = LogicalBatch<PhysicalBatches<I, O>>;

/// The batches of a run's next steps. Each iteration yields a fixed number of them.
pub(super) struct EpochLoader<E, I, O> {
    shared: SharedRun<E>,
    /// Begins at the run's first step.
    loader: PoissonDataLoader<I, O>,
    /// Steps of an epoch.
    steps: u64,
}

impl<E, I, O> EpochLoader<E, I, O> {
    pub(super) fn new(shared: SharedRun<E>, loader: PoissonDataLoader<I, O>, steps: u64) -> Self {
        Self { shared, loader, steps }
    }

    /// The loader of the next epoch.
    fn epoch(&self) -> PoissonDataLoader<I, O> {
        let start = self.shared.steps_taken();
        self.loader.between(start, start.saturating_add(self.steps))
    }
}

impl<E, I, O> DataLoader<Batch<I, O>> for EpochLoader<E, I, O>
where
    E: Send + 'static,
    I: 'static,
    O: 'static,
{
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch<I, O>> + 'a> {
        Box::new(self.epoch().into_batches())
    }

    fn num_items(&self) -> usize {
        self.epoch().num_items()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch<I, O>>> {
        let loader = self.loader.on(device);
        Arc::new(Self { shared: self.shared.clone(), loader, steps: self.steps })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Batch<I, O>>> {
        self.epoch().slice(start, end)
    }
}
