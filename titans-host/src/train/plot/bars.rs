//! Numbers by name, as bars that lie.

use super::{COLOURS, Labels, save};
use crate::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

/// Pixels of a bar with what is between it and the next, of the names, and of a letter of them.
const ROW: u32 = 34;
const LETTER: u32 = 8;

/// A number, and the range of what it is a mean of.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedBar {
    /// Its name, at its left.
    pub name: String,
    /// How far it reaches; what is not finite is left out.
    pub value: f64,
    /// Where its range begins.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
}

/// Draws bars to the file `path`, atomically, from above the least of them on, so that differences show.
///
/// # Errors
/// [`crate::Error::Io`] when the file cannot be written.
pub fn bars(path: &Path, labels: &Labels<'_>, bars: &[NamedBar]) -> Result<()> {
    let whole = |bar: &&NamedBar| [bar.value, bar.low, bar.high].iter().all(|x| x.is_finite());
    save(path, draw(labels, &bars.iter().filter(whole).collect::<Vec<_>>()))
}

fn draw(labels: &Labels<'_>, bars: &[&NamedBar]) -> std::result::Result<String, String> {
    let said = |e: &dyn std::fmt::Display| e.to_string();
    let least = bars.iter().map(|bar| bar.low).reduce(f64::min).unwrap_or(0.0);
    let most = bars.iter().map(|bar| bar.high).reduce(f64::max).unwrap_or(1.0);
    let room = (0.1 * (most - least)).max(1e-3 * most.abs()).max(1e-9);
    let longest = bars.iter().map(|bar| bar.name.chars().count()).max().unwrap_or(0) as u32;
    let (left, height) = (24 + LETTER * longest.min(60), 110 + ROW * bars.len().max(1) as u32);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (left + 620, height)).into_drawing_area();
        area.fill(&WHITE).map_err(|e| said(&e))?;
        let mut chart = ChartBuilder::on(&area)
            .caption(labels.title, ("sans-serif", 20))
            .margin(16)
            .margin_left(left)
            .x_label_area_size(44)
            .build_cartesian_2d(least - room..most + room, 0.0..bars.len().max(1) as f64)
            .map_err(|e| said(&e))?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(WHITE)
            .x_desc(labels.x)
            .label_style(("sans-serif", 14))
            .draw()
            .map_err(|e| said(&e))?;
        for (i, bar) in bars.iter().enumerate() {
            let middle = (bars.len() - i) as f64 - 0.5;
            let corners = [(least - room, middle - 0.3), (bar.value, middle + 0.3)];
            chart.draw_series([Rectangle::new(corners, COLOURS[0].mix(0.7).filled())]).map_err(|e| said(&e))?;
            let range = [(bar.low, middle), (bar.high, middle)];
            chart.draw_series([PathElement::new(range, BLACK.stroke_width(2))]).map_err(|e| said(&e))?;
            let (x, y) = chart.backend_coord(&(least - room, middle));
            let style = ("sans-serif", 14).into_text_style(&area).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(bar.name.as_str(), (x - 8, y), style)).map_err(|e| said(&e))?;
        }
        area.present().map_err(|e| said(&e))?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::{NamedBar, bars};
    use crate::train::plot::Labels;

    #[test]
    fn bars_have_their_names_and_odd_numbers_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bars.svg");
        let bar = |name: &str, value: f64| NamedBar { name: name.into(), value, low: value - 0.1, high: value + 0.1 };
        let labels = Labels { title: "A title", x: "loss", y: "" };
        bars(&path, &labels, &[bar("first & best", 1.0), bar("second", 2.0), bar("odd", f64::NAN)]).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        for text in ["A title", "loss", "first &amp; best", "second"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("odd") && !svg.contains("NaN"));
        for some in [&[][..], &[bar("one", 0.0)], &[bar("equal", 3.0), bar("too", 3.0)]] {
            bars(&path, &labels, some).unwrap();
        }
        assert!(bars(&folder.path().join("no/where.svg"), &labels, &[]).is_err());
    }
}
