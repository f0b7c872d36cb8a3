//! The ways from a value to a gradient, each a linear map of the value's uses.

use std::collections::HashMap;

use burn_ir::TensorId;

use super::factored::{Shared, Source, Use};
use super::stacked_matrices::Effect;

/// The most shared matrices on one way. Each is a product for every use at every replay.
const MAX_MATRICES: usize = 8;

/// The effect of the way to the gradient on a value's uses. Ways that differ only in scale count as
/// one.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) scale: f64,
    map: Map,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Map {
    swapped: bool,
    /// Stack axes that are summed over, in ascending order.
    summed: Vec<usize>,
    /// The matrices that multiply the gradient's left side. `right` has those of the right side.
    left: List,
    right: List,
}

/// The number of a list of shared matrices, in the order in which they multiply. Equal lists have
/// equal numbers.
type List = Option<usize>;

/// All lists. A way leads from the gradient down to the value, so each list grows at its front, and
/// lists with the same end share it.
#[derive(Default)]
pub(super) struct Matrices {
    lists: Vec<(Shared, List, usize)>,
    known: HashMap<(TensorId, bool, List), usize>,
}

impl Way {
    /// The way from a value to itself.
    pub(super) fn start() -> Self {
        Self { scale: 1.0, map: Map::default() }
    }

    pub(super) fn is_alike(&self, other: &Self) -> bool {
        self.map == other.map
    }

    /// The way that starts one step earlier, at the value to which `effect` is applied; `None` if
    /// it becomes too long.
    pub(super) fn after(mut self, effect: &Effect, matrices: &mut Matrices) -> Option<Self> {
        let map = &mut self.map;
        match effect {
            Effect::Scaled(factor) => self.scale *= factor,
            Effect::Swapped => map.swapped = !map.swapped,
            Effect::Summed(axes) => {
                map.summed.extend(axes);
                map.summed.sort_unstable();
            }
            Effect::Left(shared) | Effect::Right(shared) => {
                let is_left = matches!(effect, Effect::Left(_)) != map.swapped;
                let list = if is_left { &mut map.left } else { &mut map.right };
                *list = Some(matrices.before(shared, *list));
                if matrices.length(map.left) + matrices.length(map.right) > MAX_MATRICES {
                    return None;
                }
            }
        }
        Some(self)
    }

    /// The way applied to `use_`.
    pub(super) fn applied(&self, use_: &Use, matrices: &Matrices) -> Option<Use> {
        let mut u = use_.clone();
        u.scale *= self.scale;
        for axis in &self.map.summed {
            let mut size = 1;
            for side in [&mut u.left, &mut u.right] {
                let Source::Operand(operand) = &mut side.source else { return None };
                let summed = operand.summed.get_mut(*axis)?;
                if std::mem::replace(summed, true) {
                    return None;
                }
                size = *operand.stack.get(*axis)?;
            }
            u.length *= size;
        }
        if self.map.swapped {
            std::mem::swap(&mut u.left, &mut u.right);
        }
        u.left.then.extend(matrices.of(self.map.left).cloned());
        u.right.then.extend(matrices.of(self.map.right).cloned());
        Some(u)
    }
}

impl Matrices {
    /// `list` with `shared` in front.
    fn before(&mut self, shared: &Shared, list: List) -> usize {
        let length = self.length(list) + 1;
        let key = (shared.matrix.id, shared.transposed, list);
        *self.known.entry(key).or_insert_with(|| {
            self.lists.push((shared.clone(), list, length));
            self.lists.len() - 1
        })
    }

    fn length(&self, list: List) -> usize {
        list.and_then(|list| self.lists.get(list)).map_or(0, |(_, _, length)| *length)
    }

    fn of(&self, list: List) -> impl Iterator<Item = &Shared> {
        let get = |list: List| list.and_then(|list| self.lists.get(list));
        let lists = std::iter::successors(get(list), move |(_, rest, _)| get(*rest));
        lists.map(|(shared, _, _)| shared)
    }
}
