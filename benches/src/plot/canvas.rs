//! What plots are drawn on: text of an SVG, or dots of a PNG. Both get the same calls.

/// A place, in units of the picture: from the left, from the top.
pub(super) type At = (f64, f64);

/// What a thing is, which says its colour: a page that is read in the dark gives it another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    /// The ground.
    Paper,
    /// Lines that help the eye.
    Grid,
    /// Text.
    Ink,
    /// One of several things that are told apart; any number.
    Thing(usize),
}

/// Told apart also by those who see no red or green (Okabe and Ito's six, then four of Tol's), and by their dashes without
/// any colour. As many as a cold start has phases.
const THINGS: [(u8, u8, u8); 10] = [
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (153, 153, 51),
    (136, 34, 85),
    (136, 136, 136),
    (51, 34, 136),
];
const DASHES: [&[f64]; 5] = [&[], &[8.0, 4.0], &[2.0, 3.0], &[10.0, 3.0, 2.0, 3.0], &[5.0, 2.0]];

impl Paint {
    /// Red, green and blue on white.
    pub(super) fn rgb(self) -> (u8, u8, u8) {
        match self {
            Self::Paper => (255, 255, 255),
            Self::Grid => (221, 221, 221),
            Self::Ink => (34, 34, 34),
            Self::Thing(number) => THINGS[number % THINGS.len()],
        }
    }

    /// Lengths of strokes and gaps; none for a whole line.
    pub(super) fn dashes(self) -> &'static [f64] {
        match self {
            Self::Thing(number) => DASHES[number % DASHES.len()],
            Self::Paper | Self::Grid | Self::Ink => &[],
        }
    }
}

/// Which end of a text is at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Height of the letters of plots.
pub(super) const TEXT_SIZE: f64 = 12.0;

/// See the module.
pub(super) trait Canvas {
    /// A filled one, by its upper left corner and its size.
    fn rectangle(&mut self, corner: At, size: At, paint: Paint);
    /// A polygon of straight pieces, not filled; what it is made of stands beside it if pointed at.
    fn path(&mut self, points: &[At], width: f64, paint: Paint);
    /// A dot, and what is told if it is pointed at.
    fn dot(&mut self, at: At, radius: f64, paint: Paint, told: &str);
    /// A line of text; its base line is at the place.
    fn text(&mut self, at: At, anchor: Anchor, content: &str);
}
