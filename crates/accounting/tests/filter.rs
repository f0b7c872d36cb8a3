//! The privacy filter and the privacy odometer against adversaries that choose adaptively.

use burn_dp_accounting::Error;
use burn_dp_accounting::{
    Accountant, Adjacency, DpEvent, Epsilon, GaussianAccountant, RdpAccountant, RenyiFilter,
    RenyiOdometer, Spending,
};
use chacha20::ChaCha12Rng;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};

mod common {
    pub mod events;
}
use common::events::{composed, delta, epsilon, gaussian, poisson, step, zcdp};

const KIND: Adjacency = Adjacency::AddRemove;

fn filter(at: f64, failure: f64, planned: &DpEvent) -> RenyiFilter {
    RenyiFilter::for_planned(KIND, epsilon(at), delta(failure), planned).unwrap()
}

/// Composes onto the Rényi accountant at one order.
fn rdp(order: f64, events: &[(DpEvent, u64)]) -> f64 {
    let mut accountant = RdpAccountant::with_orders(KIND, &[order]).unwrap();
    for (event, count) in events {
        accountant.compose(event, *count).unwrap();
    }
    accountant.rdp()[0]
}

mod filters {
    use super::*;

    #[test]
    fn the_budget_is_the_largest_divergence_that_converts() {
        for (at, failure, order) in
            [(1.0, 1e-5, 20.0), (3.0, 1e-6, 8.0), (0.1, 1e-9, 400.0), (20.0, 1e-5, 2.0)]
        {
            let filter = RenyiFilter::at_order(KIND, epsilon(at), delta(failure), order).unwrap();
            let converted = |rdp: f64| {
                rdp + ((order - 1.0) / order).ln() - (failure.ln() + order.ln()) / (order - 1.0)
            };
            assert!(converted(filter.budget()) <= at, "order {order}");
            assert!(converted(filter.budget() + 1e-9) > at, "order {order}");
            assert_eq!(filter.guarantee(), (epsilon(at), delta(failure)));
            assert_eq!((filter.order(), filter.spent()), (order, 0.0));
        }
    }

    #[test]
    fn a_plan_that_costs_what_it_may_fits() {
        for (event, count) in [(step(0.01, 1.0), 1000), (gaussian(50.0), 300), (step(0.2, 4.0), 90)]
        {
            let planned = event.clone().repeated(count);
            let cost = composed(RdpAccountant::new(KIND), &planned, 1).epsilon(delta(1e-6)).value();
            let mut filter = filter(cost * (1.0 + 1e-9), 1e-6, &planned);
            let affordable = filter.affordable(&event).unwrap().value();
            assert!((count..=count + count / 20).contains(&affordable), "{affordable} of {count}");
            assert_eq!(filter.try_spend(&planned, 1).unwrap(), Spending::Granted);
            assert_eq!(filter.try_spend(&planned, 1).unwrap(), Spending::Refused);
        }
    }

    #[test]
    fn affordable_is_exactly_what_is_granted() {
        let mut filter = filter(4.0, 1e-6, &step(0.02, 1.0).repeated(500));
        assert_eq!(filter.try_spend(&step(0.02, 1.0), 100).unwrap(), Spending::Granted);
        for event in [step(0.02, 1.0), step(0.02, 3.0), gaussian(30.0), zcdp(1e-15)] {
            let most = filter.affordable(&event).unwrap().value();
            assert!(most > 0);
            assert_eq!(filter.clone().try_spend(&event, most).unwrap(), Spending::Granted);
            assert_eq!(filter.clone().try_spend(&event, most + 1).unwrap(), Spending::Refused);
        }
        assert_eq!(filter.affordable(&gaussian(0.0)).unwrap().value(), 0);
        assert_eq!(filter.affordable(&zcdp(0.0)).unwrap().value(), u64::MAX);
    }

    #[test]
    fn what_is_refused_is_not_spent_and_less_may_follow() {
        let mut filter = filter(1.0, 1e-6, &gaussian(10.0));
        assert_eq!(filter.try_spend(&gaussian(8.0), 1).unwrap(), Spending::Granted);
        let spent = filter.spent();
        assert_eq!(filter.try_spend(&gaussian(2.0), 1).unwrap(), Spending::Refused);
        assert_eq!(filter.spent(), spent);
        assert_eq!(filter.try_spend(&gaussian(100.0), 1).unwrap(), Spending::Granted);
        assert!(filter.spent() > spent && filter.spent() <= filter.budget());
        assert_eq!(filter.try_spend(&gaussian(0.0), 1).unwrap(), Spending::Refused, "no noise");
        assert_eq!(filter.try_spend(&gaussian(1e-9), 0).unwrap(), Spending::Granted, "not run");
    }

