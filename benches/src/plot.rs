//! Pictures of a report: curves over a pair of axes, and bars made of parts. Each is made twice from the same drawing: as an
//! SVG, which is text, and as a PNG with letters of its own (decision 220), so that both look the same on every machine.
//!
//! ```
//! # use std::time::Duration;
//! # use hearth_benches::plot::{Axis, Curve, Plot};
//! # use hearth_benches::statistics::Samples;
//! let mut samples = Samples::default();
//! samples.push(Duration::from_millis(3));
//! let curves = vec![Curve::distribution("jail".into(), &samples)];
//! // A distribution whose tail can be read: time on a log axis, the share by its nines.
//! let plot = Plot { title: "Boot".into(), x: Axis::log("ms"), y: Axis::percentiles("share"), curves };
//! assert!(plot.svg().unwrap().starts_with("<svg"));
//! ```

mod axis;
mod bars;
mod canvas;
mod font;
mod legend;
mod png;
mod svg;

use anyhow::Result;

use crate::statistics::Samples;
use axis::Range;
pub use axis::{Axis, Scale};
pub use bars::Bars;
use canvas::{Anchor, At, Canvas, Paint};
use font::Font;
use legend::Legend;
use png::Png;
use svg::Svg;

const WIDTH: f64 = 800.0;
/// Of what is between the axes.
const DEPTH: f64 = 340.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 24.0;
/// Where the title stands, and where it is over.
const TITLE: f64 = 22.0;
const HEAD: f64 = 38.0;
/// The name of the vertical axis, above it.
const NAME: f64 = 24.0;
const BOTTOM: f64 = 50.0;
/// A line of so many points has a dot at each.
const DOTTED: usize = 40;

/// Width and height.
type Size = (f64, f64);

/// How points are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Straight.
    Line,
    /// Level until the next: a distribution.
    Steps,
    /// Not at all: each is a dot.
    Points,
}

/// One curve.
#[derive(Debug)]
pub struct Curve {
    /// As the legend calls it.
    pub name: String,
    /// Abscissa and ordinate, from left to right.
    pub points: Vec<At>,
    /// How they are joined.
    pub shape: Shape,
}

impl Curve {
    /// The share of samples that are not above each of them, in milliseconds.
    #[must_use]
    pub fn distribution(name: String, samples: &Samples) -> Self {
        let sorted = samples.sorted_ms();
        let share = |index: usize| (index + 1) as f64 / sorted.len() as f64;
        let points = sorted.iter().enumerate().map(|(index, ms)| (*ms, share(index))).collect();
        Self { name, points, shape: Shape::Steps }
    }

    /// The corners of what is drawn.
    fn corners(&self, x: &Range, y: &Range) -> Vec<At> {
        let mut corners: Vec<At> = Vec::new();
        for (abscissa, ordinate) in &self.points {
            let (Some(along), Some(up)) = (x.place(*abscissa), y.place(*ordinate)) else { continue };
            if self.shape == Shape::Steps {
                corners.push((along, corners.last().map_or(0.0, |last| last.1)));
            }
            corners.push((along, up));
        }
        corners
    }
}

/// Curves over one pair of axes. Linear axes begin at 0.
#[derive(Debug)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// The horizontal axis: `"ms".into()`, or [`Axis::log`].
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What is drawn; told apart by colour and dashes, the first ones best.
    pub curves: Vec<Curve>,
}

impl Plot {
    /// As text of an SVG.
    pub fn svg(&self) -> Result<String> {
        svg(self, &self.title)
    }

    /// As a PNG's bytes.
    pub fn png(&self) -> Result<Vec<u8>> {
        png(self)
    }

    fn legend(&self, font: &Font) -> Legend<'_> {
        let names = self.curves.iter().map(|curve| curve.name.as_str());
        Legend::new(names, font, (LEFT, HEAD - 4.0), WIDTH - LEFT - RIGHT)
    }
}

impl Picture for Plot {
    fn size(&self, font: &Font) -> Size {
        (WIDTH, HEAD + self.legend(font).height + NAME + DEPTH + BOTTOM)
    }

