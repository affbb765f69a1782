//! Word problems over finite groups: a sequence of elements, and after each of them the product of all so far.
//!
//! Elements are numbered. Permutations are in lexicographic order of their one-line notation (of A5 the even ones), a
//! number of Z60 and a bit are their own number; 0 is the identity. The product of a, then b, is i ↦ a(b(i)).

use super::series::{CsvTable, guessed_delimiter};
use super::text;
use crate::error::{Error, Result, brief};
use rand::{Rng, RngExt};
use std::path::Path;
use titans_kernel::choice;

/// Most bytes of a field, which is a whole word.
const FIELD: usize = 1 << 26;

choice! {
    /// A finite group.
    #[derive(Default)]
    pub enum Group: "group" {
        /// The two numbers modulo 2: the parity of a string of bits.
        #[default]
        Parity = 0, "parity";
        /// The 6 permutations of 3 things, the smallest group whose order matters; solvable.
        S3 = 1, "s3";
        /// The 60 numbers modulo 60; solvable.
        Z60 = 2, "z60";
        /// The 60 even permutations of 5 things, the smallest group that is not solvable.
        A5 = 3, "a5";
        /// The 120 permutations of 5 things; not solvable.
        S5 = 4, "s5";
    }
}

/// A group with all its products.
///
/// ```
/// use titans_host::data::track::{Group, Products};
/// use titans_host::data::{Purpose, rng};
///
/// let parity = Products::of(Group::Parity);
/// let word: Vec<_> = parity.draw(&mut rng(1, Purpose::Training, 0, 0), 9, &[0, 1]).collect();
/// let ones = word.iter().filter(|(element, _)| *element == 1).count();
/// assert_eq!(word[8].1, ones as u32 % 2); // the product of all nine
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Products {
    group: Group,
    order: usize,
    /// `[order, order]`.
    table: Vec<u32>,
}

impl Products {
    /// All products of a group.
    pub fn of(group: Group) -> Self {
        let numbers = |n: usize| (n, (0..n * n).map(|i| ((i / n + i % n) % n) as u32).collect());
        let (order, table) = match group {
            Group::Parity => numbers(2),
            Group::Z60 => numbers(60),
            Group::S3 => permutations(3, |_| true),
            Group::A5 => permutations(5, |p| inversions(p).is_multiple_of(2)),
            Group::S5 => permutations(5, |_| true),
        };
        Self { group, order, table }
    }

    /// Elements of the group: chance is 1 in this many.
    pub const fn order(&self) -> usize {
        self.order
    }

    /// `a`, then `b`; both below the order.
    fn product(&self, a: u32, b: u32) -> u32 {
        self.table[a as usize * self.order + b as usize]
    }

    /// Draws `length` of some elements, at least one, all below the order, each with the product up to it.
    pub fn draw<'a, R: Rng>(
        &'a self,
        rng: &'a mut R,
        length: usize,
        elements: &'a [u32],
    ) -> impl Iterator<Item = (u32, u32)> + 'a {
        let mut product = 0;
        (0..length).map(move |_| {
            let element = elements[rng.random_range(0..elements.len())];
            product = self.product(product, element);
            (element, product)
        })
    }

    /// Reads words that lie in a file of fields between commas, semicolons or tabs, `input` and `target` in columns of
    /// these names, elements between blanks; `.gz` is read as it is.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::File`] naming line and column of a word that is none of
    /// this group: an element that it does not have, a product that is another (elements may be numbered in another
    /// way), no element at all, or another length than the first word's.
    pub fn read(&self, path: &Path) -> Result<Vec<Vec<(u32, u32)>>> {
        let content = text::read(&[path])?;
        self.parse_file(&content.bytes).map_err(|reason| Error::file(path, reason))
    }

    /// The words of a file's bytes.
    fn parse_file(&self, bytes: &[u8]) -> std::result::Result<Vec<Vec<(u32, u32)>>, String> {
        let mut table = CsvTable::open(bytes, guessed_delimiter(bytes), FIELD);
        let none = || "expected at least one word, found none".to_owned();
        let header = table.next()?.ok_or_else(none)?.record;
        let column = |name: &str| {
            let found = || brief(&header.iter().collect::<Vec<_>>().join(","));
            let place = header.iter().position(|column| column.trim() == name);
            place.ok_or_else(|| format!("line 1: expected a column named {name}, found {}", found()))
        };
        let (input, target) = (column("input")?, column("target")?);
        let mut words: Vec<Vec<(u32, u32)>> = Vec::new();
        while let Some(row) = table.next()? {
            if row.record.len() != header.len() {
                let (expected, found) = (header.len(), row.record.len());
                return Err(format!("line {}: expected {expected} fields as the header has, found {found}", row.line));
            }
            let field = |i: usize| row.record.get(i).unwrap_or_default();
            let word = self.parse(field(input), field(target));
            let word = word.and_then(|word| match words.first() {
                Some(first) if first.len() != word.len() => {
                    Err(format!("expected {} elements as in the first word, found {}", first.len(), word.len()))
                }
                _ => Ok(word),
            });
            words.push(word.map_err(|reason| format!("line {}: {reason}", row.line))?);
        }
        if words.is_empty() { Err(none()) } else { Ok(words) }
    }

    fn parse(&self, input: &str, target: &str) -> std::result::Result<Vec<(u32, u32)>, String> {
        let [elements, products] = [input, target].map(|list| list.split_whitespace().count());
        if elements != products {
            return Err(format!(
                "expected as many products in column target as there are elements in column input, {elements}, found {products}"
            ));
        }
        let mut targets = target.split_whitespace();
        let mut product = 0;
        let mut word = Vec::new();
        for (place, element) in input.split_whitespace().enumerate() {
            let of = |column: &str, text: &str| {
                self.element(text).map_err(|reason| format!("column {column}, element {}: {reason}", place + 1))
            };
            let (element, target) = (of("input", element)?, of("target", targets.next().unwrap_or_default())?);
            product = self.product(product, element);
            if product != target {
                return Err(format!(
                    "column target, element {}: expected the product {product} of the group {}, found {target}; the file is of another group, or \
                     numbers it in another way",
                    place + 1,
                    titans_kernel::Choice::name(self.group)
                ));
            }
            word.push((element, product));
        }
        if word.is_empty() { Err("expected elements in column input, found none".into()) } else { Ok(word) }
    }

    fn element(&self, text: &str) -> std::result::Result<u32, String> {
        let found = text.parse().ok().filter(|&x: &u32| (x as usize) < self.order);
        found.ok_or_else(|| format!("expected elements from 0 to {}, found {}", self.order - 1, brief(text)))
    }
}

