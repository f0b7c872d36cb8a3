//! A walk over a model's tensors that knows the current place.
//!
//! burn tells a visitor the names of modules as it enters and leaves them. Every visitor that needs
//! paths would have to keep a stack of them. This module keeps it once.

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Bool, Int, Tensor};

/// The current place of a walk.
#[derive(Default)]
pub(crate) struct Place {
    /// The names of the fields on the way, outermost first.
    pub(crate) names: Vec<String>,
    /// burn's name for the type of each: `Struct:Linear`, `Vec`, `Reparameterization`, ...
    pub(crate) containers: Vec<String>,
}

impl Place {
    /// The dotted path, as burn's `ParamGroup` has it.
    pub(crate) fn path(&self) -> String {
        self.names.join(".")
    }

    /// If this is a field of a reparameterization called `name`: the path of the weight, and the
    /// field's name.
    pub(crate) fn field_of(&self, name: &str) -> Option<(String, &str)> {
        match &self.names[..] {
            [weight @ .., attached, field] if attached == name => Some((weight.join("."), field)),
            _ => None,
        }
    }

    fn enter(&mut self, name: &str, container: &str) {
        self.names.push(name.to_owned());
        self.containers.push(container.to_owned());
    }

    fn leave(&mut self) {
        self.names.pop();
        self.containers.pop();
    }
}

/// Something that looks at a model's tensors.
pub(crate) trait Visit {
    fn enter(&mut self, _place: &Place) {}
    fn float<const D: usize>(&mut self, place: &Place, param: &Param<Tensor<D>>);
    fn int<const D: usize>(&mut self, _place: &Place, _param: &Param<Tensor<D, Int>>) {}
    fn bool<const D: usize>(&mut self, _place: &Place, _param: &Param<Tensor<D, Bool>>) {}
    fn flag(&mut self, _place: &Place, _flag: &Param<Flag>) {}
}

/// Something that changes a model's float tensors.
pub(crate) trait Change {
    fn float<const D: usize>(&mut self, place: &Place, param: Param<Tensor<D>>)
    -> Param<Tensor<D>>;
}

pub(crate) fn visit<M: Module>(module: &M, with: &mut impl Visit) {
    module.visit(&mut Walk { place: Place::default(), with });
}

pub(crate) fn change<M: Module>(module: M, with: &mut impl Change) -> M {
    module.map(&mut Walk { place: Place::default(), with })
}

struct Walk<'w, W> {
    place: Place,
    with: &'w mut W,
}

impl<W: Visit> ModuleVisitor for Walk<'_, W> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.enter(name, container_type);
        self.with.enter(&self.place);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.leave();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.with.float(&self.place, param);
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.with.int(&self.place, param);
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.with.bool(&self.place, param);
    }

    fn visit_flag(&mut self, flag: &Param<Flag>) {
        self.with.flag(&self.place, flag);
    }
}

impl<W: Change> ModuleMapper for Walk<'_, W> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.enter(name, container_type);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.leave();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.with.float(&self.place, param)
    }
}
