//! Aggregation of many clients' masks: means, majorities, posteriors, and the effect of privacy on
//! them.

mod common;

use burn_dp::Error;
use burn_dp::error::MaskError;
use burn_dp::mask::{
    BetaShares, CentralNoise, MaskKind, MaskSet, MaskShares, RandomizedResponse, Structure,
    SuperMaskConfig,
};
use burn_dp::privacy::{
    Accountant, Adjacency, DpEvent, Epsilon, NoiseMultiplier, PrivacyAccountant,
};
use burn_dp::seed::Seed;
use burn_dp::selection::ParamSelector;
use common::*;
use proptest::prelude::*;

fn config(structure: Structure) -> SuperMaskConfig {
    SuperMaskConfig::new(MaskKind::Stochastic { keep: 0.6 })
        .expect("valid")
        .with_structure(structure)
}

/// A client's mask of [`Net`], a different one for every number.
fn client(number: u64) -> MaskSet {
    let config = config(Structure::Weight);
    let model = config.apply(Net::new(&device())).expect("it fits");
    let model = config.refresh(model, number, 0).expect("drawn");
    MaskSet::of(&config, &model).expect("binary")
}

fn bits(masks: &MaskSet) -> Vec<bool> {
    masks.layers().iter().flat_map(|layer| layer.bits().to_vec()).collect()
}

fn shares(shares: &MaskShares) -> Vec<f64> {
    shares.layers().iter().flat_map(|layer| layer.shares().to_vec()).collect()
}

fn weighted(masks: &[MaskSet]) -> Vec<(MaskSet, f64)> {
    masks.iter().map(|mask| (mask.clone(), 1.0)).collect()
}

fn z(noise_multiplier: f64) -> NoiseMultiplier {
    NoiseMultiplier::new(noise_multiplier).expect("valid")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn a_mean_is_the_weighted_count(weights in prop::collection::vec(0.1..5.0f64, 1..6), turn in 0usize..6) {
        let clients: Vec<(MaskSet, f64)> =
            weights.iter().enumerate().map(|(i, w)| (client(i as u64), *w)).collect();
        let mean = MaskShares::mean(&clients).unwrap();
        let total: f64 = weights.iter().sum();
        for (place, share) in shares(&mean).into_iter().enumerate() {
            let kept: f64 = clients.iter().filter(|(m, _)| bits(m)[place]).map(|(_, w)| w).sum();
            prop_assert!((share - kept / total).abs() < 1e-12);
        }
        // Neither the order nor the scale of the weights matters.
        let mut turned: Vec<_> = clients.iter().map(|(m, w)| (m.clone(), 3.0 * w)).collect();
        turned.rotate_left(turn % clients.len());
        for (a, b) in shares(&mean).into_iter().zip(shares(&MaskShares::mean(&turned).unwrap())) {
            prop_assert!((a - b).abs() < 1e-12);
        }
    }

    #[test]
    fn a_majority_of_one_opinion_is_that_opinion(number: u64, clients in 1usize..5) {
        let masks = vec![client(number); clients];
        prop_assert_eq!(MaskShares::mean(&weighted(&masks)).unwrap().majority(), client(number));
    }

    #[test]
    fn a_uniform_prior_has_the_mean_as_its_mode(rounds in prop::collection::vec(1usize..4, 1..4)) {
        let mut beta = BetaShares::new(1.0).unwrap();
        let mut all = Vec::new();
        for (round, clients) in rounds.into_iter().enumerate() {
            let masks: Vec<MaskSet> =
                (0..clients).map(|number| client((10 * round + number) as u64)).collect();
            beta.update(&masks).unwrap();
            all.extend(masks);
        }
        let mean = MaskShares::mean(&weighted(&all)).unwrap();
        // Updating with masks or with their mean is the same.
        let mut by_mean = BetaShares::new(1.0).unwrap();
        by_mean.update_with_mean(&mean, all.len() as f64).unwrap();
        for (a, b) in shares(&by_mean.mean().unwrap()).into_iter().zip(shares(&beta.mean().unwrap())) {
            prop_assert!((a - b).abs() < 1e-12);
        }
        let mean = shares(&mean);
        let (mode, posterior) = (shares(&beta.mode().unwrap()), shares(&beta.mean().unwrap()));
        for ((mean, mode), posterior) in mean.into_iter().zip(mode).zip(posterior) {
            prop_assert!((mean - mode).abs() < 1e-12);
            // The prior pulls towards one half, with the weight of two more clients.
            let n = all.len() as f64;
            prop_assert!((posterior - (mean * n + 1.0) / (n + 2.0)).abs() < 1e-12);
        }
    }
}

