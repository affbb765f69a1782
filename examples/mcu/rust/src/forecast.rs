//! The device: a model forecasts the next row of its sensor, learns from the row that comes, and its memory's surprise
//! tells a fault.
//!
//! Rust only, no allocation, no float in its text: on a host it prints what it prints on a microcontroller, to the bit.

use core::fmt::{self, Write};
use titans_kernel::Arithmetic;
use titans_kernel::model::{Feed, Mode, Model, Session};
use titans_kernel::{Error, Mat};

/// Numbers of one stream that takes a row at a time; `titans export --json` says how many bytes a model needs.
pub const NUMBERS: usize = 2473;
/// Numbers of a row: temperature and current.
const SIZE: usize = 2;
/// Rows before alarms are given.
const LEARNS: usize = 160;
/// How many times the largest surprise of late a row must cost, and what is left of that after a row.
const ALARM: f32 = 1.5;
const FADES: f32 = 0.99;
/// Rows of quiet that end an alarm.
const QUIET: usize = 32;

/// Why the device stopped.
#[derive(Debug)]
pub enum Stop {
    /// The model refused something.
    #[allow(dead_code, reason = "the firmware says only that it did")]
    Model(Error),
    /// The text could not be written.
    Text,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Model(error)
    }
}

impl From<fmt::Error> for Stop {
    fn from(_: fmt::Error) -> Self {
        Self::Text
    }
}

/// What the sensor gives: thousandths as 16-bit numbers, behind the mean and the inverse deviation of either column.
struct Sensor<'a> {
    scale: [[f32; 2]; SIZE],
    rows: &'a [[u8; 2 * SIZE]],
}

impl<'a> Sensor<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let (head, rows) = bytes.split_at_checked(8 * SIZE).unwrap_or((&[], &[]));
        let mut scale = [[0.0; 2]; SIZE];
        for (x, bytes) in scale.as_flattened_mut().iter_mut().zip(head.as_chunks().0) {
            *x = f32::from_le_bytes(*bytes);
        }
        Self { scale, rows: rows.as_chunks().0 }
    }

    /// Row t in the model's units.
    fn row(&self, t: usize) -> Option<[f32; SIZE]> {
        let [a, b, c, d] = *self.rows.get(t)?;
        let raw = [i16::from_le_bytes([a, b]), i16::from_le_bytes([c, d])];
        let mut x = [0.0; SIZE];
        for ((x, raw), [mean, inverse]) in x.iter_mut().zip(raw).zip(self.scale) {
            *x = (f32::from(raw) * 0.001 - mean) * inverse;
        }
        Some(x)
    }
}

/// What one stream said so far.
struct Said {
    next: [f32; SIZE],
    /// Sum of squared errors, and a checksum (FNV-1a) of the bits of everything.
    error: f32,
    bits: u32,
}

impl Said {
    const NEW: Self = Self { next: [0.0; SIZE], error: 0.0, bits: 0x811C_9DC5 };

    /// Takes the row that came, and what is said of the next one. Returns the surprise.
    fn step<B: AsMut<[f32]>, G: Arithmetic<f32>>(
        &mut self,
        session: &mut Session<'_, f32, B, G>,
        row: &[f32; SIZE],
        counts: bool,
    ) -> Result<f32, Error> {
        if counts {
            for (next, x) in self.next.iter().zip(row) {
                self.error += (next - x) * (next - x);
            }
        }
        let mut surprise = [0.0];
        session.step(Feed::Rows(Mat::new(row, 1, SIZE)?), &mut self.next, Some(&mut surprise))?;
        for x in self.next.iter().chain(&surprise) {
            for byte in x.to_bits().to_le_bytes() {
                self.bits = (self.bits ^ u32::from(byte)).wrapping_mul(0x0100_0193);
            }
        }
        Ok(surprise[0])
    }
}

/// Runs all of the sensor's rows through two streams, one that learns and one whose memory only reads. Returns whether
/// learning helped and alarms were given.
pub fn run<G: Arithmetic<f32> + Copy>(
    g: G,
    blob: &[u8],
    sensor: &[u8],
    buffers: [&mut [f32]; 2],
    out: &mut dyn Write,
) -> Result<bool, Stop> {
    let model = Model::<f32>::parse(blob)?;
    let sensor = Sensor::new(sensor);
    let [a, b] = buffers;

    let mut learning = Session::new_in(model, Mode::On, 1, g, a)?;
    let mut frozen = Session::new_in(model, Mode::Frozen, 1, g, b)?;
    let mut said = [const { Said::NEW }; 2];
    let (mut peak, mut last, mut alarms, mut rows, mut counted) = (0.0f32, None::<usize>, 0, 0, 0);
    while let Some(row) = sensor.row(rows) {
        let quiet = last.is_none_or(|last| rows - last > QUIET);
        let counts = rows >= LEARNS && quiet;
        let surprise = said[0].step(&mut learning, &row, counts)?;
        said[1].step(&mut frozen, &row, counts)?;
        if rows >= LEARNS && surprise > ALARM * peak {
            if quiet {
                let [now, before] = [surprise, peak].map(|x| (x * 1e3) as u32);
                writeln!(out, "row {rows}: alarm, a surprise of {now} thousandths, lately {before} at most")?;
                alarms += 1;
            }
            last = Some(rows);
            peak *= FADES;
        } else {
            peak = if surprise > FADES * peak { surprise } else { FADES * peak };
        }
        counted += u32::from(counts);
        rows += 1;
    }
    for (said, name) in said.iter().zip(["learning", "frozen"]) {
        let error = said.error / (SIZE as f32 * counted as f32) * 1e6;
        writeln!(out, "{name}: squared error {} millionths, checksum {:08x}", error as u32, said.bits)?;
    }
    writeln!(out, "{rows} rows, {alarms} alarms")?;
    Ok(alarms > 0 && said[0].error < said[1].error)
}
