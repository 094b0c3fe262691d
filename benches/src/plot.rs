//! A line plot as SVG, with nothing outside it: readable in any browser, and made of text.

use std::fmt::Write as _;

use crate::statistics::Samples;

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// Told apart also by those who see no red or green (Okabe and Ito's).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
/// About so many lines of the grid each way.
const TICKS: f64 = 6.0;

/// How points are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Straight.
    Line,
    /// Level until the next: a distribution.
    Steps,
}

/// One curve.
#[derive(Debug)]
pub struct Curve {
    /// As the legend calls it.
    pub name: String,
    /// Abscissa and ordinate, from left to right.
    pub points: Vec<(f64, f64)>,
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
}

/// Curves over one pair of axes, which both begin at 0.
#[derive(Debug)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// Name and unit of the horizontal axis.
    pub x: String,
    /// Name and unit of the vertical axis.
    pub y: String,
    /// What is drawn.
    pub curves: Vec<Curve>,
}

/// One axis: from 0 to `end` in steps that are easy to read.
struct Axis {
    end: f64,
    step: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>) -> Self {
        let max = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let max = if max > 0.0 { max } else { 1.0 };
        let magnitude = 10_f64.powf((max / TICKS).log10().floor());
        let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * magnitude);
        let step = steps.into_iter().find(|step| max / step <= TICKS).unwrap_or(max);
        // A little short of a whole step is as good as one.
        Self { end: (max / step - 1e-9).ceil() * step, step }
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = (self.end / self.step).round() as u32;
        (0..=count).map(|number| f64::from(number) * self.step)
    }

    /// As many decimals as the steps need.
    fn label(&self, value: f64) -> String {
        let decimals = (0..4).find(|decimals| {
            let scaled = self.step * 10_f64.powi(*decimals);
            (scaled - scaled.round()).abs() < 1e-6
        });
        format!("{value:.*}", decimals.unwrap_or(4) as usize)
    }
}

impl Plot {
    /// The whole picture.
    #[must_use]
    pub fn svg(&self) -> String {
        let all = || self.curves.iter().flat_map(|curve| &curve.points);
        let (x, y) = (Axis::over(all().map(|point| point.0)), Axis::over(all().map(|point| point.1)));
        let at_x = |value: f64| LEFT + value / x.end * (WIDTH - LEFT - RIGHT);
        let at_y = |value: f64| HEIGHT - BOTTOM - value / y.end * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        let bottom = HEIGHT - BOTTOM;
        for tick in x.ticks() {
            let at = at_x(tick);
            line(&mut svg, (at, TOP), (at, bottom));
            text(&mut svg, (at, bottom + 18.0), "middle", &x.label(tick));
        }
        for tick in y.ticks() {
            let at = at_y(tick);
            line(&mut svg, (LEFT, at), (WIDTH - RIGHT, at));
            text(&mut svg, (LEFT - 8.0, at + 4.0), "end", &y.label(tick));
        }
        text(&mut svg, (f64::midpoint(LEFT, WIDTH - RIGHT), HEIGHT - 12.0), "middle", &self.x);
        text(&mut svg, (LEFT - 8.0, TOP - 14.0), "start", &self.y);
        text(&mut svg, (WIDTH / 2.0, 20.0), "middle", &self.title);
        for (number, (curve, colour)) in self.curves.iter().zip(COLOURS.iter().cycle()).enumerate() {
            let path = path(curve, at_x, at_y);
            let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
            let legend = TOP + 18.0 + 18.0 * number as f64;
            let _ = writeln!(
                svg,
                "<rect x=\"{}\" y=\"{}\" width=\"14\" height=\"4\" fill=\"{colour}\"/>",
                LEFT + 12.0,
                legend - 6.0
            );
            text(&mut svg, (LEFT + 32.0, legend), "start", &curve.name);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn path(curve: &Curve, at_x: impl Fn(f64) -> f64, at_y: impl Fn(f64) -> f64) -> String {
    let mut path = String::new();
    let mut last = 0.0;
    for (number, (x, y)) in curve.points.iter().enumerate() {
        if curve.shape == Shape::Steps {
            let command = if number == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1},{:.1} ", at_x(*x), at_y(last));
            let _ = write!(path, "L{:.1},{:.1} ", at_x(*x), at_y(*y));
        } else {
            let command = if number == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1},{:.1} ", at_x(*x), at_y(*y));
        }
        last = *y;
    }
    path.trim_end().to_owned()
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(svg, "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#dddddd\"/>");
}

fn text(svg: &mut String, at: (f64, f64), anchor: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{content}</text>", at.0, at.1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_a_whole_step_not_below_the_largest_value() {
        for (max, end, ticks) in [(1.0, 1.0, 6), (0.73, 0.8, 5), (29.0, 30.0, 7), (1234.0, 1250.0, 6), (0.0, 1.0, 6)] {
            let axis = Axis::over([max, f64::NAN].into_iter());
            assert!((axis.end - end).abs() < 1e-9, "{max}: {}", axis.end);
            assert_eq!(axis.ticks().count(), ticks, "{max}");
        }
        assert_eq!(Axis::over([0.73].into_iter()).label(0.6), "0.6");
        assert_eq!(Axis::over([1234.0].into_iter()).label(250.0), "250");
    }

    #[test]
    fn a_distribution_rises_at_its_samples() {
        let points = vec![(1.0, 0.5), (2.0, 1.0)];
        let curve = Curve { name: "a<b".to_owned(), points, shape: Shape::Steps };
        assert_eq!(path(&curve, |x| x, |y| y), "M1.0,0.0 L1.0,0.5 L2.0,0.5 L2.0,1.0");
        let plot = Plot { title: "t".into(), x: "x".into(), y: "y".into(), curves: vec![curve] };
        let svg = plot.svg();
        assert!(svg.contains("a&lt;b") && svg.ends_with("</svg>\n"));
    }
}