#[test]
fn a_majority_decides_ties_for_keeping() {
    let (a, b) = (client(1), client(2));
    let majority = MaskShares::mean(&weighted(&[a.clone(), b.clone()])).expect("alike").majority();
    let either: Vec<bool> = bits(&a).iter().zip(bits(&b)).map(|(a, b)| *a || b).collect();
    assert_eq!(bits(&majority), either);
    // The result is a mask of the model.
    majority.apply(Net::new(&device())).expect("the same model");
}

#[test]
fn what_cannot_be_aggregated_is_refused() {
    assert!(matches!(MaskShares::mean(&[]), Err(Error::Mask(MaskError::NoMasks))));
    let config = config(Structure::Axis(0));
    let model = config.apply(Net::new(&device())).expect("it fits");
    let rows = MaskSet::of(&config, &model).expect("binary");
    let mixed = MaskShares::mean(&[(client(1), 1.0), (rows, 1.0)]);
    assert!(matches!(mixed, Err(Error::Mask(MaskError::OfAnotherModel { .. }))));
    for weight in [-1.0, f64::NAN, 0.0] {
        let mean = MaskShares::mean(&[(client(1), weight)]);
        assert!(matches!(mean, Err(Error::Setting(_))), "{weight}");
    }
    assert!(BetaShares::new(0.5).is_err());
    assert!(BetaShares::new(1.0).expect("valid").mean().is_none());
    for (norm, expected) in [(0.0, 1.0), (1.0, 0.0), (f64::NAN, 1.0), (1.0, f64::INFINITY)] {
        let noise = CentralNoise::new(norm, expected, z(1.0));
        assert!(matches!(noise, Err(Error::Setting(_))), "{norm}, {expected}");
    }
}

/// One half everywhere. It is at the same distance from every mask.
fn half() -> MaskShares {
    MaskShares::from(&client(1)).map(|_| 0.5)
}

#[test]
fn a_client_begins_where_the_server_is() {
    let config = config(Structure::Weight);
    let model = || config.apply(Net::new(&device())).expect("it fits");
    let sent = MaskShares::from(&client(1)).map(|kept| 0.2 + 0.6 * kept);
    let begun = config.with_shares(model(), &sent).expect("the same weights");
    // Over many draws, each weight is kept as often as it should be.
    let drawn: Vec<MaskSet> = (0..300)
        .map(|step| {
            let model = config.refresh(begun.clone(), 5, step).expect("drawn");
            MaskSet::of(&config, &model).expect("binary")
        })
        .collect();
    let mean = shares(&MaskShares::mean(&weighted(&drawn)).expect("alike"));
    for (mean, sent) in mean.into_iter().zip(shares(&sent)) {
        // Five standard deviations, for a hundred weights.
        assert!((mean - sent).abs() < 5.0 * (0.16f64 / 300.0).sqrt(), "{mean} instead of {sent}");
    }
    // The model still trains, and every share can still be reached.
    assert!(ParamSelector::masks().select(&begun).expect("masks").trained() > 0);
    let certain =
        config.with_shares(model(), &sent.clone().map(|_| f64::INFINITY)).expect("clamped");
    let certain = MaskSet::of(&config, &config.refresh(certain, 1, 0).expect("drawn"));
    let certain = bits(&certain.expect("binary"));
    assert!(certain.iter().filter(|bit| **bit).count() * 100 > certain.len() * 95);

    let soft = SuperMaskConfig::new(MaskKind::Sigmoid).expect("valid");
    let refused = soft.with_shares(soft.apply(Net::new(&device())).expect("it fits"), &sent);
    assert!(matches!(refused, Err(Error::Mask(MaskError::NotStochastic))));
    let refused = config.with_shares(Net::new(&device()), &sent);
    assert!(matches!(refused, Err(Error::Mask(MaskError::OfAnotherModel { .. }))));
    let rows = config.clone().with_structure(Structure::Axis(0));
    let refused = rows.with_shares(rows.apply(Net::new(&device())).expect("it fits"), &sent);
    assert!(matches!(refused, Err(Error::Mask(MaskError::OfAnotherModel { .. }))));
    assert!(config.with_shares(model(), &sent.map(|_| f64::NAN)).is_err());
}

#[test]
fn central_noise_has_the_size_of_its_event() {
    let clients: Vec<MaskSet> = (0..8).map(client).collect();
    let exact = shares(&MaskShares::mean(&weighted(&clients)).expect("alike"));
    let seed = Seed::reproducible(4);
    let norm = (exact.len() as f64).sqrt() / 2.0;
    let noise = CentralNoise::new(norm, 8.0, z(0.7)).expect("valid");
    let (mut squares, mut count) = (0.0, 0.0);
    for round in 0..100 {
        let (noised, event) =
            MaskShares::private_mean(&clients, &half(), &noise, &seed, round).expect("alike");
        assert_eq!(event, DpEvent::Gaussian { noise_multiplier: z(0.7) });
        for (noised, exact) in shares(&noised).into_iter().zip(&exact) {
            squares += (noised - exact).powi(2);
            count += 1.0;
        }
    }
    // z C, divided by the number of clients.
    let ratio = (squares / count).sqrt() / (0.7 * norm / 8.0);
    // Twelve thousand numbers: four standard deviations are 0.026.
    assert!((ratio - 1.0).abs() < 0.026, "{ratio}");
}

