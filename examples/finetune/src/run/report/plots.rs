//! Two pictures of a run.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use plotters::prelude::*;

use super::metrics::Metrics;

const SIZE: (u32, u32) = (640, 400);

/// Writes [`pictures`] to `folder`.
pub fn write(folder: &Path, lines: &[Metrics]) -> Result<()> {
    for (name, svg) in pictures(lines)? {
        let file = folder.join(name);
        fs::write(&file, svg).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// `accuracy.svg`, against ε (or steps, without privacy), and `loss.svg` over the steps.
pub fn pictures(lines: &[Metrics]) -> Result<[(&'static str, String); 2]> {
    let private = lines.iter().any(|line| line.epsilon.is_some());
    let cost = |line: &Metrics| line.epsilon.unwrap_or(line.step as f64);
    let accuracy: Vec<_> = lines.iter().map(|line| (cost(line), 100.0 * line.accuracy)).collect();
    let loss: Vec<_> = lines.iter().map(|line| (line.step as f64, line.loss)).collect();
    let axis = if private { "epsilon" } else { "step" };
    Ok([
        ("accuracy.svg", picture(axis, "held-out accuracy, %", &accuracy)?),
        ("loss.svg", picture("step", "held-out loss", &loss)?),
    ])
}

/// Draws points and the line between them; `x` and `y` name the axes.
///
/// # Errors
/// When the file cannot be written.
pub fn plot(file: &Path, x: &str, y: &str, points: &[(f64, f64)]) -> Result<()> {
    fs::write(file, picture(x, y, points)?)
        .with_context(|| format!("cannot write {}", file.display()))
}

fn picture(x: &str, y: &str, points: &[(f64, f64)]) -> Result<String> {
    let mut svg = String::new();
    draw(&mut svg, x, y, points).map_err(|error| anyhow::anyhow!("cannot draw {y}: {error}"))?;
    Ok(svg)
}

fn draw(
    svg: &mut String,
    x: &str,
    y: &str,
    points: &[(f64, f64)],
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let points: Vec<_> = points.iter().copied().filter(|(_, y)| y.is_finite()).collect();
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(
            0.0..range(points.iter().map(|p| p.0)).end,
            range(points.iter().map(|p| p.1)),
        )?;
    chart.configure_mesh().light_line_style(TRANSPARENT).x_desc(x).y_desc(y).draw()?;
    let color = RGBColor(0, 114, 178);
    chart.draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?;
    chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, color.filled())))?;
    area.present()?;
    Ok(())
}

/// All values, with some room around them.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let bounds = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let (low, high) = if bounds.0.is_finite() { bounds } else { (0.0, 1.0) };
    // Values that hardly differ are not drawn as if they did.
    let room = (0.05 * (high - low)).max(0.01 * high.abs()).max(1e-6);
    low - room..high + room
}