/// Permutations of n things, in order, that `keep` keeps: how many, and all their products.
fn permutations(n: usize, keep: impl Fn(&[usize]) -> bool) -> (usize, Vec<u32>) {
    let mut all: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..n {
        let longer = |p: &Vec<usize>| {
            let free = (0..n).filter(|i| !p.contains(i));
            free.map(|i| p.iter().copied().chain([i]).collect()).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(longer).collect();
    }
    all.retain(|p| keep(p));
    let number = |p: Vec<usize>| all.iter().position(|q| *q == p).unwrap_or_default() as u32;
    let table = all.iter().flat_map(|a| all.iter().map(move |b| b.iter().map(|&i| a[i]).collect()));
    (all.len(), table.map(number).collect())
}

fn inversions(p: &[usize]) -> usize {
    (0..p.len()).map(|i| p[i + 1..].iter().filter(|&&later| later < p[i]).count()).sum()
}

#[cfg(test)]
mod tests {
    use super::{Group, Products};
    use crate::data::{Purpose, rng};
    use titans_kernel::Choice;

    #[test]
    fn groups_are_groups_with_0_as_identity() {
        for &group in Group::ALL {
            let g = Products::of(group);
            let order = match group {
                Group::Parity => 2,
                Group::S3 => 6,
                Group::Z60 | Group::A5 => 60,
                Group::S5 => 120,
            };
            assert_eq!(g.order(), order, "{group:?}");
            let all = 0..order as u32;
            let mut commutes = true;
            for a in all.clone() {
                assert!(g.product(a, 0) == a && g.product(0, a) == a);
                assert!(all.clone().any(|b| g.product(a, b) == 0), "{a} has an inverse");
                for b in all.clone() {
                    commutes &= g.product(a, b) == g.product(b, a);
                    let c = (7 * a + 3 * b) % order as u32;
                    assert_eq!(g.product(g.product(a, b), c), g.product(a, g.product(b, c)), "{group:?} {a} {b} {c}");
                }
            }
            assert_eq!(commutes, matches!(group, Group::Parity | Group::Z60), "{group:?}");
        }
    }

    #[test]
    fn words_carry_their_products() {
        let g = Products::of(Group::S5);
        let all: Vec<u32> = (0..120).collect();
        let words: Vec<(u32, u32)> = g.draw(&mut rng(1, Purpose::Training, 2, 3), 500, &all).collect();
        let mut product = 0;
        for &(element, target) in &words {
            product = g.product(product, element);
            assert_eq!(product, target);
        }
        assert!((0..120).all(|e| words.iter().any(|w| w.0 == e) || e > 100), "all elements come up");
    }

    /// The first two lines of a published set of S5, which other programs made.
    #[test]
    fn files_are_read_and_checked_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("words.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Products::of(Group::S5).read(&path).map_err(|e| e.to_string())
        };
        let good = "seed,input,target\n1,76 82 76 47,76 24 82 31\n1,90 4 69 19,90 94 58 62\n";
        assert_eq!(read(good).unwrap()[1], [(90, 90), (4, 94), (69, 58), (19, 62)]);
        for between in [";", "\t"] {
            assert_eq!(read(&good.replace(',', between)).unwrap(), read(good).unwrap());
        }
        for (wrong, says) in [
            ("seed,target\n1,2\n", "column named input"),
            ("input,target\n", "at least one word"),
            (
                "input,target\n0 1,0 1\n0 120,0 1\n",
                "line 3: column input, element 2: expected elements from 0 to 119, found \"120\"",
            ),
            (
                "input,target\n0 1,0 2\n",
                "line 2: column target, element 2: expected the product 1 of the group s5, found 2",
            ),
            (
                "input,target\n0 1,0\n",
                "line 2: expected as many products in column target as there are elements in column input, 2, found 1",
            ),
            ("input,target\n0,0 1\n", "elements in column input, 1, found 2"),
            ("input,target\n0 1,0 1\n0,0\n", "line 3: expected 2 elements"),
            ("input,target\n \"\", \n", "found"),
            ("input,target\n0 1\n", "line 2: expected 2 fields as the header has, found 1"),
            ("", "an empty file"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(says), "{wrong}: {error}");
        }
    }
}
