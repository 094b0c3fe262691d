//! A picture as SVG, with nothing outside it: readable in any browser, and made of text. Each part has a class beside its
//! colour, so that a page may give it another.

use std::fmt::Write as _;

use super::canvas::{Anchor, At, Canvas, Paint, TEXT_SIZE};

/// See the module.
pub(super) struct Svg {
    text: String,
}

impl Svg {
    pub(super) fn new(size: At, title: &str) -> Self {
        let (width, height) = size;
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"img\" font-family=\"'DejaVu Sans', Verdana, sans-serif\" font-size=\"{TEXT_SIZE}\">\n<title>{}</title>\n",
            escaped(title)
        );
        Self { text }
    }

    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

impl Canvas for Svg {
    fn rectangle(&mut self, (x, y): At, (width, height): At, paint: Paint) {
        let (class, colour) = (class(paint), colour(paint));
        let _ = writeln!(
            self.text,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        );
    }

    fn path(&mut self, points: &[At], width: f64, paint: Paint) {
        let mut path = String::new();
        for (number, (x, y)) in points.iter().enumerate() {
            let _ = write!(path, "{}{x:.1},{y:.1}", if number == 0 { "M" } else { " L" });
        }
        let dashes: Vec<String> = paint.dashes().iter().map(f64::to_string).collect();
        let dashes =
            if dashes.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{}\"", dashes.join(" ")) };
        let _ = writeln!(
            self.text,
            "<path class=\"{} line\" d=\"{path}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\"{dashes}/>",
            class(paint),
            colour(paint)
        );
    }

    fn dot(&mut self, (x, y): At, radius: f64, paint: Paint, told: &str) {
        let (class, colour, told) = (class(paint), colour(paint), escaped(told));
        let _ = writeln!(
            self.text,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"><title>{told}</title></circle>"
        );
    }

    fn text(&mut self, (x, y): At, anchor: Anchor, content: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let colour = colour(Paint::Ink);
        let content = escaped(content);
        let _ = writeln!(
            self.text,
            "<text class=\"ink\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{content}</text>"
        );
    }
}

fn class(paint: Paint) -> String {
    match paint {
        Paint::Paper => "paper".into(),
        Paint::Grid => "grid".into(),
        Paint::Ink => "ink".into(),
        Paint::Thing(number) => format!("thing-{}", number % 6),
    }
}

fn colour(paint: Paint) -> String {
    let (red, green, blue) = paint.rgb();
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_of_elements() {
        let mut svg = Svg::new((20.0, 10.0), "a<b");
        svg.path(&[(0.0, 1.0), (2.0, 3.0)], 2.0, Paint::Thing(1));
        svg.text((1.0, 2.0), Anchor::End, "5 & 6");
        svg.dot((1.0, 2.0), 3.0, Paint::Thing(7), "here");
        let text = svg.finish();
        assert!(text.contains("<title>a&lt;b</title>") && text.contains("5 &amp; 6"), "{text}");
        assert!(text.contains("d=\"M0.0,1.0 L2.0,3.0\"") && text.contains("stroke-dasharray=\"8 4\""), "{text}");
        assert!(text.contains("class=\"thing-1\" cx") && text.ends_with("</svg>\n"), "{text}");
    }
}
