//! ε over the steps, as an SVG.

use std::error::Error;
use std::path::Path;

use burn_dp_accounting::{Accountant, Epsilon, PldAccountant, RdpAccountant, Steps};
use plotters::prelude::*;

use super::accountants::{composed, group_epsilon};
use super::failure::Failure;
use super::run::Run;

const SIZE: (u32, u32) = (720, 440);

const POINTS: u32 = 40;

/// Writes the plot.
///
/// # Errors
/// For a name that does not end in `.svg`, where there is nothing finite to draw, and where the file
/// cannot be written.
pub fn write(run: &Run, path: &Path) -> Result<(), Failure> {
    if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("svg")) {
        return Err(Failure::PlotFormat(path.to_owned()));
    }
    let svg = svg(run)?;
    std::fs::write(path, svg).map_err(|reason| Failure::PlotFile { path: path.to_owned(), reason })
}

fn svg(run: &Run) -> Result<String, Failure> {
    let curves = [
        Curve::new("Rényi DP", RGBColor(213, 94, 0), run, |run| {
            let rdp = composed(RdpAccountant::new(run.adjacency), &run.event()).ok()?;
            Some(group_epsilon(&rdp, run.delta, run.group))
        }),
        Curve::new("loss distribution", RGBColor(0, 114, 178), run, |run| {
            let pld = PldAccountant::for_groups(run.adjacency, run.group);
            Some(composed(pld, &run.event()).ok()?.epsilon(run.delta))
        }),
    ];
    if curves.iter().all(|curve| curve.top() == 0.0) {
        return Err(Failure::Plot("no step has a finite epsilon above 0".to_owned()));
    }
    let mut svg = String::new();
    draw(run, &curves, &mut svg).map_err(|error| Failure::Plot(error.to_string()))?;
    Ok(svg)
}

struct Curve {
    name: &'static str,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

impl Curve {
    fn new(
        name: &'static str,
        color: RGBColor,
        run: &Run,
        epsilon: impl Fn(&Run) -> Option<Epsilon>,
    ) -> Self {
        let total = run.steps.value();
        // Closer together at the start, where the curve bends; from the first step on.
        let place =
            |n: u32| (total as f64 * f64::from(n).powi(2) / f64::from(POINTS).powi(2)) as u64;
        let mut steps: Vec<u64> = (0..POINTS).map(place).chain([1, total]).collect();
        steps.retain(|&steps| (1..=total).contains(&steps));
        steps.sort_unstable();
        steps.dedup();
        let at = |steps: u64| {
            let epsilon = epsilon(&Run { steps: Steps::from(steps), ..*run })?;
            epsilon.is_finite().then_some((steps as f64, epsilon.value()))
        };
        Self { name, color, points: steps.into_iter().filter_map(at).collect() }
    }

    fn top(&self) -> f64 {
        self.points.iter().map(|point| point.1).fold(0.0, f64::max)
    }
}

fn draw(run: &Run, curves: &[Curve], svg: &mut String) -> Result<(), Box<dyn Error>> {
    let top = curves.iter().map(Curve::top).fold(0.0, f64::max);
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..run.steps.value() as f64, 0.0..1.05 * top)?;
    chart
        .configure_mesh()
        .x_desc("steps")
        .y_desc(format!("epsilon at delta = {}", run.delta))
        .axis_desc_style(("sans-serif", 16))
        // `Display` of a float has no decimals where there are none.
        .x_label_formatter(&|steps| steps.to_string())
        .max_light_lines(1)
        .draw()?;
    for curve in curves.iter().filter(|curve| !curve.points.is_empty()) {
        let style = curve.color.stroke_width(2);
        chart
            .draw_series(LineSeries::new(curve.points.iter().copied(), style))?
            .label(curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE)
        .border_style(BLACK.mix(0.4))
        .draw()?;
    area.present()?;
    Ok(())
}
