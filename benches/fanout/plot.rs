//! The picture: deliveries a second and CPU for each, over the number of clients, a line for each bridge.

use std::path::Path;

use plotters::prelude::*;

/// A bridge's points: clients, deliveries a second, CPU µs for each.
pub(crate) type Series = (String, Vec<(f64, f64, f64)>);

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Failure<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

const COLOURS: [RGBColor; 6] = [
    RGBColor(110, 110, 110),
    RGBColor(214, 39, 40),
    RGBColor(31, 119, 180),
    RGBColor(44, 160, 44),
    RGBColor(255, 127, 14),
    BLACK,
];

/// Draws both charts side by side into an SVG file.
pub(crate) fn draw(path: &Path, title: &str, series: &[Series]) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::new(path, (1000, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.titled(title, ("sans-serif", 18))?;
    let halves = root.split_evenly((1, 2));
    chart(&halves[0], "deliveries a second", series, |point| point.1)?;
    chart(&halves[1], "CPU of the bridge for each delivery, µs", series, |point| point.2)?;
    root.present()?;
    Ok(())
}

fn chart<'a>(
    area: &Area<'a>,
    title: &str,
    series: &[Series],
    of: fn(&(f64, f64, f64)) -> f64,
) -> Result<(), Failure<'a>> {
    let values = || series.iter().flat_map(|(_, points)| points.iter().map(of)).filter(|value| *value > 0.0);
    let (low, high) = (values().fold(f64::MAX, f64::min) / 1.5, values().fold(0.0, f64::max) * 12.0);
    // (the room above is the legend's)
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 14))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d((0.8..1300.0).log_scale(), (low..high).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("clients")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&short)
        .light_line_style(TRANSPARENT)
        .draw()?;
    for ((name, points), colour) in series.iter().zip(COLOURS) {
        chart
            .draw_series(
                LineSeries::new(points.iter().map(|point| (point.0, of(point))), colour.stroke_width(2))
                    .point_size(3),
            )?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(TRANSPARENT)
        .draw()?;
    Ok(())
}

fn short(value: &f64) -> String {
    match *value {
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e3 => format!("{} k", value / 1e3),
        value => format!("{value}"),
    }
}