    #[test]
    fn bad_input_is_an_error_and_changes_nothing() {
        let at =
            |at, failure, order| RenyiFilter::at_order(KIND, epsilon(at), delta(failure), order);
        for bad in [at(f64::INFINITY, 1e-5, 2.0), at(1.0, 1e-5, 1.0), at(1.0, 1e-5, f64::NAN)] {
            assert!(matches!(bad, Err(Error::Setting(_))));
        }
        assert!(at(1.0, 1e-5, 1.5).is_err(), "the conversion alone costs more");
        assert!(at(1e-6, 1e-15, 1024.0).is_err());
        let too_small = RenyiFilter::for_planned(KIND, epsilon(1e-6), delta(1e-15), &gaussian(9.0));
        assert!(too_small.is_err());
        assert!(RenyiFilter::for_planned(KIND, epsilon(1.0), delta(1e-6), &gaussian(0.0)).is_ok());

        let mut filter = at(2.0, 1e-5, 10.0).unwrap();
        assert_eq!(filter.try_spend(&gaussian(10.0), 1).unwrap(), Spending::Granted);
        let spent = filter.spent();
        let nested = poisson(0.1, step(0.1, 1.0));
        assert!(matches!(filter.try_spend(&nested, 1), Err(Error::UnsupportedEvent { .. })));
        assert!(matches!(filter.affordable(&nested), Err(Error::UnsupportedEvent { .. })));
        assert!(filter.try_spend(&gaussian(10.0), u64::MAX).is_err(), "cannot be counted");
        assert_eq!(filter.spent(), spent);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// The adversary draws each request anew. Its requests grow while they are granted.
        #[test]
        fn no_adversary_passes_the_budget(
            seed in any::<u64>(), log_target in -1.5..2.5_f64, log_delta in -25.0..-3.0_f64,
        ) {
            let (at, failure) = (log_target.exp(), log_delta.exp());
            let mut filter = filter(at, failure, &gaussian(5.0 / at).repeated(3));
            let mut rng = ChaCha12Rng::seed_from_u64(seed);
            let (mut granted, mut boldness) = (Vec::new(), 1.0);
            for _ in 0..60 {
                let z = 30.0 / at * rng.random::<f64>() / boldness;
                let count = rng.random_range(1..4);
                match filter.try_spend(&gaussian(z), count).unwrap() {
                    Spending::Granted => {
                        boldness *= 1.5;
                        granted.push((gaussian(z), count));
                    }
                    Spending::Refused => boldness = (boldness / 1.4).max(1.0),
                }
            }
            let left = filter.affordable(&gaussian(40.0 / at)).unwrap().value();
            prop_assert_eq!(filter.try_spend(&gaussian(40.0 / at), left).unwrap(), Spending::Granted);
            granted.push((gaussian(40.0 / at), left));

            prop_assert!(rdp(filter.order(), &granted) <= filter.budget());
            let mut exact = GaussianAccountant::new(KIND);
            for (event, count) in &granted {
                exact.compose(event, *count).unwrap();
            }
            let spent = exact.epsilon(delta(failure)).value();
            prop_assert!(spent <= at, "{spent} of {at}");
            prop_assert!(spent > 0.5 * at, "a filter that grants too little: {spent} of {at}");
        }
    }
}

mod odometers {
    use super::*;

    fn odometer(failure: f64) -> RenyiOdometer {
        RenyiOdometer::new(KIND, delta(failure)).unwrap()
    }

    #[test]
    fn it_starts_at_zero_and_rises() {
        let mut odometer = odometer(1e-6);
        assert_eq!(odometer.epsilon().value(), 0.0);
        assert_eq!(odometer.delta(), delta(1e-6));
        let mut before = 0.0;
        for z in [100.0, 20.0, 50.0, 5.0, 0.5] {
            let announced = odometer.epsilon_after(&gaussian(z), 2).unwrap();
            odometer.record(&gaussian(z), 2).unwrap();
            let now = odometer.epsilon();
            assert_eq!(now, announced);
            assert!(now.value() > before);
            before = now.value();
        }
        odometer.record(&gaussian(0.0), 1).unwrap();
        assert_eq!(odometer.epsilon(), Epsilon::INFINITY);
    }

    #[test]
    fn it_is_above_what_a_fixed_run_costs_but_not_by_much() {
        for (event, count) in [(gaussian(30.0), 100), (step(0.01, 1.0), 1000), (step(0.1, 3.0), 40)]
        {
            let mut odometer = odometer(1e-6);
            odometer.record(&event, count).unwrap();
            let fixed = composed(RdpAccountant::new(KIND), &event, count);
            let ratio = odometer.epsilon().value() / fixed.epsilon(delta(1e-6)).value();
            assert!((1.0..1.6).contains(&ratio), "{ratio}");
        }
    }

    #[test]
    fn a_refused_event_changes_nothing() {
        let mut odometer = odometer(1e-6);
        odometer.record(&gaussian(10.0), 1).unwrap();
        let before = odometer.epsilon();
        assert!(odometer.record(&gaussian(10.0), u64::MAX).is_err());
        assert!(odometer.epsilon_after(&gaussian(10.0), u64::MAX).is_err());
        assert_eq!(odometer.epsilon(), before);
        assert!(RenyiOdometer::with_orders(KIND, delta(1e-6), &[]).is_err());
        assert!(RenyiOdometer::with_orders(KIND, delta(1e-6), &[1.0]).is_err());
    }

    /// The adversary is given the privacy loss so far, and chooses the noise of the next Gaussian release
    /// by it. It wins if the loss is ever above what the odometer shows.
    #[test]
    fn the_loss_passes_what_is_shown_no_more_often_than_promised() {
        let failure = 0.05;
        let mut rng = ChaCha12Rng::seed_from_u64(7);
        let runs = 1500;
        let mut caught = 0;
        for _ in 0..runs {
            // With fewer orders the odometer is tighter, and so the test is harder.
            let mut odometer = RenyiOdometer::with_orders(KIND, delta(failure), &[2.5]).unwrap();
            let mut loss = 0.0;
            for _ in 0..25 {
                let gap = odometer.epsilon().value() - loss;
                // The noise grows with the gap, so that no release is too bold.
                let z = if loss > 0.0 { 1.0_f64.max(gap / 2.0) } else { 1.5 };
                odometer.record(&gaussian(z), 1).unwrap();
                let noise: f64 = StandardNormal.sample(&mut rng);
                loss += 0.5 / (z * z) + noise / z;
                if loss > odometer.epsilon().value() {
                    caught += 1;
                    break;
                }
            }
        }
        let share = f64::from(caught) / f64::from(runs);
        assert!(share <= failure, "{share}");
        assert!(share > failure / 50.0, "an odometer that is far too careful: {share}");
    }
}
