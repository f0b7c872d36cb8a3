//! Where a module is.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};

/// The device of a module's weights, or `otherwise` where it has none. `build.rs` has the generated code ask.
pub fn device_of(module: &impl Module, otherwise: &Device) -> Device {
    struct First(Option<Device>);
    impl ModuleVisitor for First {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.get_or_insert_with(|| param.val().device());
        }
    }
    let mut first = First(None);
    module.visit(&mut first);
    first.0.unwrap_or_else(|| otherwise.clone())
}
