//! The pictures of a run folder, as SVG with real text.

use crate::{Error, Result};
mod bars;
mod heat;

pub use bars::{NamedBar, bars};
pub use heat::heat;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use std::path::Path;

const SIZE: (u32, u32) = (800, 480);
const COLOURS: [RGBColor; 8] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x7f, 0x7f, 0x7f),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x17, 0xbe, 0xcf),
    RGBColor(0x8c, 0x56, 0x4b),
];

/// One curve: points (x, y), both finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// Its points, in order of x.
    pub points: Vec<(f64, f64)>,
    /// Marks every point, for curves of few points.
    pub marked: bool,
}

/// What a picture says around its curves.
#[derive(Clone, Debug, PartialEq)]
pub struct Labels<'a> {
    /// Above the picture.
    pub title: &'a str,
    /// Under the x axis.
    pub x: &'a str,
    /// Beside the y axis.
    pub y: &'a str,
}

/// Draws loss curves over steps to the file `path`, atomically. Points that are not finite are left out.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written.
pub fn loss(path: &Path, labels: &Labels<'_>, curves: &[Curve]) -> Result<()> {
    let points = || curves.iter().flat_map(|c| &c.points).filter(|p| p.0.is_finite() && p.1.is_finite());
    let right = points().map(|p| p.0).fold(1.0, f64::max);
    let top = points().map(|p| p.1).fold(0.0, f64::max);
    let bottom = points().map(|p| p.1).fold(top, f64::min).min(top);
    let margin = 0.05 * (top - bottom).max(1e-3);
    let svg = draw(labels, curves, 0.0..right, (bottom - margin).max(0.0)..top + margin, &|x| format!("{x}"), None);
    save(path, svg)
}

/// Draws curves over any range to the file `path`, atomically. Points that are not finite are left out.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written.
pub fn lines(path: &Path, labels: &Labels<'_>, curves: &[Curve]) -> Result<()> {
    let points = || curves.iter().flat_map(|c| &c.points).filter(|p| p.0.is_finite() && p.1.is_finite());
    let range = |of: fn(&(f64, f64)) -> f64| {
        let low = points().map(of).fold(f64::INFINITY, f64::min);
        let high = points().map(of).fold(f64::NEG_INFINITY, f64::max);
        if low <= high { (low, high) } else { (0.0, 1.0) }
    };
    let ((left, right), (bottom, top)) = (range(|p| p.0), range(|p| p.1));
    // Beside a large level the least step that there is in its numbers.
    let margin = (0.05 * (top - bottom)).max(1e-9 * top.abs().max(bottom.abs())).max(1e-9);
    let right = right.max(left + 1e-9 * left.abs().max(1.0));
    let svg = draw(labels, curves, left..right, bottom - margin..top + margin, &|x| format!("{x}"), None);
    save(path, svg)
}

/// Draws shares (0 to 1) against lengths on a logarithmic axis to the file `path`, atomically. Every point's length
/// is a mark of the axis.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written.
pub fn recall(path: &Path, labels: &Labels<'_>, curves: &[Curve]) -> Result<()> {
    let log: Vec<Curve> = curves
        .iter()
        .map(|c| Curve { points: c.points.iter().map(|p| (p.0.log2(), p.1)).collect(), ..c.clone() })
        .collect();
    let lengths = || log.iter().flat_map(|c| &c.points).map(|p| p.0).filter(|x| x.is_finite());
    let left = lengths().fold(f64::INFINITY, f64::min).min(30.0).floor();
    let right = lengths().fold(left + 1.0, f64::max);
    let marks = (right - left).round() as usize + 1;
    let svg = draw(labels, &log, left..right, 0.0..1.02, &|x| format!("{}", x.exp2().round()), Some(marks));
    save(path, svg)
}

/// Draws any numbers against lengths on a logarithmic axis to the file `path`, atomically. Points that are not finite
/// are left out.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written.
pub fn by_length(path: &Path, labels: &Labels<'_>, curves: &[Curve]) -> Result<()> {
    let log = |c: &Curve| Curve { points: c.points.iter().map(|p| (p.0.log2(), p.1)).collect(), ..c.clone() };
    let log: Vec<Curve> = curves.iter().map(log).collect();
    let points = || log.iter().flat_map(|c| &c.points).filter(|p| p.0.is_finite() && p.1.is_finite());
    let left = points().map(|p| p.0).fold(f64::INFINITY, f64::min).min(30.0).floor();
    let right = points().map(|p| p.0).fold(left + 1.0, f64::max);
    let top = points().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max);
    let bottom = points().map(|p| p.1).fold(f64::INFINITY, f64::min);
    let (bottom, top) = if bottom <= top { (bottom, top) } else { (0.0, 1.0) };
    let margin = (0.05 * (top - bottom)).max(1e-9 * top.abs()).max(1e-9);
    let marks = (right - left).round() as usize + 1;
    let y = bottom - margin..top + margin;
    let svg = draw(labels, &log, left..right, y, &|x| format!("{}", x.exp2().round()), Some(marks));
    save(path, svg)
}

/// Draws a table of confusions to the file `path`, atomically: a row for each true class, darker where more of its rows
/// were said to be of a class. Of more than 40 classes the numbers are left out.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written.
pub fn confusion(path: &Path, classes: &[&str], counts: &[Vec<u64>]) -> Result<()> {
    save(path, grid(classes, counts))
}

