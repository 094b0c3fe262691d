//! The letters of plots: a part of DejaVu Sans in this very program, so that a picture has the same text on a machine that
//! has no font at all (decision 220).

use anyhow::{Context, Result};
use skrifa::instance::{LocationRef, Size};
use skrifa::metrics::GlyphMetrics;
use skrifa::outline::{DrawSettings, OutlinePen};
use skrifa::{FontRef, GlyphId, MetadataProvider};
use tiny_skia::{Path, PathBuilder};

const DEJAVU_SANS: &[u8] = include_bytes!("DejaVuSans.ttf");

/// See the module.
pub(super) struct Font {
    font: FontRef<'static>,
}

impl Font {
    /// The one there is.
    pub(super) fn sans() -> Result<Self> {
        Ok(Self { font: FontRef::new(DEJAVU_SANS).context("read the font of plots")? })
    }

    /// Width of a line of text, in the unit of `size`.
    pub(super) fn width(&self, text: &str, size: f64) -> f64 {
        let metrics = self.metrics(size);
        self.glyphs(text).map(|glyph| f64::from(metrics.advance_width(glyph).unwrap_or(0.0))).sum()
    }

    /// The outlines of a line of text whose base line begins at the origin, downwards positive. `None` if nothing of it
    /// can be seen.
    pub(super) fn outline(&self, text: &str, size: f64) -> Option<Path> {
        let (metrics, outlines) = (self.metrics(size), self.font.outline_glyphs());
        let mut pen = Pen { path: PathBuilder::new(), at: 0.0 };
        for glyph in self.glyphs(text) {
            let settings = DrawSettings::unhinted(Size::new(size as f32), LocationRef::default());
            if let Some(outline) = outlines.get(glyph) {
                // The only thing that can fail is a damaged font, which a test would have seen.
                let _ = outline.draw(settings, &mut pen);
            }
            pen.at += metrics.advance_width(glyph).unwrap_or(0.0);
        }
        pen.path.finish()
    }

    fn metrics(&self, size: f64) -> GlyphMetrics<'_> {
        self.font.glyph_metrics(Size::new(size as f32), LocationRef::default())
    }

    /// What the font does not have becomes its box for the missing.
    fn glyphs(&self, text: &str) -> impl Iterator<Item = GlyphId> {
        let map = self.font.charmap();
        text.chars().map(move |character| map.map(character).unwrap_or(GlyphId::NOTDEF))
    }
}

/// Draws a glyph at its place in the line; fonts count upwards, pictures downwards.
struct Pen {
    path: PathBuilder,
    at: f32,
}

impl OutlinePen for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.path.move_to(self.at + x, -y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.path.line_to(self.at + x, -y);
    }

    fn quad_to(&mut self, cx: f32, cy: f32, x: f32, y: f32) {
        self.path.quad_to(self.at + cx, -cy, self.at + x, -y);
    }

    fn curve_to(&mut self, ax: f32, ay: f32, bx: f32, by: f32, x: f32, y: f32) {
        self.path.cubic_to(self.at + ax, -ay, self.at + bx, -by, self.at + x, -y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sign_of_a_report_has_a_glyph() {
        let font = Font::sans().unwrap();
        let signs = "AZaz09 .,:;!?%/()[]+-–—…×·≤≥≈→µμÄöüß°'";
        for sign in signs.chars() {
            assert!(font.glyphs(&sign.to_string()).all(|glyph| glyph != GlyphId::NOTDEF), "{sign}");
        }
        assert!(font.glyphs("語").all(|glyph| glyph == GlyphId::NOTDEF));
    }

    #[test]
    fn text_is_as_wide_as_it_is_drawn() {
        let font = Font::sans().unwrap();
        let bounds = font.outline("density", 12.0).unwrap().bounds();
        let width = font.width("density", 12.0);
        assert!((f64::from(bounds.right()) - width).abs() < 1.5, "{bounds:?} of {width}");
        assert!(bounds.top() < -8.0 && bounds.bottom() > 1.0, "{bounds:?}");
        assert!(font.outline(" ", 12.0).is_none());
    }
}
