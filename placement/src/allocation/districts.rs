//! Workers of one kind, in an order for every function that can be walked without looking at all of them.
//!
//! ```text
//!              fork 1                     The first bits of a worker's hash name its district. At every fork a function
//!            ╱        ╲                   prefers one side, by a hash of the two; districts in that order, and the
//!      fork 2          fork 3             workers of one district by rendezvous, are the function's order. Every fork
//!     ╱      ╲        ╱      ╲            knows the most that any one worker below has room for, so that a walk turns
//! [17 90 4] [8 31] [22 5 61] [40 9]       away from parts that are full.
//! ```
//!
//! - A worker that comes or goes changes nothing in the order of the others, as long as the number of districts stays.
//! - That number is a power of two. It doubles above [`DISTRICT_MAX`] workers a district on average and is halved below
//!   [`DISTRICT_MIN`], so that a fleet at a bound does not change its order back and forth. Up to [`DISTRICT_MAX`] workers
//!   it is one: plain rendezvous hashing.
//! - A decision looks at one district for each worker it finds, and at a fork for each bit: it costs the logarithm of the workers.

use super::ranking::{Part, Ranking};
use super::rendezvous::{FunctionHash, WorkerHash};
use super::{Need, Standing};

/// Workers a district has on average at most. What a decision costs grows with it, and the evenness of the shares: those
/// of two workers differ by about `1 / sqrt(workers of a district)`.
pub const DISTRICT_MAX: usize = 256;
/// Workers a district has on average at least, where there is more than one district.
pub const DISTRICT_MIN: usize = 64;

/// Most forks above a district: more than any fleet needs.
const DEPTH_MAX: u32 = 16;
/// Most parts of the tree that a walk has before it: one at each level, and two at the last.
const WALK_MAX: usize = DEPTH_MAX as usize + 1;
/// The root of the tree; the forks below fork `n` are `2n` and `2n + 1`.
const ROOT: usize = 1;

/// Workers of one kind.
#[derive(Debug)]
pub struct Districts<K> {
    /// How many bits of a hash name a district.
    depth: u32,
    /// In order of hash and key.
    districts: Vec<Vec<Resident<K>>>,
    /// The most there is room for: of forks, from [`ROOT`] on, then of districts.
    most: Vec<Standing>,
    residents: usize,
}

#[derive(Debug)]
struct Resident<K> {
    hash: WorkerHash,
    key: K,
    standing: Standing,
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Whose order.
    pub function: FunctionHash,
    /// What has to fit.
    pub need: Need,
}

impl<K> Default for Districts<K> {
    fn default() -> Self {
        Self { depth: 0, districts: vec![Vec::new()], most: vec![Standing::CLOSED; 2], residents: 0 }
    }
}

impl<K: Ord + Clone> Districts<K> {
    /// Takes a worker in, or changes what it has room for.
    pub fn set(&mut self, hash: WorkerHash, key: &K, standing: Standing) {
        let at = self.district(hash);
        let district = &mut self.districts[at];
        let before = match find(district, hash, key) {
            Ok(place) => std::mem::replace(&mut district[place].standing, standing),
            Err(place) => {
                district.insert(place, Resident { hash, key: key.clone(), standing });
                self.residents += 1;
                Standing::CLOSED
            }
        };
        self.stood(at, before, standing);
        if self.residents > DISTRICT_MAX << self.depth && self.depth < DEPTH_MAX {
            self.divide(self.depth + 1);
        }
    }

    /// Takes a worker out.
    pub fn remove(&mut self, hash: WorkerHash, key: &K) {
        let at = self.district(hash);
        let Ok(place) = find(&self.districts[at], hash, key) else { return };
        let gone = self.districts[at].remove(place);
        self.residents -= 1;
        self.stood(at, gone.standing, Standing::CLOSED);
        if self.depth > 0 && self.residents < DISTRICT_MIN << self.depth {
            self.divide(self.depth - 1);
        }
    }

