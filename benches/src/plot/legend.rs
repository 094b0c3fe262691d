//! What the colours mean: a line or a few of it above what is drawn, so that it covers nothing.

use super::canvas::{Anchor, At, Canvas, Paint, TEXT_SIZE};
use super::font::Font;

const ROW: f64 = 18.0;
const KEY: f64 = 26.0;
const GAP: f64 = 20.0;

/// Names at their places.
pub(super) struct Legend<'a> {
    entries: Vec<(At, &'a str)>,
    /// Of all its lines.
    pub(super) height: f64,
}

impl<'a> Legend<'a> {
    /// One name after the other from `corner` on; what goes beyond `width` begins another line.
    pub(super) fn new(names: impl Iterator<Item = &'a str>, font: &Font, corner: At, width: f64) -> Self {
        let (mut x, mut y) = corner;
        let mut entries = Vec::new();
        for name in names {
            let needed = KEY + font.width(name, TEXT_SIZE);
            if x > corner.0 && x + needed > corner.0 + width {
                (x, y) = (corner.0, y + ROW);
            }
            entries.push(((x, y), name));
            x += needed + GAP;
        }
        Self { height: if entries.is_empty() { 0.0 } else { y - corner.1 + ROW }, entries }
    }

    /// With keys that are lines, or boxes if things are drawn as areas.
    pub(super) fn draw(&self, canvas: &mut impl Canvas, are_areas: bool) {
        for (number, ((x, y), name)) in self.entries.iter().enumerate() {
            let paint = Paint::Thing(number);
            if are_areas {
                canvas.rectangle((x + 6.0, *y), (12.0, 12.0), paint);
            } else {
                canvas.path(&[(*x, y + 6.0), (x + KEY - 6.0, y + 6.0)], 2.0, paint);
            }
            canvas.text((x + KEY, y + 10.0), Anchor::Start, name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_begins_another_line() {
        let font = Font::sans().unwrap();
        let names = ["jail: private", "jail: PSS", "kvm: private", "kvm: PSS"];
        let place = |width: f64| Legend::new(names.into_iter(), &font, (10.0, 40.0), width);
        assert!((place(1_000.0).height - ROW).abs() < 1e-9);
        let narrow = place(220.0);
        assert!((narrow.height - 2.0 * ROW).abs() < 1e-9, "{}", narrow.height);
        let places: Vec<At> = narrow.entries.iter().map(|(at, _)| *at).collect();
        assert_eq!((places[0], places[2]), ((10.0, 40.0), (10.0, 58.0)));
        assert!(Legend::new([].into_iter(), &font, (0.0, 0.0), 9.0).height.abs() < 1e-9);
    }
}