fn grid(classes: &[&str], counts: &[Vec<u64>]) -> std::result::Result<String, String> {
    let n = classes.len().max(1);
    let cell = (480 / n).clamp(8, 120) as i32;
    let (left, top) = (140, 80);
    let size = (left + cell * n as i32 + 24, top + cell * n as i32 + 24);
    let short = |name: &str| name.chars().take(14).collect::<String>();
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (size.0 as u32, size.1 as u32)).into_drawing_area();
        area.fill(&WHITE).map_err(|e| e.to_string())?;
        let text = |text: &str, at: (i32, i32), height: i32| {
            area.draw(&Text::new(text.to_owned(), at, ("sans-serif", height))).map_err(|e| e.to_string())
        };
        text("Confusions: true class by row, said by column", (16, 14), 16)?;
        for (i, class) in classes.iter().enumerate() {
            let at = cell * i as i32 + cell / 2;
            if n <= 40 {
                text(&short(class), (16, top + at - 7), 14)?;
                text(&short(class), (left + at - cell / 3, top - 24), 14)?;
            }
            let row = counts.get(i).map_or(&[][..], |row| row);
            let all = row.iter().sum::<u64>().max(1) as f64;
            for (j, &count) in row.iter().enumerate() {
                let (x, y, share) = (left + cell * j as i32, top + cell * i as i32, count as f64 / all);
                let colour = COLOURS[0].mix(share);
                let square = Rectangle::new([(x, y), (x + cell - 1, y + cell - 1)], colour.filled());
                area.draw(&square).map_err(|e| e.to_string())?;
                if n <= 40 {
                    text(&count.to_string(), (x + cell / 4, y + cell / 2 - 7), 14)?;
                }
            }
        }
        area.present().map_err(|e| e.to_string())?;
    }
    Ok(svg)
}

fn save(path: &Path, svg: std::result::Result<String, String>) -> Result<()> {
    let svg = svg.map_err(|e| Error::file(path, format!("the picture could not be drawn: {e}")))?;
    super::atomic::write(path, "writing the picture", |out| out.write_all(svg.as_bytes()))
}

fn draw(
    labels: &Labels<'_>,
    curves: &[Curve],
    x: std::ops::Range<f64>,
    y: std::ops::Range<f64>,
    x_mark: &dyn Fn(&f64) -> String,
    x_marks: Option<usize>,
) -> std::result::Result<String, String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(|e| e.to_string())?;
        let mut chart = ChartBuilder::on(&area)
            .caption(labels.title, ("sans-serif", 20))
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(60)
            .build_cartesian_2d(x, y)
            .map_err(|e| e.to_string())?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc(labels.x)
            .y_desc(labels.y)
            .x_labels(x_marks.unwrap_or(10))
            .x_label_formatter(x_mark)
            .label_style(("sans-serif", 14))
            .draw()
            .map_err(|e| e.to_string())?;
        for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
            draw_curve(&mut chart, curve, *colour)?;
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .label_font(("sans-serif", 14))
            .position(SeriesLabelPosition::MiddleRight)
            .draw()
            .map_err(|e| e.to_string())?;
        area.present().map_err(|e| e.to_string())?;
    }
    Ok(svg)
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

fn draw_curve(chart: &mut Chart<'_, '_>, curve: &Curve, colour: RGBColor) -> std::result::Result<(), String> {
    let finite = || curve.points.iter().copied().filter(|p| p.0.is_finite() && p.1.is_finite());
    chart
        .draw_series(LineSeries::new(finite(), colour.stroke_width(2)))
        .map_err(|e| e.to_string())?
        .label(&curve.name)
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    if curve.marked {
        chart.draw_series(finite().map(|p| Circle::new(p, 4, colour.filled()))).map_err(|e| e.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Curve, Labels, loss, recall};

    const LABELS: Labels<'static> = Labels { title: "A title", x: "steps", y: "nats" };

    fn curve(points: &[(f64, f64)]) -> Curve {
        Curve { name: "a name".into(), points: points.to_vec(), marked: true }
    }

    #[test]
    fn pictures_hold_their_text_and_every_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loss.svg");
        loss(&path, &LABELS, &[curve(&[(1.0, 3.5), (2.0, f64::NAN), (100.0, 1.0)])]).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for text in ["A title", "steps", "nats", "a name"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("NaN"));
        let points: Vec<(f64, f64)> = [256, 512, 1024, 2048, 4096].map(|l| (f64::from(l), 0.5)).to_vec();
        recall(&path, &LABELS, &[curve(&points)]).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        for length in ["256", "512", "1024", "2048", "4096"] {
            assert!(svg.contains(&format!("\n{length}\n")), "{length}");
        }
        assert_eq!(svg.matches("<circle").count(), 5);
    }

    #[test]
    fn no_points_one_point_and_equal_points_are_drawn_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.svg");
        for points in [&[][..], &[(1.0, 2.0)], &[(1.0, 0.0), (2.0, 0.0)], &[(f64::INFINITY, 1.0)]] {
            loss(&path, &LABELS, &[curve(points)]).unwrap();
            recall(&path, &LABELS, &[curve(points)]).unwrap();
        }
        loss(&path, &LABELS, &[]).unwrap();
        assert!(loss(&folder.path().join("no/where.svg"), &LABELS, &[]).is_err());
    }
}
