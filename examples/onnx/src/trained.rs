//! What is trained, by the paths that burn-onnx gives.

use anyhow::Result;
use burn_dp::selection::ParamSelector;
use clap::ValueEnum;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Trained {
    /// The new head alone.
    Head,
    /// Every bias and shift, and the head (DP-BiTFiT: Bu et al. 2022, arXiv 2210.00036).
    Biases,
    /// Every layer. Tables are constants to burn-onnx: name them.
    Full,
}

impl Trained {
    /// Not `all()`: it has every constant of floating point in it, such as the factor of attention's scores.
    pub fn rule(self) -> Result<ParamSelector> {
        Ok(match self {
            Self::Head => ParamSelector::head(),
            Self::Biases => ParamSelector::bias().union(ParamSelector::head()),
            Self::Full => ParamSelector::regex(r"\.(weight|bias|gamma|beta)$")?,
        })
    }

    /// The same with further paths, such as a table of words.
    pub fn and(self, paths: &[String]) -> Result<ParamSelector> {
        let rule = self.rule()?;
        if paths.is_empty() {
            return Ok(rule);
        }
        Ok(rule.union(ParamSelector::paths(paths)?))
    }
}
