//! Questions and answers as JSON, one object a line.
//!
//! A question has an `id`, a `kind`, and the fields of that kind; see [`Row::answer`]. σ is the noise
//! standard deviation over the clipping norm throughout. An answer has the `id` and what applies of `rdp`,
//! `pld`, `pld_lower`, `exact` and `value`, or an `error`. Infinity is the string "inf" both ways.

use serde_json::{Map, Value, json};

use burn_dp::Result;
use burn_dp::privacy::{
    Accountant, AdaptiveClipping, Adjacency, ApproximateGdpAccountant, Clipping, ClippingNorm,
    Delta, DpEvent, Epsilon, ExpectedBatchSize, GaussianAccountant, GroupSize, NoiseMultiplier,
    PldAccountant, PrivacyAccountant, PrivacyPlan, RdpAccountant, RunCount, SamplingRate, Steps,
    ZeroConcentration, affordable_steps, calibrate_noise_multiplier,
};

type Answer = std::result::Result<Vec<(&'static str, Value)>, String>;

/// The answer to one line; never fails, because the lines after it shall be answered too.
pub fn answer(line: &str) -> String {
    let question: Value = match serde_json::from_str(line) {
        Ok(question) => question,
        Err(problem) => return refusal(&problem),
    };
    let Some(fields) = question.as_object() else { return refusal(&"not a JSON object") };
    let id = fields.get("id").cloned().unwrap_or(Value::Null);
    let mut reply = Map::from_iter([("id".to_owned(), id)]);
    match (Row { fields }).answer() {
        Ok(answers) => {
            reply.extend(answers.into_iter().map(|(key, value)| (key.to_owned(), value)))
        }
        Err(problem) => drop(reply.insert("error".to_owned(), json!(problem))),
    }
    Value::Object(reply).to_string()
}

/// The answer to what is not even a question.
pub fn refusal(problem: &dyn std::fmt::Display) -> String {
    json!({ "id": null, "error": problem.to_string() }).to_string()
}

struct Row<'a> {
    fields: &'a Map<String, Value>,
}

