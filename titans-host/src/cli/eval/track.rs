//! Products of a group against the length of the word.

use super::Args;
use crate::cli::{Failure, output};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::task::track::{Track, TrackConfig, TrackTable};
use crate::train::plot::{Curve, Labels, recall};
use std::path::Path;

/// Points of a curve, at most.
const POINTS: usize = 64;

pub(super) fn run<D: Device>(
    device: &D,
    args: &Args,
    mut task: TrackConfig,
    seed: u64,
    model: &Model<D>,
) -> std::result::Result<(), Failure> {
    if !args.lengths.is_empty() {
        task.lengths.clone_from(&args.lengths);
    }
    task.sequences = args.sequences.unwrap_or(task.sequences);
    let task = Track::new(task, seed)?;
    let (mut table, mut words) = (TrackTable::default(), TrackedWords::default());
    let mut measure = |some: &[Vec<(u32, u32)>]| {
        let found = task.found(device, model, some);
        let (row, right) = found.map_err(|e| Failure::hinting(e, "or measure shorter words"))?;
        let length = some.first().map_or(0, Vec::len);
        words.add(length, right);
        Ok::<_, Failure>(table.0.insert(length, row))
    };
    if args.data.is_empty() {
        for &length in &task.config().lengths {
            measure(&task.words(length))?;
        }
    } else if !args.lengths.is_empty() || args.sequences.is_some() {
        return Err(Error::usage(
            "--lengths and --sequences are for words that are drawn; those of --data are as they are",
        )
        .into());
    }
    for path in &args.data {
        let words = task.products().read(path)?;
        if measure(&words)?.is_some() {
            let length = words.first().map_or(0, Vec::len);
            return Err(Error::file(
                path,
                format!("expected words of another length in every file, found {length} again"),
            )
            .into());
        }
    }
    if let Some(path) = &args.per_item {
        words.write(path)?;
    }
    if let Some(path) = &args.picture {
        words.draw(path, table.0.values().next().map_or(0.0, |row| row.chance))?;
    }
    if args.json { output::print_json(&table) } else { print(&table) }
}

/// The table for people.
pub fn print(table: &TrackTable) -> std::result::Result<(), Failure> {
    output::print(format_args!("\nproducts by length of the word\n{table}"))?;
    output::print(
        "products, and words of which every product was right; frozen: products where the memory does not write; chance: by a guess",
    )
}

/// Which products of which words were right: lengths, and `[words, length]` of each.
#[derive(Default)]
struct TrackedWords(Vec<(usize, Vec<bool>)>);

impl TrackedWords {
    fn add(&mut self, length: usize, right: Vec<bool>) {
        self.0.push((length, right));
    }

    /// A line for each word, atomically.
    fn write(&self, path: &Path) -> std::result::Result<(), Failure> {
        let mut text = "length,number,products,first_wrong\n".to_owned();
        for (length, right) in &self.0 {
            for (number, word) in right.chunks((*length).max(1)).enumerate() {
                let products = word.iter().filter(|&&right| right).count();
                let first = word.iter().position(|&right| !right).map(|place| place.to_string()).unwrap_or_default();
                text.push_str(&output::csv_line([
                    length.to_string(),
                    number.to_string(),
                    products.to_string(),
                    first,
                ])?);
                text.push('\n');
            }
        }
        Ok(output::write_whole(path, text.as_bytes())?)
    }

    /// The share of products that are right by their place in the word, a curve for each length.
    fn draw(&self, path: &Path, chance: f64) -> Result<()> {
        let curve = |(length, right): &(usize, Vec<bool>)| Curve {
            name: format!("words of {length}"),
            points: by_place(right, (*length).max(1)),
            marked: *length < 3,
        };
        let mut curves: Vec<Curve> = self.0.iter().map(curve).collect();
        let longest = self.0.iter().map(|words| words.0).max().unwrap_or(1).max(1) as f64;
        curves.push(Curve { name: "chance".into(), points: vec![(1.0, chance), (longest, chance)], marked: false });
        let labels = Labels { title: "Products by place in the word", x: "elements so far", y: "share that is right" };
        recall(path, &labels, &curves)
    }
}

/// The share that is right around each place, counted from 1, of places that lie evenly on a logarithmic axis.
fn by_place(right: &[bool], length: usize) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let mut begin = 0;
    while begin < length {
        let end = (((begin + 1) as f64 * (length as f64).powf(1.0 / POINTS as f64)) as usize).clamp(begin + 1, length);
        let words = right.chunks(length).flat_map(|word| word.get(begin..end).unwrap_or_default());
        let (hits, all) = words.fold((0, 0), |(hits, all), &right| (hits + usize::from(right), all + 1));
        points.push((0.5 * (begin + end + 1) as f64, hits as f64 / f64::from(all.max(1))));
        begin = end;
    }
    points
}

#[cfg(test)]
mod tests {
    use super::by_place;

    #[test]
    fn every_place_is_counted_once_and_means_are_right() {
        let length = 1000;
        let right: Vec<bool> = (0..3 * length).map(|i| i % length < 500).collect();
        let points = by_place(&right, length);
        assert!(points.len() < 200 && points[0] == (1.0, 1.0), "{points:?}");
        // One point lies on both sides.
        let expected = |p: &(f64, f64)| if p.0 < 450.0 { p.1 == 1.0 } else { p.0 < 560.0 || p.1 == 0.0 };
        assert!(points.iter().all(expected) && points.iter().any(|p| p.0 > 560.0), "{points:?}");
        assert_eq!(points.last().unwrap().1, 0.0);
        assert_eq!(by_place(&[true, false], 1), [(1.0, 0.5)]);
        assert_eq!(by_place(&[true, false, true, true], 2), [(1.0, 1.0), (2.0, 0.5)]);
    }
}
