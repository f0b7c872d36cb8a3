//! `report.html`: a run on one page that needs no other file.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::metrics::Metrics;
use super::plots;
use super::summary::Summary;

/// What the page says of a run beside its summary.
pub(super) struct Page<'a> {
    pub(super) summary: &'a Summary,
    pub(super) lines: &'a [Metrics],
    /// The guarantee in words.
    pub(super) statement: &'a str,
    /// A table of the parameters that were trained last.
    pub(super) trained: &'a str,
}

impl Page<'_> {
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let file = folder.join("report.html");
        fs::write(&file, self.html()?).with_context(|| format!("cannot write {}", file.display()))
    }

    fn html(&self) -> Result<String> {
        let Self { summary, statement, trained, .. } = self;
        let title = escaped(&format!("{}, {}", summary.data, summary.args.method.name()));
        let promise = match summary.epsilon {
            Some(epsilon) => format!("ε = {epsilon:.3} at δ = {:e}", summary.args.delta),
            None => "no privacy".into(),
        };
        let plots = self.plots()?;
        Ok(format!(
            r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{STYLE}</style></head><body>
<h1>{title}</h1>
<p class="figures"><b>{:.1} %</b> of held-out answers are right <b>{}</b></p>
<h2>What is promised</h2><pre>{}</pre>
<h2>How it went</h2><div class="plots">{plots}</div>
<table><tr><th>step</th><th>ε so far</th><th>right</th><th>loss</th><th>seconds</th></tr>{}</table>
<h2>The run</h2><table class="facts">{}</table>
<h2>What was trained</h2><pre>{}</pre>
<p>Held-out records count as public: what this page says of them is not part of the guarantee.</p>
</body></html>
"#,
            100.0 * summary.accuracy,
            escaped(&promise),
            escaped(statement),
            self.lines.iter().map(row).collect::<String>(),
            facts(summary),
            escaped(trained),
        ))
    }

    fn plots(&self) -> Result<String> {
        let pictures = plots::pictures(self.lines)?;
        Ok(pictures.into_iter().map(|(_, svg)| format!("<figure>{svg}</figure>")).collect())
    }
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#1a1a1a;background:#fff}h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}pre{background:#f4f5f7;\
padding:1rem;overflow-x:auto;white-space:pre-wrap;font-size:.85rem;border-radius:6px}table{border-collapse:collapse}\
td,th{padding:.25rem .8rem;text-align:right;border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}\
.figures b{font-size:1.4rem;margin-right:.3rem}.figures b+b,.figures b:last-child{margin-left:1.5rem}\
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(22rem,1fr));gap:1rem}figure{margin:0}\
svg{max-width:100%;height:auto}.facts td{text-align:left}";

fn row(line: &Metrics) -> String {
    let epsilon = line.epsilon.map_or("none".into(), |epsilon| format!("{epsilon:.3}"));
    let Metrics { step, accuracy, loss, seconds, .. } = line;
    let accuracy = 100.0 * accuracy;
    format!(
        "<tr><td>{step}</td><td>{epsilon}</td><td>{accuracy:.2} %</td><td>{loss:.4}</td><td>{seconds:.1}</td></tr>"
    )
}

/// The settings and what they came to, a line each.
fn facts(summary: &Summary) -> String {
    let percent = 100.0 * summary.trained as f64 / summary.parameters.max(1) as f64;
    let memory = summary.peak_megabytes.map_or("unknown".into(), |mb| format!("{mb:.0} MB"));
    let mut facts = vec![
        ("method".to_owned(), summary.args.method.name()),
        ("steps".into(), summary.steps.to_string()),
        (
            "trained numbers".into(),
            format!("{} of {} ({percent:.2} %)", summary.trained, summary.parameters),
        ),
        ("time a step".into(), format!("{:.3} s", summary.seconds_per_step)),
        ("peak memory".into(), memory),
        ("classes".into(), summary.classes.join(", ")),
    ];
    for settings in
        [serde_json::to_value(&summary.args).unwrap_or_default(), summary.settings.clone()]
    {
        let settings = settings.as_object().cloned().unwrap_or_default();
        let given =
            settings.into_iter().filter(|(name, value)| name != "method" && !value.is_null());
        facts.extend(given.map(|(name, value)| (name.replace('_', "-"), plain(&value))));
    }
    let line = |(name, value): &(String, String)| {
        format!("<tr><td>{}</td><td>{}</td></tr>", escaped(name), escaped(value))
    };
    facts.iter().map(line).collect()
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
