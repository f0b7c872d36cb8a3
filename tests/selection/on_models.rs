//! Each rule on each model.

use burn::module::Module;
use burn_dp::Error;
use burn_dp::error::{ModelError, SelectionError};
use burn_dp::selection::ParamSelector;

use crate::models::*;

fn paths<M: Module>(model: &M, selector: ParamSelector) -> Vec<String> {
    selector.select(model).unwrap().paths().map(str::to_owned).collect()
}

#[test]
fn the_head_is_the_last_layer() {
    assert_eq!(paths(&Cnn::new(), ParamSelector::head()), ["head.weight", "head.bias"]);
    let transformer = Transformer::new();
    let head = ["classifier.weight", "classifier.bias"];
    assert_eq!(paths(&transformer, ParamSelector::head()), head);
    assert_eq!(paths(&transformer, ParamSelector::path("classifier")), head);
    assert_eq!(paths(&Nested::new(), ParamSelector::head()), ["end.Linear.weight"]);
    let last_two = paths(&Nested::new(), ParamSelector::last_layers(2));
    assert_eq!(last_two, ["pair.1.weight", "pair.1.bias", "end.Linear.weight"]);
    assert_eq!(paths(&adapted(), ParamSelector::head()), ["head.weight", "head.bias"]);
}

#[test]
fn biases_are_all_of_them_with_the_shifts_of_norms() {
    let cnn = ["first.bias", "frozen.beta", "second.bias", "norm.beta", "head.bias"];
    assert_eq!(paths(&Cnn::new(), ParamSelector::bias()), cnn);
    let nested = paths(&Nested::new(), ParamSelector::bias());
    assert_eq!(nested.len(), 2 * 2 + 1 + 2);
    assert!(nested.contains(&"blocks.1.output_bias".into()));
    let transformer = Transformer::new();
    let biases = paths(&transformer, ParamSelector::bias());
    let selection = ParamSelector::bias().select(&transformer).unwrap();
    // Per layer: four of the attention, two of the feed-forward part, two norms.
    assert_eq!(biases.len(), 3 * 8 + 1);
    assert_eq!(selection.trained(), 3 * (4 * 8 + 16 + 8 + 2 * 8) + 3);
}

#[test]
fn a_model_without_biases_is_told_how_to_get_some() {
    let device = crate::common::device();
    let model = burn::nn::LinearConfig::new(3, 2).with_bias(false).init(&device);
    let error = ParamSelector::bias().select(&model).unwrap_err();
    assert!(matches!(error, Error::Selection(SelectionError::NoBias { .. })));
    assert!(error.to_string().contains("with_bias(true)"), "{error}");
}

#[test]
fn norms_are_modules_called_so() {
    let norms = ["frozen.gamma", "frozen.beta", "norm.gamma", "norm.beta"];
    assert_eq!(paths(&Cnn::new(), ParamSelector::norms()), norms);
    let error = ParamSelector::norms().select(&Nested::new()).unwrap_err();
    assert!(matches!(error, Error::Selection(SelectionError::Empty { .. })), "{error}");
}

#[test]
fn running_statistics_are_never_selected() {
    let all = paths(&Cnn::new(), ParamSelector::all());
    assert!(!all.iter().any(|path| path.contains("running")), "{all:?}");
    assert_eq!(all.len(), 10);
}

#[test]
fn paths_name_parameters_or_modules_and_never_parts_of_names() {
    let model = Nested::new();
    let block = ["blocks.1.inner.weight", "blocks.1.inner.bias", "blocks.1.scale"];
    let selector =
        ParamSelector::path("blocks.1").minus(ParamSelector::path("blocks.1.output_bias"));
    assert_eq!(paths(&model, selector), block);
    let both = ParamSelector::paths(["gate", "pair.0.bias"]).unwrap();
    assert_eq!(paths(&model, both), ["gate.weight", "gate.bias", "pair.0.bias"]);
    assert!(ParamSelector::path("block").select(&model).is_err());
    assert!(ParamSelector::paths(Vec::<String>::new()).is_err());
}

#[test]
fn an_unknown_path_is_answered_with_what_there_is() {
    let model = Transformer::new();
    let error = ParamSelector::path("encoder.layer.0").select(&model).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Selection(SelectionError::UnknownPath { .. })));
    assert!(text.contains("in `encoder` there is: layers"), "{text}");
    let text = ParamSelector::path("head").select(&model).unwrap_err().to_string();
    assert!(text.contains("in the model there is: embedding, encoder, classifier"), "{text}");
}

#[test]
fn patterns_match_anywhere_in_the_path() {
    let weights = ParamSelector::regex(r"feedforward|pwff.*\.weight$").unwrap();
    assert_eq!(paths(&Transformer::new(), weights).len(), 3 * 2);
    assert!(matches!(ParamSelector::regex("("), Err(Error::Setting(_))));
}

#[test]
fn adapters_are_selected_by_name() {
    let model = adapted();
    let lora = paths(&model, ParamSelector::lora());
    let expected = [
        "first.weight.lora.a",
        "first.weight.lora.b",
        "second.weight.lora.a",
        "second.weight.lora.b",
    ];
    assert_eq!(lora, expected);
    let error = ParamSelector::lora().select(&Cnn::new()).unwrap_err().to_string();
    assert!(error.contains("LowRank"), "{error}");

    let device = crate::common::device();
    let plain = burn::nn::LinearConfig::new(6, 4).init(&device);
    let burns_own = plain.apply_lora(burn::module::Lora::new(2, 4.0));
    assert_eq!(paths(&burns_own, ParamSelector::lora()), ["weight.lora.a", "weight.lora.b"]);
}

#[test]
fn a_parameter_in_two_fields_is_refused_if_selected() {
    let error = ParamSelector::all().select(&Tied::new(true)).unwrap_err();
    assert!(matches!(error, Error::Model(ModelError::SharedParameter { .. })), "{error}");
    assert_eq!(paths(&Tied::new(true), ParamSelector::path("mix")), ["mix.weight", "mix.bias"]);
    // A parameter that is used twice from one field counts once.
    assert_eq!(paths(&Tied::new(false), ParamSelector::all()).len(), 3);
}

#[test]
fn the_table_says_what_is_trained() {
    let table = ParamSelector::bias().select(&Transformer::new()).unwrap().to_string();
    assert!(table.contains("encoder.layers.*."), "{table}");
    assert!(table.contains("3 x [8]"), "{table}");
    assert!(table.contains("219 of "), "{table}");
    let all = ParamSelector::all().select(&Tied::new(false)).unwrap().to_string();
    assert!(all.ends_with("all: 75 of 75 parameters are trained (100.000 %)"), "{all}");
}

#[test]
fn a_model_without_autodiff_is_refused() {
    let error = ParamSelector::all().select(&Cnn::new().valid()).unwrap_err();
    assert!(matches!(error, Error::Selection(SelectionError::NothingToSelect)), "{error}");
}

#[test]
fn a_selection_is_for_its_model() {
    let selection = ParamSelector::all().select(&Tied::new(false)).unwrap();
    let error = selection.apply(Tied::new(false)).unwrap_err();
    assert!(matches!(error, Error::Selection(SelectionError::OfAnotherModel)), "{error}");
}
