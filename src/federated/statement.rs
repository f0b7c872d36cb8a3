//! The guarantee of a run, in words.

use super::kind::Kind;
use super::plan::{Aggregation, FederatedPlan};
use super::unit::Protection;
use crate::error::Result;
use crate::plan::PrivacyPlan;
use crate::privacy::{Delta, Epsilon};

impl FederatedPlan {
    /// The guarantee of the whole planned run in words, and on what it rests.
    ///
    /// # Errors
    /// As [`epsilon`](Self::epsilon).
    pub fn statement(&self, delta: Delta) -> Result<String> {
        let epsilon = self.epsilon(delta)?;
        let text = match (self.aggregation(), self.terms().protection()) {
            (Aggregation::Central(_), _) => self.of_clients(epsilon, delta),
            (_, Protection::Record(proposal)) => {
                let who = "each record of a client";
                of_nodes(who, proposal.plan(), epsilon, delta)
                    + "The same holds for the whole run where nobody has records at two clients: the largest of the \
                       clients' epsilons counts."
            }
            (_, Protection::Local(proposal)) => {
                let who = "everything that a client holds";
                of_nodes(who, proposal.plan(), epsilon, delta)
            }
            (Aggregation::Mean { .. }, Protection::Central) => "Guarantee: none.".to_owned(),
        };
        Ok(text)
    }

    fn of_clients(&self, epsilon: Epsilon, delta: Delta) -> String {
        let Some(central) = self.central() else { return String::new() };
        let (privacy, rounds) = (central.privacy(), self.terms().rounds());
        let guarantee = if epsilon.is_finite() {
            format!("({epsilon}, {delta})-differential privacy (epsilon, delta) for a client")
        } else {
            "none (epsilon is infinite)".to_owned()
        };
        let what = match self.terms().kind() {
            Kind::Weights => "weights",
            Kind::Masks(_) => "shares of masks",
            Kind::Predictions => "predictions",
        };
        let cohort = match central.late() {
            Some(_) => "at most once a round, however often it is asked".to_owned(),
            None => {
                privacy.sampling().in_words().replace("record", "client").replace("batch", "round")
            }
        };
        format!(
            "Guarantee: {guarantee}, with everything that it holds.\n\
             Neighboring runs: {}.\n\
             Released: the {what} after each of {rounds} rounds. A round sums the clients' contributions, {}, adds {}, and \
             divides by the public constant {}.\n\
             Noise: multiplier {} relative to one client's contribution.\n\
             Sampling: {cohort}.\n\
             {}Trusted: the server, which sees contributions without noise. Assumed: clients are registered, so that none is \
             two; noise in exact real arithmetic; settings chosen without looking at private data.",
            privacy.adjacency().to_string().replace("record", "client"),
            privacy.clipping().in_words().replace("record", "client"),
            privacy.noise().in_words(),
            central.divisor(),
            privacy.noise_multiplier().value(),
            central.in_words(),
        )
    }
}

fn of_nodes(who: &str, plan: &PrivacyPlan, epsilon: Epsilon, delta: Delta) -> String {
    format!(
        "Proposed: ({epsilon}, {delta})-differential privacy (epsilon, delta) for {who}, from everybody outside of that client. \
         What holds is the budget in the client's own policy.\n\
         Neighboring data sets: {}.\n\
         Noise: multiplier {}, drawn by the client.\n\
         Trusted: the client's own computer. Assumed: noise in exact real arithmetic.\n",
        plan.adjacency(),
        plan.noise_multiplier().value(),
    )
}