#[test]
fn one_client_moves_the_sum_by_its_clipped_difference() {
    let clients: Vec<MaskSet> = (0..5).map(client).collect();
    let seed = Seed::reproducible(4);
    let reference = MaskShares::from(&client(77)).map(|share| 0.3 + 0.3 * share);
    let distance_of_last = distance(&shares(&reference), &shares(&(&clients[4]).into()));
    for share in [0.01, 0.5, 1.0, 2.0] {
        let norm = share * distance_of_last;
        let noise = CentralNoise::new(norm, 1.0, z(0.1)).expect("valid");
        // The noise is the same in both worlds, so it cancels.
        let sum = |clients: &[MaskSet]| {
            let mean = MaskShares::private_mean(clients, &reference, &noise, &seed, 0);
            shares(&mean.expect("alike").0)
        };
        let moved = distance(&sum(&clients), &sum(&clients[..4]));
        let expected = norm.min(distance_of_last);
        // Sums are exact to 1e-9. After noise is added they are rounded to single precision, in
        // both worlds. A sum is at most as long as five differences plus the noise.
        let length = norm * (5.0 + 0.1 * 1.2 * (shares(&reference).len() as f64).sqrt());
        let rounding = 1e-9 + 2.0 * length * f64::from(f32::EPSILON) / 2.0 / expected;
        assert!(moved <= norm * (1.0 + rounding), "{moved} against {norm}");
        assert!((moved / expected - 1.0).abs() < rounding, "{moved} against {expected}");
    }
}

#[test]
fn a_round_without_clients_is_noise_around_the_reference() {
    let noise = CentralNoise::new(1e-6, 4.0, z(1.0)).expect("valid");
    let (mean, _) =
        MaskShares::private_mean(&[], &half(), &noise, &Seed::reproducible(1), 0).expect("empty");
    assert!(shares(&mean).into_iter().all(|share| (share - 0.5).abs() < 1e-4));
}

#[test]
fn randomized_response_is_its_closed_form() {
    for epsilon in [0.1, 1.0, 3.0, 8.0] {
        let epsilon = Epsilon::new(epsilon).expect("valid");
        let response = RandomizedResponse::new(epsilon).expect("in range");
        let flip = response.flip_probability();
        let spent = ((1.0 - flip) / flip).ln();
        assert!(
            (spent / epsilon.value() - 1.0).abs() < 1e-12
                && flip >= 1.0 / (1.0 + epsilon.value().exp())
        );

        // The event of a mask of n bits is that of n answers.
        let mut accountant = PrivacyAccountant::new(Adjacency::ReplaceOne);
        accountant.compose(&response.event(40).expect("finite"), 1).expect("an event");
        let total = accountant.epsilon(delta()).value();
        assert!(total <= 40.0 * epsilon.value() * (1.0 + 1e-9), "{total}");

        let (mut flipped, mut all) = (0, 0);
        for round in 0..100 {
            let answer =
                response.respond(&client(1), &Seed::reproducible(8), round).expect("drawn");
            flipped +=
                bits(&answer).iter().zip(bits(&client(1))).filter(|(a, b)| **a != *b).count();
            all += bits(&answer).len();
        }
        let (share, n) = (flipped as f64 / all as f64, all as f64);
        let tolerance = 4.5 * (flip * (1.0 - flip) / n).sqrt();
        assert!((share - flip).abs() < tolerance, "{share} against {flip}");
    }
    for epsilon in [0.0, 8.1] {
        assert!(RandomizedResponse::new(Epsilon::new(epsilon).expect("valid")).is_err());
    }
}

#[test]
fn flipped_masks_are_unbiased_after_correction() {
    let response = RandomizedResponse::new(Epsilon::new(1.0).expect("valid")).expect("in range");
    let answers: Vec<MaskSet> = (0..400)
        .map(|number| {
            let seed = Seed::reproducible(100 + number);
            response.respond(&client(1), &seed, 0).expect("drawn")
        })
        .collect();
    let mean = MaskShares::mean(&weighted(&answers)).expect("alike");
    let corrected = shares(&response.unbiased(mean));
    let truth: Vec<f64> =
        bits(&client(1)).into_iter().map(|bit| f64::from(u8::from(bit))).collect();
    let bias: f64 =
        corrected.iter().zip(&truth).map(|(c, t)| c - t).sum::<f64>() / truth.len() as f64;
    assert!(bias.abs() < 0.02, "{bias}");
}