    /// How many workers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.residents
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.residents == 0
    }

    /// Whether no worker takes any new slot.
    #[must_use]
    pub fn are_closed(&self) -> bool {
        self.most[ROOT] == Standing::CLOSED
    }

    /// How many forks lie above a district.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// What a worker has room for, if it is here.
    #[must_use]
    pub fn get(&self, hash: WorkerHash, key: &K) -> Option<Standing> {
        let district = &self.districts[self.district(hash)];
        find(district, hash, key).ok().map(|place| district[place].standing)
    }

    /// Offers the workers that `fits`, in the function's order, until nobody better can follow. `fits` must allow
    /// the whole what it allows a part: it is also asked about the most there is below a fork.
    pub fn walk<'a>(
        &'a self,
        wanted: Wanted,
        fits: impl Fn(&Standing, Need) -> bool,
        passed_over: impl Fn(&K) -> bool,
        ranking: &mut Ranking<&'a K>,
    ) {
        let mut ahead: [(usize, u32, Part); WALK_MAX] = [(ROOT, 0, 0); WALK_MAX];
        let mut left = 1;
        while left > 0 {
            left -= 1;
            let (fork, level, part) = ahead[left];
            if ranking.is_closed_to(part) || !fits(&self.most[fork], wanted.need) {
                continue;
            }
            if level == self.depth {
                for resident in &self.districts[fork - (1 << self.depth)] {
                    if fits(&resident.standing, wanted.need) && !passed_over(&resident.key) {
                        ranking.offer(part, wanted.function.score(resident.hash), &resident.key);
                    }
                }
                continue;
            }
            let preferred = 2 * fork + wanted.function.side(fork as u64);
            ahead[left] = (preferred ^ 1, level + 1, part | 1 << (Part::BITS - 1 - level));
            ahead[left + 1] = (preferred, level + 1, part);
            left += 2;
        }
    }

    /// Checks that the tree says what the workers say.
    ///
    /// # Panics
    /// If it does not.
    pub fn check_invariants(&self) {
        assert_eq!(self.districts.len(), 1 << self.depth);
        assert_eq!(self.districts.iter().map(Vec::len).sum::<usize>(), self.residents);
        assert!(self.residents <= DISTRICT_MAX << self.depth || self.depth == DEPTH_MAX);
        assert!(self.depth == 0 || self.residents >= DISTRICT_MIN << self.depth);
        for (at, district) in self.districts.iter().enumerate() {
            assert!(district.is_sorted_by(|a, b| (a.hash, &a.key) < (b.hash, &b.key)));
            assert!(district.iter().all(|resident| self.district(resident.hash) == at));
            assert_eq!(self.most[self.districts.len() + at], most(district));
        }
        for fork in ROOT..self.districts.len() {
            assert_eq!(self.most[fork], self.most[2 * fork].most(self.most[2 * fork + 1]));
        }
    }

    fn district(&self, hash: WorkerHash) -> usize {
        hash.first_bits(self.depth)
    }

    /// A worker of the district stood so before and stands so now: the tree follows.
    fn stood(&mut self, at: usize, before: Standing, now: Standing) {
        let mut fork = self.districts.len() + at;
        let known = self.most[fork];
        // Only if what is less now was the most has everybody to be asked.
        let fresh = if now.falls_from(before, known) { most(&self.districts[at]) } else { known.most(now) };
        self.most[fork] = fresh;
        let mut changed = fresh != known;
        while changed && fork > ROOT {
            fork /= 2;
            let below = self.most[2 * fork].most(self.most[2 * fork + 1]);
            changed = std::mem::replace(&mut self.most[fork], below) != below;
        }
    }

    /// Divides the workers anew.
    fn divide(&mut self, depth: u32) {
        let before = std::mem::take(&mut self.districts);
        self.depth = depth;
        self.districts.resize_with(1 << depth, Vec::new);
        // They come in order of hash, and so they go.
        for resident in before.into_iter().flatten() {
            let at = self.district(resident.hash);
            self.districts[at].push(resident);
        }
        self.most = vec![Standing::CLOSED; 2 << depth];
        for (at, district) in self.districts.iter().enumerate() {
            self.most[(1 << depth) + at] = most(district);
        }
        for fork in (ROOT..1 << depth).rev() {
            self.most[fork] = self.most[2 * fork].most(self.most[2 * fork + 1]);
        }
    }
}

fn find<K: Ord>(district: &[Resident<K>], hash: WorkerHash, key: &K) -> Result<usize, usize> {
    district.binary_search_by(|resident| resident.hash.cmp(&hash).then_with(|| resident.key.cmp(key)))
}

fn most<K>(district: &[Resident<K>]) -> Standing {
    district.iter().fold(Standing::CLOSED, |most, resident| most.most(resident.standing))
}
