//! What stays as it is while a run takes its steps.

use std::path::Path;

use anyhow::{Result, bail};
use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::Module;
use burn_dp::mask::SuperMaskConfig;
use burn_dp::selection::{ParamSelector, Schedule, TopSelection};

use super::batches::{Records, Views};
use super::features::Features;
use super::method::{Choice, parts};
use super::settings::Settings;
use super::task::{Part, Task};
use super::training::Training;

pub(super) struct Setup<'a, T: Task> {
    pub(super) task: &'a T,
    pub(super) settings: &'a Settings<'a>,
    /// Where a mask is trained.
    pub(super) mask: Option<SuperMaskConfig>,
    /// Which parameters each step trains.
    pub(super) schedule: Schedule,
    /// Of the training and the held-out records, where steps train the head alone.
    features: Option<(Features, Features)>,
}

impl<'a, T: Task> Setup<'a, T> {
    /// Lets gradient norms choose what is trained, if the method says so and no checkpoint knows it. Computes
    /// features, if the next step trains nothing but the head, and keeps them in `folder`.
    pub(super) fn new(
        task: &'a T,
        settings: &'a Settings,
        mask: Option<SuperMaskConfig>,
        training: &mut Training<T>,
        folder: &Path,
    ) -> Result<Self> {
        if let Some(choice) = settings.method.choice()?
            && training.state.chosen.is_none()
        {
            training.state.chosen = Some(choose(task, settings, &choice, training)?);
        }
        let schedule = match &training.state.chosen {
            Some(paths) => {
                let chosen = ParamSelector::paths(paths.iter().cloned())?;
                Schedule::new(chosen.union(parts::head()?))
            }
            None => settings.method.schedule(settings.steps, &task.late(&training.model))?,
        };
        let of = |part| Features::of(task, &training.model, part, folder, &settings.plain);
        let features = match settings.is_head_only(training.stepper.taken()) {
            true => Some((of(Part::Train)?, of(Part::Test)?)),
            false => None,
        };
        Ok(Self { task, settings, mask, schedule, features })
    }

    /// Records to train on in a step.
    pub(super) fn training_records(&self, step: u64) -> Records<'_, T> {
        Records {
            task: self.task,
            part: Part::Train,
            units: &self.settings.units,
            features: self.features_at(step).map(|(train, _)| train),
            views: views(self.settings, step),
            device: &self.settings.device,
        }
    }

    /// Records to test on after a step.
    pub(super) fn held_out_records(&self, step: u64) -> Records<'_, T> {
        Records {
            task: self.task,
            part: Part::Test,
            units: &self.settings.held_out,
            features: self.features_at(step).map(|(_, test)| test),
            views: None,
            device: &self.settings.plain,
        }
    }

    /// Features serve as long as the trunk is the pretrained one.
    fn features_at(&self, step: u64) -> Option<&(Features, Features)> {
        self.features.as_ref().filter(|_| self.settings.is_head_only(step))
    }
}

/// The paths of the parameters with the largest gradients.
fn choose<T: Task>(
    task: &T,
    settings: &Settings,
    choice: &Choice,
    training: &mut Training<T>,
) -> Result<Vec<String>> {
    let records = Records {
        task,
        part: Part::Train,
        units: &settings.units,
        features: None,
        views: None,
        device: &settings.device,
    };
    let Training { model, stepper, .. } = training;
    match stepper.choose(&choice.rule, model, &records, settings.args.physical)? {
        TopSelection::Parameters(selection) => Ok(selection.paths().map(str::to_owned).collect()),
        _ => bail!("the selection is not one of layers"),
    }
}

/// Several views of each image, if they are asked for.
fn views(settings: &Settings, step: u64) -> Option<Views> {
    let seed =
        settings.args.seed.unwrap_or(0).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(step);
    (settings.args.views > 1).then_some(Views { count: settings.args.views, seed })
}

/// One rate for the head, another for the rest, at a step.
pub(super) fn learning_rate<M: Module>(
    settings: &Settings,
    model: &M,
    step: u64,
) -> Result<ModuleLearningRate> {
    let factor = settings.args.rates.factor(step, settings.steps);
    let head = parts::head()?.select(model)?.group();
    let rest = ModuleLrScheduler::new(ConstantLr::from(factor * settings.lr));
    Ok(rest.with_group(head, ConstantLr::from(factor * settings.head_lr)).step())
}
