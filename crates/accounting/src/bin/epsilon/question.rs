//! What was asked, and the search for what it leaves open.

use burn_dp_accounting::{
    Accountant, Adjacency, Delta, Epsilon, GroupSize, NoiseMultiplier, PldAccountant,
    PrivacyAccountant, SamplingRate, Steps, affordable_sampling_rate, affordable_steps,
    calibrate_noise_multiplier,
};

use super::args::{Args, Solve};
use super::failure::Failure;
use super::run::Run;

/// What a run costs, or which run a given cost allows.
pub struct Question {
    rate: Option<SamplingRate>,
    noise_multiplier: Option<NoiseMultiplier>,
    steps: Option<Steps>,
    delta: Delta,
    adjacency: Adjacency,
    group: GroupSize,
    target: Option<(Solve, Epsilon)>,
}

impl Question {
    /// # Errors
    /// Where a flag is missing, or one is given that excludes another.
    pub fn new(args: &Args) -> Result<Self, Failure> {
        let question = Self {
            rate: sampling_rate(args)?,
            noise_multiplier: args.noise_multiplier,
            steps: args.steps.map(Steps::from),
            delta: args.delta.ok_or(missing("--delta"))?,
            adjacency: args.adjacency,
            group: args.group_size,
            target: args.solve.zip(args.epsilon),
        };
        let (solve, given, flag) = match question.target {
            Some((Solve::NoiseMultiplier, _)) => {
                ("noise-multiplier", question.noise_multiplier.is_some(), "--noise-multiplier")
            }
            Some((Solve::Steps, _)) => ("steps", question.steps.is_some(), "--steps"),
            Some((Solve::SamplingRate, _)) => {
                ("sampling-rate", question.rate.is_some(), "--sampling-rate")
            }
            None => return Ok(question),
        };
        if given { Err(Failure::AskedAndGiven { solve, flag }) } else { Ok(question) }
    }

    /// The complete run, and what was found for it in words.
    ///
    /// # Errors
    /// Where a flag is missing, or nothing meets the target.
    pub fn solve(&self) -> Result<(Run, Option<String>), Failure> {
        if self.group == GroupSize::ONE {
            self.solve_with(|| PrivacyAccountant::new(self.adjacency))
        } else {
            self.solve_with(|| PldAccountant::for_groups(self.adjacency, self.group))
        }
    }

    fn solve_with<A: Accountant>(
        &self,
        accountant: impl Fn() -> A,
    ) -> Result<(Run, Option<String>), Failure> {
        let Some((solve, target)) = self.target else {
            let run = self.run(self.rate()?, self.noise_multiplier()?, self.steps()?);
            return Ok((run, None));
        };
        let delta = self.delta;
        let meets = |run: &Run| -> burn_dp_accounting::Result<bool> {
            let mut accountant = accountant();
            accountant.compose(&run.event(), 1)?;
            Ok(accountant.epsilon(delta) <= target)
        };
        // An answer is rounded to a readable number on the safe side. The number that is printed is the one
        // that is checked.
        let (run, answer) = match solve {
            Solve::NoiseMultiplier => {
                let (rate, steps) = (self.rate()?, self.steps()?);
                let event = |z| Ok(self.run(rate, z, steps).event());
                let least = calibrate_noise_multiplier(target, delta, &accountant, event)?;
                let readable = NoiseMultiplier::new(six_digits(least.value(), f64::ceil))?;
                let run = self.run(rate, readable, steps);
                let run = if meets(&run)? { run } else { self.run(rate, least, steps) };
                (run, format!("least noise multiplier: {}", run.noise_multiplier.value()))
            }
            Solve::Steps => {
                let (rate, noise_multiplier) = (self.rate()?, self.noise_multiplier()?);
                let step = self.run(rate, noise_multiplier, Steps::from(1)).step();
                let steps = affordable_steps(target, delta, &accountant, &step)?;
                let answer = format!("most steps: {}", steps.value());
                (self.run(rate, noise_multiplier, steps), answer)
            }
            Solve::SamplingRate => {
                let (noise_multiplier, steps) = (self.noise_multiplier()?, self.steps()?);
                let event = |rate| Ok(self.run(rate, noise_multiplier, steps).event());
                let most = affordable_sampling_rate(target, delta, &accountant, event)?;
                let readable = SamplingRate::new(six_digits(most.value(), f64::floor))?;
                let run = self.run(readable, noise_multiplier, steps);
                let run = if meets(&run)? { run } else { self.run(most, noise_multiplier, steps) };
                (run, format!("largest sampling rate: {}", run.rate.value()))
            }
        };
        Ok((run, Some(format!("For epsilon <= {}, {answer}", target.value()))))
    }

    fn run(&self, rate: SamplingRate, noise_multiplier: NoiseMultiplier, steps: Steps) -> Run {
        let Self { delta, adjacency, group, .. } = *self;
        Run { rate, noise_multiplier, steps, delta, adjacency, group }
    }

    fn rate(&self) -> Result<SamplingRate, Failure> {
        self.rate.ok_or(missing("--sampling-rate (or --dataset-size with --batch-size)"))
    }

    fn noise_multiplier(&self) -> Result<NoiseMultiplier, Failure> {
        self.noise_multiplier.ok_or(missing("--noise-multiplier"))
    }

    fn steps(&self) -> Result<Steps, Failure> {
        self.steps.ok_or(missing("--steps"))
    }
}

fn missing(flag: &'static str) -> Failure {
    Failure::Missing { flag, advice: "give it, or ask for it with --epsilon and --solve" }
}

fn sampling_rate(args: &Args) -> Result<Option<SamplingRate>, Failure> {
    match (args.dataset_size, args.batch_size) {
        (Some(records), Some(batch)) if (1..=records).contains(&batch) => {
            Ok(Some(SamplingRate::new(batch as f64 / records as f64)?))
        }
        (Some(_), Some(_)) => Err(Failure::BatchLargerThanData),
        _ => Ok(args.sampling_rate),
    }
}

/// Six significant digits.
fn six_digits(value: f64, round: fn(f64) -> f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    // Dividing by a whole power of ten gives the float nearest to the decimal; multiplying by a
    // negative one would not.
    let digits = 5 - value.log10().floor() as i32;
    let unit = 10.0_f64.powi(digits.abs());
    if digits >= 0 { round(value * unit) / unit } else { round(value / unit) * unit }
}
