//! A picture as PNG, for where no browser is.

use anyhow::{Context, Result};
use tiny_skia::{Color, FillRule, Paint as Ink, Path, PathBuilder, Pixmap, Rect, Stroke, StrokeDash, Transform};

use super::canvas::{Anchor, At, Canvas, Paint, TEXT_SIZE};
use super::font::Font;

/// Dots a unit: sharp on a dense screen, too.
const SCALE: f32 = 2.0;

/// See the module.
pub(super) struct Png<'a> {
    map: Pixmap,
    font: &'a Font,
}

impl<'a> Png<'a> {
    pub(super) fn new(size: At, font: &'a Font) -> Result<Self> {
        let dots = |units: f64| (units * f64::from(SCALE)).ceil() as u32;
        let mut map = Pixmap::new(dots(size.0), dots(size.1)).context("a picture of no size")?;
        map.fill(Color::WHITE);
        Ok(Self { map, font })
    }

    pub(super) fn finish(self) -> Result<Vec<u8>> {
        self.map.encode_png().context("encode a picture")
    }

    fn fill(&mut self, path: &Path, paint: Paint, at: At) {
        let place = Transform::from_translate(at.0 as f32, at.1 as f32).post_scale(SCALE, SCALE);
        self.map.fill_path(path, &ink(paint), FillRule::Winding, place, None);
    }
}

impl Canvas for Png<'_> {
    fn rectangle(&mut self, (x, y): At, (width, height): At, paint: Paint) {
        if let Some(rectangle) = Rect::from_xywh(x as f32, y as f32, width as f32, height as f32) {
            self.map.fill_rect(rectangle, &ink(paint), Transform::from_scale(SCALE, SCALE), None);
        }
    }

    fn path(&mut self, points: &[At], width: f64, paint: Paint) {
        let mut path = PathBuilder::new();
        for (number, (x, y)) in points.iter().enumerate() {
            if number == 0 {
                path.move_to(*x as f32, *y as f32);
            } else {
                path.line_to(*x as f32, *y as f32);
            }
        }
        let dashes = paint.dashes().iter().map(|length| *length as f32);
        // Without an even number of lengths, there is no pattern: a whole line.
        let dash = StrokeDash::new(dashes.collect(), 0.0);
        let stroke = Stroke { width: width as f32, dash, ..Stroke::default() };
        // A path of no length is none.
        if let Some(path) = path.finish() {
            self.map.stroke_path(&path, &ink(paint), &stroke, Transform::from_scale(SCALE, SCALE), None);
        }
    }

    fn dot(&mut self, at: At, radius: f64, paint: Paint, _told: &str) {
        if let Some(circle) = PathBuilder::from_circle(0.0, 0.0, radius as f32) {
            self.fill(&circle, paint, at);
        }
    }

    fn text(&mut self, (x, y): At, anchor: Anchor, content: &str) {
        let width = self.font.width(content, TEXT_SIZE);
        let left = match anchor {
            Anchor::Start => x,
            Anchor::Middle => x - width / 2.0,
            Anchor::End => x - width,
        };
        if let Some(outline) = self.font.outline(content, TEXT_SIZE) {
            self.fill(&outline, Paint::Ink, (left, y));
        }
    }
}

fn ink(paint: Paint) -> Ink<'static> {
    let (red, green, blue) = paint.rgb();
    let mut ink = Ink { anti_alias: true, ..Ink::default() };
    ink.set_color_rgba8(red, green, blue, 255);
    ink
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_lines_leave_dots() {
        let font = Font::sans().unwrap();
        let dark = |draw: fn(&mut Png<'_>)| {
            let mut png = Png::new((60.0, 20.0), &font).unwrap();
            draw(&mut png);
            png.map.pixels().iter().filter(|dot| dot.red() < 128).count()
        };
        assert_eq!(dark(|_| ()), 0);
        assert!(dark(|png| png.text((30.0, 15.0), Anchor::Middle, "hello")) > 100);
        let whole = dark(|png| png.path(&[(0.0, 10.0), (60.0, 10.0)], 2.0, Paint::Thing(0)));
        // A dashed line of another colour that is as dark.
        let dashed = dark(|png| png.path(&[(0.0, 10.0), (60.0, 10.0)], 2.0, Paint::Thing(2)));
        assert!(whole >= 480 && dashed < whole * 3 / 4 && dashed > 0, "{whole} {dashed}");
        assert!(Png::new((60.0, 20.0), &font).unwrap().finish().unwrap().starts_with(b"\x89PNG"));
    }
}