impl Row<'_> {
    fn answer(&self) -> Answer {
        match self.text("kind")? {
            "eps" | "compose" | "pure_dp_compose" | "eps_truncated" => {
                self.epsilons(&self.event()?, &RdpAccountant::default_orders())
            }
            "eps_rdp_exact" => self.epsilons(&self.event()?, &published_orders()),
            "eps_group" => self.group(),
            "delta" => self.deltas(),
            "rdp_curve" => self.rdp(),
            "calibrate_sigma" => self.calibrate(),
            "max_steps" => self.max_steps(),
            "zcdp" => self.zcdp(),
            "tuning" => self.tuning(),
            "adaptive_clip" => self.adaptive_clipping(),
            "gdp" => self.approximate(),
            other => Err(format!("unknown kind `{other}`")),
        }
    }

    /// ε by every accountant that supports the event.
    fn epsilons(&self, event: &DpEvent, orders: &[f64]) -> Answer {
        let (adjacency, delta) = (self.adjacency(), self.delta()?);
        let mut answers = Vec::new();
        let mut refused = None;
        let mut try_one = |name, epsilon: Result<Epsilon>| match epsilon {
            Ok(epsilon) => answers.push((name, number(epsilon.value()))),
            Err(error) => refused = Some(words(error)),
        };
        let new_rdp = RdpAccountant::with_orders(adjacency, orders).map_err(words)?;
        try_one("rdp", composed(new_rdp, event).map(|all| all.epsilon(delta)));
        let pld = composed(PldAccountant::new(adjacency), event);
        match pld.map(|all| all.epsilon_bracket(delta)) {
            Ok((lower, upper)) => {
                try_one("pld", Ok(upper));
                try_one("pld_lower", Ok(lower));
            }
            Err(error) => try_one("pld", Err(error)),
        }
        // Sampled events are refused: the field is absent then.
        if let Ok(exact) = composed(GaussianAccountant::new(adjacency), event) {
            try_one("exact", Ok(exact.epsilon(delta)));
        }
        match refused {
            Some(error) if answers.is_empty() => Err(error),
            _ => Ok(answers),
        }
    }

    fn group(&self) -> Answer {
        let size = u32::try_from(self.count("group_size")?).unwrap_or(u32::MAX);
        let group = GroupSize::new(size).map_err(words)?;
        let accountant = PldAccountant::for_groups(self.adjacency(), group);
        let (lower, upper) =
            composed(accountant, &self.event()?).map_err(words)?.epsilon_bracket(self.delta()?);
        Ok(vec![("pld", number(upper.value())), ("pld_lower", number(lower.value()))])
    }

    fn deltas(&self) -> Answer {
        let (adjacency, event) = (self.adjacency(), self.event()?);
        let epsilon = Epsilon::new(self.number("epsilon")?).map_err(words)?;
        let best = composed(PrivacyAccountant::new(adjacency), &event).map_err(words)?;
        let mut answers = vec![("value", number(best.delta(epsilon)))];
        if let Ok(rdp) = composed(RdpAccountant::new(adjacency), &event) {
            answers.push(("rdp", number(rdp.delta(epsilon))));
        }
        if let Ok(pld) = composed(PldAccountant::new(adjacency), &event) {
            answers.push(("pld", number(pld.delta(epsilon))));
        }
        if let Ok(exact) = composed(GaussianAccountant::new(adjacency), &event) {
            answers.push(("exact", number(exact.delta(epsilon))));
        }
        Ok(answers)
    }

    fn rdp(&self) -> Answer {
        let orders = [self.number("alpha")?];
        let new = RdpAccountant::with_orders(self.adjacency(), &orders).map_err(words)?;
        let curve = composed(new, &self.event()?).map_err(words)?.rdp();
        let value = curve.first().copied().ok_or("no order")?;
        Ok(vec![("value", number(value)), ("rdp", number(value))])
    }

    fn calibrate(&self) -> Answer {
        let (rate, steps) = (self.rate()?, self.steps()?);
        let run = |z| Ok(DpEvent::poisson_sampled_gaussian(rate, z).repeated(steps));
        let (target, delta, adjacency) = (self.target()?, self.delta()?, self.adjacency());
        let least = match self.asked() {
            Asked::Rdp => {
                calibrate_noise_multiplier(target, delta, || RdpAccountant::new(adjacency), run)
            }
            Asked::Pld => {
                calibrate_noise_multiplier(target, delta, || PldAccountant::new(adjacency), run)
            }
            Asked::Exact => {
                let new = || GaussianAccountant::new(adjacency);
                calibrate_noise_multiplier(target, delta, new, run)
            }
            Asked::Best => {
                calibrate_noise_multiplier(target, delta, || PrivacyAccountant::new(adjacency), run)
            }
        };
        Ok(vec![("value", number(least.map_err(words)?.value()))])
    }

    fn max_steps(&self) -> Answer {
        let event =
            DpEvent::poisson_sampled_gaussian(self.rate()?, self.noise("noise_multiplier")?);
        let (target, delta, adjacency) = (self.target()?, self.delta()?, self.adjacency());
        let most = match self.asked() {
            Asked::Rdp => affordable_steps(target, delta, || RdpAccountant::new(adjacency), &event),
            Asked::Pld => affordable_steps(target, delta, || PldAccountant::new(adjacency), &event),
            Asked::Exact => {
                affordable_steps(target, delta, || GaussianAccountant::new(adjacency), &event)
            }
            Asked::Best => {
                affordable_steps(target, delta, || PrivacyAccountant::new(adjacency), &event)
            }
        };
        Ok(vec![("value", json!(most.map_err(words)?.value()))])
    }

    fn zcdp(&self) -> Answer {
        let rho = ZeroConcentration::new(self.number("rho")?).map_err(words)?;
        let event = DpEvent::ZeroConcentrated { rho };
        let delta = self.delta()?;
        let rdp = composed(RdpAccountant::new(self.adjacency()), &event).map_err(words)?;
        let best = composed(PrivacyAccountant::new(self.adjacency()), &event).map_err(words)?;
        Ok(vec![
            ("rdp", number(rdp.epsilon(delta).value())),
            ("value", number(best.epsilon(delta).value())),
        ])
    }

    fn tuning(&self) -> Answer {
        let mean = self.number("mean_runs")?;
        let shape = self.number("shape")?;
        let runs = if shape == f64::INFINITY {
            RunCount::poisson(mean)
        } else {
            RunCount::negative_binomial(mean, shape)
        };
        let runs = runs.map_err(words)?;
        let event = DpEvent::RepeatAndSelect { event: self.event()?.into(), runs };
        let rdp = composed(RdpAccountant::new(self.adjacency()), &event).map_err(words)?;
        let epsilon = number(rdp.epsilon(self.delta()?).value());
        Ok(vec![("rdp", epsilon.clone()), ("value", epsilon)])
    }

    /// The noise multiplier that is left for the gradient, from a plan, so that it is the one used.
    fn adaptive_clipping(&self) -> Answer {
        let norm = ClippingNorm::new(1.0).map_err(words)?;
        let clipping =
            AdaptiveClipping::new(norm, 0.5, 0.2, self.number("sigma_b")?).map_err(words)?;
        let plan = PrivacyPlan::builder()
            .sampling_rate(SamplingRate::new(1.0).map_err(words)?)
            .expected_batch_size(ExpectedBatchSize::new(1.0).map_err(words)?)
            .steps(Steps::from(1))
            .adjacency(self.adjacency())
            .clipping(Clipping::from(clipping))
            .noise_multiplier(self.noise("effective_noise_multiplier")?)
            .build()
            .map_err(words)?;
        Ok(vec![("value", number(plan.gradient_noise_multiplier().value()))])
    }

    /// Never a guarantee, so it is under no accountant's name.
    fn approximate(&self) -> Answer {
        let accountant = ApproximateGdpAccountant::new(self.adjacency());
        let accountant = composed(accountant, &self.event()?).map_err(words)?;
        Ok(vec![("value", number(accountant.epsilon(self.delta()?).value()))])
    }

    /// The whole run that the row is about.
    fn event(&self) -> std::result::Result<DpEvent, String> {
        if let Some(phases) = self.fields.get("phases") {
            let phases = phases.as_array().ok_or("`phases` must be a list")?;
            let phase = |phase: &Value| {
                let fields = phase.as_object().ok_or("each phase must be an object")?;
                Row { fields }.event()
            };
            return Ok(DpEvent::Composed(
                phases.iter().map(phase).collect::<std::result::Result<_, _>>()?,
            ));
        }
        if self.fields.contains_key("epsilon_each") {
            let epsilon = Epsilon::new(self.number("epsilon_each")?).map_err(words)?;
            return Ok(DpEvent::PureDp { epsilon }.repeated(self.steps()?));
        }
        let sampling = self.fields.get("sampling").and_then(Value::as_str).unwrap_or("poisson");
        let step = if sampling.starts_with("fixed-size") {
            DpEvent::SampledWithoutReplacement {
                dataset_size: self.count("dataset_size")?,
                batch_size: self.count("batch")?,
                event: self.release()?.into(),
            }
        } else if sampling.starts_with("truncated") {
            DpEvent::TruncatedPoissonSampled {
                rate: self.rate()?,
                dataset_size: self.count("dataset_size")?,
                largest_batch: self.count("truncated_batch")?,
                event: self.release()?.into(),
            }
        } else if sampling.starts_with("full") {
            self.release()?
        } else if sampling.starts_with("poisson") {
            DpEvent::PoissonSampled { rate: self.rate()?, event: self.release()?.into() }
        } else {
            return Err(format!("unknown sampling `{sampling}`"));
        };
        Ok(step.repeated(self.steps()?))
    }

    fn release(&self) -> std::result::Result<DpEvent, String> {
        const OVER_TWO: &str = "noise_multiplier_over_replace_sensitivity";
        let z = if self.fields.contains_key(OVER_TWO) {
            // σ / 2C there, σ / C here.
            NoiseMultiplier::new(2.0 * self.number(OVER_TWO)?).map_err(words)?
        } else {
            self.noise("noise_multiplier")?
        };
        Ok(DpEvent::gaussian(z))
    }

    /// Which accountant the row asks for.
    fn asked(&self) -> Asked {
        let name = self.fields.get("accountant").and_then(Value::as_str).unwrap_or("");
        let name = name.to_lowercase();
        let has = |part: &str| name.contains(part);
        if has("rdp") || has("renyi") {
            Asked::Rdp
        } else if has("pld") || has("prv") {
            Asked::Pld
        } else if has("exact") || has("gaussian") {
            Asked::Exact
        } else {
            Asked::Best
        }
    }

    fn adjacency(&self) -> Adjacency {
        match self.fields.get("adjacency").and_then(Value::as_str).unwrap_or("") {
            name if name.starts_with("zero_out") => Adjacency::ZeroOut,
            name if name.starts_with("replace_one") => Adjacency::ReplaceOne,
            _ => Adjacency::AddRemove,
        }
    }

    fn rate(&self) -> std::result::Result<SamplingRate, String> {
        SamplingRate::new(self.number("q")?).map_err(words)
    }

    fn noise(&self, key: &str) -> std::result::Result<NoiseMultiplier, String> {
        NoiseMultiplier::new(self.number(key)?).map_err(words)
    }

    fn delta(&self) -> std::result::Result<Delta, String> {
        Delta::new(self.number("delta")?).map_err(words)
    }

    fn target(&self) -> std::result::Result<Epsilon, String> {
        Epsilon::new(self.number("epsilon")?).map_err(words)
    }

    /// How often a step is taken: once, where the row does not say.
    fn steps(&self) -> std::result::Result<u64, String> {
        if self.fields.contains_key("steps") { self.count("steps") } else { Ok(1) }
    }

    fn text(&self, key: &str) -> std::result::Result<&str, String> {
        self.field(key)?.as_str().ok_or_else(|| format!("`{key}` must be a string"))
    }

    fn count(&self, key: &str) -> std::result::Result<u64, String> {
        let value = self.field(key)?;
        // Python writes whole numbers as floats where they went through one.
        let whole = value.as_f64().filter(|x| x.fract() == 0.0 && (0.0..=9e15).contains(x));
        let count = value.as_u64().or(whole.map(|x| x as u64));
        count.ok_or_else(|| format!("`{key}` must be a whole number, at least 0"))
    }

    fn number(&self, key: &str) -> std::result::Result<f64, String> {
        match self.field(key)? {
            Value::Number(number) => number.as_f64().ok_or_else(|| format!("`{key}` is too large")),
            Value::String(text) if text.starts_with("inf") => Ok(f64::INFINITY),
            _ => Err(format!("`{key}` must be a number")),
        }
    }

    fn field(&self, key: &str) -> std::result::Result<&Value, String> {
        self.fields.get(key).ok_or_else(|| format!("`{key}` is missing"))
    }
}

enum Asked {
    Rdp,
    Pld,
    Exact,
    Best,
}

/// The default orders of dp-accounting 0.6.0, to compare like with like.
fn published_orders() -> Vec<f64> {
    let tenths = (11..110).map(|n| f64::from(n) / 10.0);
    tenths.chain((11..64).map(f64::from)).chain([128.0, 256.0, 512.0, 1024.0]).collect()
}

fn composed<A: Accountant>(mut accountant: A, event: &DpEvent) -> Result<A> {
    accountant.compose(event, 1)?;
    Ok(accountant)
}

fn number(value: f64) -> Value {
    if value == f64::INFINITY { json!("inf") } else { json!(value) }
}

fn words(error: burn_dp::Error) -> String {
    error.to_string()
}
