//! Bars made of parts: how a whole is divided, for several wholes below each other.

use anyhow::Result;

use super::axis::Axis;
use super::canvas::{Anchor, Canvas, Paint, TEXT_SIZE};
use super::font::Font;
use super::legend::Legend;
use super::{HEAD, RIGHT, Size, TITLE, WIDTH};

const ROW: f64 = 34.0;
const THICKNESS: f64 = 20.0;
const BOTTOM: f64 = 44.0;

/// Wholes that have the same parts.
#[derive(Debug)]
pub struct Bars {
    /// What it shows.
    pub title: String,
    /// Name and unit of the axis; a linear one.
    pub x: Axis,
    /// The parts' names.
    pub parts: Vec<String>,
    /// Each whole's name, and what each of its parts measures: as many as there are parts, none below 0.
    pub bars: Vec<(String, Vec<f64>)>,
}

impl Bars {
    /// As text of an SVG.
    pub fn svg(&self) -> Result<String> {
        super::svg(self, &self.title)
    }

    /// As a PNG's bytes.
    pub fn png(&self) -> Result<Vec<u8>> {
        super::png(self)
    }
}

impl super::Picture for Bars {
    fn size(&self, font: &Font) -> Size {
        let legend = self.legend(font).height;
        (WIDTH, HEAD + legend + ROW * self.bars.len() as f64 + BOTTOM)
    }

    fn draw(&self, canvas: &mut impl Canvas, font: &Font) {
        let legend = self.legend(font);
        let names = self.bars.iter().map(|(name, _)| font.width(name, TEXT_SIZE)).fold(30.0, f64::max);
        let (left, top) = (names + 24.0, HEAD + legend.height);
        let bottom = top + ROW * self.bars.len() as f64;
        let range = self.x.over(self.bars.iter().map(|(_, parts)| parts.iter().sum()));
        let at = |value: f64| left + range.place(value).unwrap_or(0.0) * (WIDTH - left - RIGHT);
        canvas.text((WIDTH / 2.0, TITLE), Anchor::Middle, &self.title);
        legend.draw(canvas, true);
        for (tick, label) in &range.ticks {
            canvas.path(&[(at(*tick), top), (at(*tick), bottom)], 1.0, Paint::Grid);
            canvas.text((at(*tick), bottom + 16.0), Anchor::Middle, label);
        }
        canvas.text((f64::midpoint(left, WIDTH - RIGHT), bottom + 36.0), Anchor::Middle, &self.x.name);
        for (row, (name, parts)) in self.bars.iter().enumerate() {
            let y = top + ROW * row as f64 + (ROW - THICKNESS) / 2.0;
            canvas.text((left - 10.0, y + 14.0), Anchor::End, name);
            let mut sum = 0.0;
            for (number, part) in parts.iter().enumerate() {
                let (from, to) = (at(sum), at(sum + part));
                canvas.rectangle((from, y), (to - from, THICKNESS), Paint::Thing(number));
                sum += part;
            }
        }
    }
}

impl Bars {
    fn legend(&self, font: &Font) -> Legend<'_> {
        Legend::new(self.parts.iter().map(String::as_str), font, (24.0, HEAD - 4.0), WIDTH - 24.0 - RIGHT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_end_to_end() {
        let bars = Bars {
            title: "Memory of a slot".into(),
            x: "KiB".into(),
            parts: vec!["shim".into(), "function".into()],
            bars: vec![("python".into(), vec![25.0, 75.0]), ("provided".into(), vec![50.0, 0.0])],
        };
        let svg = bars.svg().unwrap();
        let place = |needle: &str, name: &str| -> f64 {
            let line = svg.lines().find(|line| line.contains(needle) && line.contains("height=\"20.0\"")).unwrap();
            let value = line.split_once(&format!(" {name}=\"")).unwrap().1;
            value.split_once('"').unwrap().0.parse().unwrap()
        };
        let (first, second) = (("thing-0", "x"), ("thing-1", "x"));
        let width = place(first.0, "width");
        assert!((place(first.0, first.1) + width - place(second.0, second.1)).abs() < 0.2);
        assert!((width * 3.0 - place(second.0, "width")).abs() < 0.5);
        assert!(bars.png().unwrap().starts_with(b"\x89PNG"));
    }
}
