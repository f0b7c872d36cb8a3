//! Rules compose as sets do, and selections can be undone.

use std::collections::BTreeSet;

use burn::module::Module;
use burn_dp::Error;
use burn_dp::error::SelectionError;
use burn_dp::selection::ParamSelector;
use proptest::prelude::*;

use crate::models::*;

type Paths = BTreeSet<String>;

/// A rule as an expression, and the set that it should give.
#[derive(Clone, Debug)]
enum Expression {
    Atom(usize),
    Union(Box<Self>, Box<Self>),
    And(Box<Self>, Box<Self>),
    Minus(Box<Self>, Box<Self>),
}

fn expressions() -> impl Strategy<Value = Expression> {
    let atom = (0..5usize).prop_map(Expression::Atom);
    atom.prop_recursive(4, 24, 2, |inner| {
        (0..3, inner.clone(), inner).prop_map(|(kind, one, other)| {
            let (one, other) = (one.into(), other.into());
            match kind {
                0 => Expression::Union(one, other),
                1 => Expression::And(one, other),
                _ => Expression::Minus(one, other),
            }
        })
    })
}

fn atom(index: usize) -> ParamSelector {
    match index {
        0 => ParamSelector::all(),
        1 => ParamSelector::head(),
        2 => ParamSelector::bias(),
        3 => ParamSelector::regex("weight|scale").unwrap(),
        _ => ParamSelector::last_layers(2),
    }
}

impl Expression {
    fn selector(&self) -> ParamSelector {
        match self {
            Self::Atom(index) => atom(*index),
            Self::Union(one, other) => one.selector().union(other.selector()),
            Self::And(one, other) => one.selector().and(other.selector()),
            Self::Minus(one, other) => one.selector().minus(other.selector()),
        }
    }

    fn set<M: Module>(&self, model: &M) -> Paths {
        match self {
            Self::Atom(index) => selected(model, &atom(*index)).unwrap(),
            Self::Union(one, other) => &one.set(model) | &other.set(model),
            Self::And(one, other) => &one.set(model) & &other.set(model),
            Self::Minus(one, other) => &one.set(model) - &other.set(model),
        }
    }
}

fn selected<M: Module>(model: &M, selector: &ParamSelector) -> Result<Paths, Error> {
    Ok(selector.select(model)?.paths().map(str::to_owned).collect())
}

/// The trained part of the model.
fn trained<M: Module>(model: &M) -> Paths {
    struct Trained(Vec<String>, Paths);
    impl burn::module::ModuleVisitor for Trained {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(
            &mut self,
            param: &burn::module::Param<burn::tensor::Tensor<D>>,
        ) {
            if param.is_require_grad() {
                self.1.insert(self.0.join("."));
            }
        }
    }
    let mut visitor = Trained(Vec::new(), Paths::new());
    model.visit(&mut visitor);
    visitor.1
}

fn holds<M: Module>(model: &M, expression: &Expression) -> Result<(), TestCaseError> {
    let before = trained(model);
    let selector = expression.selector();
    let expected = expression.set(model);
    match selector.select(model) {
        Err(Error::Selection(SelectionError::Empty { .. })) => prop_assert!(expected.is_empty()),
        Err(error) => prop_assert!(false, "{error}"),
        Ok(selection) => {
            prop_assert_eq!(
                selection.paths().map(str::to_owned).collect::<Paths>(),
                expected.clone()
            );
            prop_assert!(selection.trained() <= selection.total());
            let applied = selection.apply(model.clone()).unwrap();
            prop_assert_eq!(trained(&applied), expected.clone());
            // The result of selecting does not depend on what is currently trained.
            prop_assert_eq!(selected(&applied, &selector).unwrap(), expected);
            prop_assert_eq!(trained(&selection.undo(applied).unwrap()), before);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rules_are_sets(expression in expressions()) {
        holds(&Transformer::new(), &expression)?;
        holds(&Cnn::new(), &expression)?;
        holds(&Nested::new(), &expression)?;
        holds(&Tied::new(false), &expression)?;
        holds(&adapted(), &expression)?;
    }
}
