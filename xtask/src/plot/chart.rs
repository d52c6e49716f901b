//! A line chart as SVG.

use plotters::prelude::*;
use serde::Serialize;

const SIZE: (u32, u32) = (860, 480);
const MARGIN: u32 = 12;
/// Room for the numbers of an axis and its name.
const LABELS: u32 = 46;
const TEXT: (&str, u32) = ("sans-serif", 14);
const TITLE: (&str, u32) = ("sans-serif", 18);

/// One line of a chart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// Its points, x rising.
    pub points: Vec<(f64, f64)>,
}

/// A chart whose axes begin at 0.
pub struct Chart {
    pub title: String,
    pub x: String,
    pub y: String,
    pub curves: Vec<Curve>,
}

impl Chart {
    /// The chart as an SVG file.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn svg(&self) -> anyhow::Result<String> {
        let mut svg = String::new();
        self.draw(&mut svg)
            .map_err(|e| anyhow::anyhow!("cannot draw: {e}"))?;
        Ok(svg)
    }

    fn draw(&self, svg: &mut String) -> Result<(), Box<dyn std::error::Error + '_>> {
        let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let [x, y] = [|p: &(f64, f64)| p.0, |p: &(f64, f64)| p.1].map(|part| self.largest(part));
        let mut chart = ChartBuilder::on(&root)
            .caption(&self.title, TITLE)
            .margin(MARGIN)
            .x_label_area_size(LABELS)
            .y_label_area_size(LABELS)
            .build_cartesian_2d(0.0..x, 0.0..1.05 * y)?;
        chart
            .configure_mesh()
            .x_desc(&self.x)
            .y_desc(&self.y)
            .axis_desc_style(TEXT)
            .label_style(TEXT)
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (i, curve) in self.curves.iter().enumerate() {
            let style = Palette99::pick(i).stroke_width(if i == 0 { 3 } else { 1 });
            let line = LineSeries::new(curve.points.iter().copied(), style);
            chart
                .draw_series(line)?
                .label(&curve.name)
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .label_font(TEXT)
            .draw()?;
        root.present()?;
        Ok(())
    }

    /// The largest coordinate; 1 of an empty chart.
    fn largest(&self, part: fn(&(f64, f64)) -> f64) -> f64 {
        let points = self.curves.iter().flat_map(|curve| &curve.points);
        let largest = points.map(part).fold(0.0, f64::max);
        if largest > 0.0 { largest } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_its_curves_and_names() {
        let chart = Chart {
            title: "sizes".into(),
            x: "count".into(),
            y: "kept".into(),
            curves: vec![Curve {
                name: "C1".into(),
                points: vec![(0.0, 1.0), (3.0, 4.0)],
            }],
        };
        let svg = chart.svg().unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("polyline"), "{svg}");
        for text in ["sizes", "count", "kept", "C1"] {
            assert!(svg.contains(text), "{text}");
        }
    }
}
