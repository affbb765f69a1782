//! Shares by two things at once, as a heat map.

use super::{Labels, save};
use crate::Result;
use plotters::prelude::*;
use std::path::Path;

/// Pixels of a cell, and of what is beside and above them.
const CELL: (i32, i32) = (84, 44);
const LEFT: i32 = 110;
const TOP: i32 = 64;
const BOTTOM: i32 = 64;

/// From 0 over one half to 1.
const SCALE: [RGBColor; 3] = [RGBColor(0xd7, 0x30, 0x27), RGBColor(0xfe, 0xe0, 0x8b), RGBColor(0x1a, 0x98, 0x50)];

/// Draws shares (0 to 1; what is none or not finite stays white) to the file `path`, atomically: a column for each name
/// of `columns`, a row for each of `rows`, `shares` row by row.
///
/// # Errors
/// [`crate::Error::Io`] when the file cannot be written.
pub fn heat(
    path: &Path,
    labels: &Labels<'_>,
    (columns, rows): (&[String], &[String]),
    shares: &[Vec<Option<f64>>],
) -> Result<()> {
    save(path, draw(labels, (columns, rows), shares))
}

fn draw(
    labels: &Labels<'_>,
    (columns, rows): (&[String], &[String]),
    shares: &[Vec<Option<f64>>],
) -> std::result::Result<String, String> {
    let (wide, high) = (columns.len().max(1) as i32, rows.len().max(1) as i32);
    let size = ((LEFT + CELL.0 * wide + 24).max(420), TOP + CELL.1 * high + BOTTOM);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (size.0 as u32, size.1 as u32)).into_drawing_area();
        area.fill(&WHITE).map_err(|e| e.to_string())?;
        let text = |text: &str, at: (i32, i32), height: i32| {
            area.draw(&Text::new(text.to_owned(), at, ("sans-serif", height))).map_err(|e| e.to_string())
        };
        text(labels.title, (16, 12), 20)?;
        text(labels.y, (16, TOP - 20), 14)?;
        text(labels.x, (LEFT, TOP + CELL.1 * high + 34), 14)?;
        for (i, name) in columns.iter().enumerate() {
            text(name, (LEFT + CELL.0 * i as i32 + 12, TOP + CELL.1 * high + 10), 14)?;
        }
        for (j, name) in rows.iter().enumerate() {
            let y = TOP + CELL.1 * j as i32;
            text(name, (16, y + CELL.1 / 2 - 7), 14)?;
            let found = shares.get(j).map_or(&[][..], |row| row);
            for (i, share) in found.iter().take(columns.len()).enumerate() {
                let Some(share) = share.filter(|share| share.is_finite()) else { continue };
                let x = LEFT + CELL.0 * i as i32;
                let square = Rectangle::new([(x, y), (x + CELL.0 - 2, y + CELL.1 - 2)], colour(share).filled());
                area.draw(&square).map_err(|e| e.to_string())?;
                text(&format!("{:.0} %", 100.0 * share), (x + 22, y + CELL.1 / 2 - 8), 15)?;
            }
        }
        area.present().map_err(|e| e.to_string())?;
    }
    Ok(svg)
}

fn colour(share: f64) -> RGBColor {
    let at = 2.0 * share.clamp(0.0, 1.0);
    let (from, to, at) = if at < 1.0 { (SCALE[0], SCALE[1], at) } else { (SCALE[1], SCALE[2], at - 1.0) };
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * at).round() as u8;
    RGBColor(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

#[cfg(test)]
mod tests {
    use super::{colour, heat};
    use crate::train::plot::Labels;
    use plotters::prelude::RGBColor;

    #[test]
    fn every_share_is_a_cell_with_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heat.svg");
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let labels = Labels { title: "A title", x: "tokens", y: "depth" };
        let (columns, rows) = (names(&["2048", "4096"]), names(&["0 %", "50 %", "100 %"]));
        let shares = [vec![Some(1.0), Some(0.25)], vec![Some(0.0), None], vec![Some(f64::NAN)]];
        heat(&path, &labels, (&columns, &rows), &shares).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        for text in
            ["A title", "tokens", "depth", "\n2048\n", "\n4096\n", "\n50 %\n", "\n100 %\n", "\n25 %\n", "\n0 %\n"]
        {
            assert!(svg.contains(text), "{text}");
        }
        // The picture's white, and a cell for each of three shares.
        assert_eq!(svg.matches("<rect").count(), 4);
        assert!(!svg.contains("NaN"));
        heat(&path, &labels, (&[], &[]), &[]).unwrap();
        assert!(heat(&folder.path().join("no/where.svg"), &labels, (&[], &[]), &[]).is_err());
    }

    #[test]
    fn colours_go_from_red_over_yellow_to_green() {
        assert_eq!(colour(-1.0), RGBColor(0xd7, 0x30, 0x27));
        assert_eq!(colour(0.5), RGBColor(0xfe, 0xe0, 0x8b));
        assert_eq!(colour(2.0), RGBColor(0x1a, 0x98, 0x50));
    }
}
