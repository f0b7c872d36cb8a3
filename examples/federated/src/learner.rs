//! How a client trains, and how weights are tested.

mod directions;
mod features;
mod head;
mod learning;
mod masks;
mod network;
mod predictions;
mod records;
mod trained;

use anyhow::{Result, ensure};
use finetune::data;
use finetune::run::task::{ImageArgs, Task, TextArgs, cifar10, sentiment};

use self::features::FeatureSets;
pub use self::learning::{Learner, Turn};

use self::head::Head;
use self::masks::Masks;
use self::network::Network;
use self::predictions::Predictions;
use crate::settings::{Sent, Settings, TaskName, Train};

/// The learner that the settings name.
///
/// # Errors
/// When data or pretrained weights are missing, or the model has nothing of what is to be trained.
pub fn learner(settings: &Settings) -> Result<Box<dyn Learner>> {
    let folder = data::folder()?;
    match settings.task {
        TaskName::Cifar10 => of_task(cifar10(&folder, &ImageArgs::default())?, settings, &folder),
        TaskName::Sentiment => of_task(
            sentiment(&folder, &TextArgs { length: settings.length, ..TextArgs::default() })?,
            settings,
            &folder,
        ),
    }
}

/// The learner of any task; features are kept in `folder`.
///
/// # Errors
/// As [`learner`].
pub fn of_task<T>(
    task: T,
    settings: &Settings,
    folder: &std::path::Path,
) -> Result<Box<dyn Learner>>
where
    T: Task<Model: Sync> + Send + Sync + 'static,
{
    let features = || FeatureSets::new(&task, settings, folder);
    let head = (settings.kind, settings.train) == (Sent::Weights, Train::Head);
    ensure!(head || settings.directions.is_none(), "--directions is for weights of a head");
    Ok(match (settings.kind, settings.train) {
        (Sent::Masks, _) => Box::new(Masks::new(features()?, settings)?),
        (Sent::Predictions, _) => Box::new(Predictions::new(features()?)?),
        (Sent::Weights, Train::Head) => Box::new(Head::new(&task, features()?)?),
        (Sent::Weights, Train::Bias | Train::Lora | Train::Scores | Train::All) => {
            Box::new(Network::new(task, settings.train)?)
        }
    })
}