    fn draw(&self, canvas: &mut impl Canvas, font: &Font) {
        let legend = self.legend(font);
        let all = || self.curves.iter().flat_map(|curve| &curve.points);
        let (x, y) = (self.x.over(all().map(|point| point.0)), self.y.over(all().map(|point| point.1)));
        let top = HEAD + legend.height + NAME;
        let (bottom, width) = (top + DEPTH, WIDTH - LEFT - RIGHT);
        let at = |(along, up): At| (LEFT + along * width, bottom - up * DEPTH);
        canvas.text((WIDTH / 2.0, TITLE), Anchor::Middle, &self.title);
        legend.draw(canvas, false);
        for (tick, label) in &x.ticks {
            let along = x.place(*tick).unwrap_or(0.0);
            canvas.path(&[at((along, 0.0)), at((along, 1.0))], 1.0, Paint::Grid);
            canvas.text((at((along, 0.0)).0, bottom + 18.0), Anchor::Middle, label);
        }
        for (tick, label) in &y.ticks {
            let up = y.place(*tick).unwrap_or(0.0);
            canvas.path(&[at((0.0, up)), at((1.0, up))], 1.0, Paint::Grid);
            canvas.text((LEFT - 8.0, at((0.0, up)).1 + 4.0), Anchor::End, label);
        }
        canvas.text((LEFT + width / 2.0, bottom + 38.0), Anchor::Middle, &self.x.name);
        canvas.text((LEFT - 8.0, top - 10.0), Anchor::Start, &self.y.name);
        for (number, curve) in self.curves.iter().enumerate() {
            let corners: Vec<At> = curve.corners(&x, &y).into_iter().map(at).collect();
            if curve.shape != Shape::Points {
                canvas.path(&corners, 2.0, Paint::Thing(number));
            }
            if curve.shape == Shape::Points || (curve.shape == Shape::Line && corners.len() <= DOTTED) {
                dots(canvas, curve, &x, &y, at, Paint::Thing(number));
            }
        }
    }
}

/// A dot at each point, which tells its figures if it is pointed at.
fn dots(canvas: &mut impl Canvas, curve: &Curve, x: &Range, y: &Range, at: impl Fn(At) -> At, paint: Paint) {
    for (abscissa, ordinate) in &curve.points {
        if let (Some(along), Some(up)) = (x.place(*abscissa), y.place(*ordinate)) {
            let told = format!("{}: {abscissa:.3}, {ordinate:.3}", curve.name);
            canvas.dot(at((along, up)), 3.0, paint, &told);
        }
    }
}

/// What can be drawn on either canvas.
trait Picture {
    fn size(&self, font: &Font) -> Size;
    fn draw(&self, canvas: &mut impl Canvas, font: &Font);
}

/// On paper, as text.
fn svg(picture: &impl Picture, title: &str) -> Result<String> {
    let font = Font::sans()?;
    let size = picture.size(&font);
    let mut svg = Svg::new(size, title);
    svg.rectangle((0.0, 0.0), size, Paint::Paper);
    picture.draw(&mut svg, &font);
    Ok(svg.finish())
}

/// The same as dots.
fn png(picture: &impl Picture) -> Result<Vec<u8>> {
    let font = Font::sans()?;
    let mut png = Png::new(picture.size(&font), &font)?;
    picture.draw(&mut png, &font);
    png.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution() -> Curve {
        Curve { name: "a<b".to_owned(), points: vec![(1.0, 0.5), (2.0, 1.0)], shape: Shape::Steps }
    }

    #[test]
    fn a_distribution_rises_at_its_samples() {
        let curve = distribution();
        let over = |values: [f64; 2]| Axis::from("").over(values.into_iter());
        let corners = curve.corners(&over([0.0, 2.0]), &over([0.0, 1.0]));
        assert_eq!(corners, [(0.5, 0.0), (0.5, 0.5), (1.0, 0.5), (1.0, 1.0)]);
    }

    #[test]
    fn what_has_no_place_is_left_out() {
        let curve =
            Curve { name: "cost".into(), points: vec![(0.0, 1.0), (10.0, f64::NAN), (10.0, 2.0)], shape: Shape::Line };
        let corners =
            curve.corners(&Axis::log("n").over([10.0, 100.0].into_iter()), &Axis::from("").over([2.0].into_iter()));
        assert_eq!(corners, [(0.0, 1.0)]);
    }

    #[test]
    fn a_plot_is_text_and_a_picture() {
        let plot = Plot { title: "t".into(), x: "x".into(), y: Axis::percentiles("y"), curves: vec![distribution()] };
        let svg = plot.svg().unwrap();
        assert!(svg.contains("a&lt;b") && svg.contains(">90 %<") && svg.ends_with("</svg>\n"));
        assert!(plot.png().unwrap().starts_with(b"\x89PNG"));
        let empty = Plot { title: String::new(), x: "x".into(), y: "y".into(), curves: Vec::new() };
        assert!(empty.svg().is_ok() && empty.png().is_ok());
    }
}
