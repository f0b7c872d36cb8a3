//! ε over the number of steps, as an SVG file.

use std::path::Path;

use plotters::prelude::*;

use burn_dp::privacy::{Accountant, GroupSize, PldAccountant, RdpAccountant};

use crate::settings::Run;

const POINTS: u64 = 40;

type Curve = Vec<(f64, f64)>;

pub fn write(run: &Run, file: &Path) -> Result<(), String> {
    let is_svg = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("svg"));
    if !is_svg {
        return Err(format!("{}: only SVG can be drawn; give a name in .svg", file.display()));
    }
    let (loss, renyi) = curves(run)?;
    let highest = loss.iter().chain(&renyi).map(|point| point.1).fold(0.0, f64::max);
    if !highest.is_finite() || run.steps == 0 {
        return Err("nothing to draw: ε is infinite, or there are no steps".to_owned());
    }
    draw(run, file, &loss, &renyi, highest.max(1e-9) * 1.05)
        .map_err(|problem| format!("{}: {problem}", file.display()))
}

/// By privacy-loss distribution and, for single records, by Rényi DP.
fn curves(run: &Run) -> Result<(Curve, Curve), String> {
    let words = |error: burn_dp::Error| error.to_string();
    let (mut loss, mut renyi) = (vec![(0.0, 0.0)], Vec::new());
    for point in 1..=POINTS.min(run.steps) {
        let steps = run.steps.div_ceil(POINTS).saturating_mul(point).min(run.steps);
        let mut accountant = PldAccountant::for_groups(run.adjacency, run.group);
        accountant.compose(&run.step(), steps).map_err(words)?;
        loss.push((steps as f64, accountant.epsilon(run.delta).value()));
        if run.group == GroupSize::ONE {
            let mut accountant = RdpAccountant::new(run.adjacency);
            accountant.compose(&run.step(), steps).map_err(words)?;
            renyi.push((steps as f64, accountant.epsilon(run.delta).value()));
        }
    }
    Ok((loss, renyi))
}

fn draw(
    run: &Run,
    file: &Path,
    loss: &Curve,
    renyi: &Curve,
    highest: f64,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(file, (720, 440)).into_drawing_area();
    area.fill(&WHITE)?;
    let title = format!(
        "q = {}, σ = {}, δ = {}",
        run.rate.value(),
        run.noise_multiplier.value(),
        run.delta
    );
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..run.steps as f64, 0.0..highest)?;
    chart.configure_mesh().x_desc("steps").y_desc("ε").light_line_style(WHITE).draw()?;
    let (blue, orange) = (RGBColor(31, 90, 166), RGBColor(214, 110, 30));
    let mut line = |points: &Curve, color: RGBColor, name: &str| {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))
            .map(|series| {
                series.label(name).legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2))
                });
            })
    };
    line(loss, blue, "privacy loss distribution")?;
    if !renyi.is_empty() {
        line(renyi, orange, "Rényi DP")?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .border_style(BLACK.mix(0.3))
        .background_style(WHITE)
        .draw()?;
    area.present()?;
    Ok(())
}
