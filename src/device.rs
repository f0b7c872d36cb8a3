//! What a device can do.

use burn::tensor::Device;
use burn_backend::Backend;
use burn_dispatch::Dispatch;

/// What this library asks of a device. burn only reports a backend's name, so the name is
/// interpreted here, and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// Operations run on the thread that calls them, so several threads get more done, and the
    /// numbers are in the host's memory. Other devices have a queue.
    pub(crate) computes_on_host: bool,
    /// The device is burn's Flex. Some rules have kernels of their own for it.
    pub(crate) flex: bool,
    /// Products of f32 may round their operands to fewer bits (TF32). This is assumed of unknown
    /// devices. `tests/conformance/precision.rs` checks it for each backend.
    pub(crate) rounds_operands: bool,
}

impl Capabilities {
    pub(crate) fn of<B: Backend>(device: &B::Device) -> Self {
        Self::of_backend(&B::name(device))
    }

    pub(crate) fn of_device(device: &Device) -> Self {
        Self::of::<Dispatch>(device.as_dispatch())
    }

    /// Wrappers (autodiff, fusion) put their names around the backend's.
    fn of_backend(name: &str) -> Self {
        let flex = name.contains("flex");
        let computes_on_host = flex || name.contains("ndarray");
        let rounds_operands = !computes_on_host && !name.contains("wgpu");
        Self { computes_on_host, flex, rounds_operands }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_device_gets_no_credit() {
        let unknown = Capabilities::of_backend("fusion<cubecl<cuda>>");
        assert!(!unknown.computes_on_host && !unknown.flex && unknown.rounds_operands);
    }

    #[test]
    fn wrappers_hide_nothing() {
        for name in ["flex", "autodiff<flex>"] {
            let flex = Capabilities::of_backend(name);
            assert!(flex.computes_on_host && flex.flex && !flex.rounds_operands, "{name}");
        }
        assert!(!Capabilities::of_backend("fusion<cubecl<wgpu<wgsl>>>").rounds_operands);
    }
}
