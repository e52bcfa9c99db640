//! Ranges of one kind, ordered: which of them may hold for one value and not
//! for another.

use super::super::check::Span;
use super::Id;

#[derive(Debug)]
pub(super) struct Ranges<T> {
    /// By their lower ends, the open ones first.
    spans: Vec<(Span<T>, Id)>,
    /// A binary tree over them, flat: in each part, the one that reaches
    /// highest.
    highest: Vec<u32>,
    /// Every end with its range, in order.
    ends: Vec<(T, Id)>,
}

impl<T: Ord + Clone> Ranges<T> {
    pub(super) fn of(mut spans: Vec<(Span<T>, Id)>) -> Self {
        spans.sort_by(|(a, _), (b, _)| start(a).cmp(&start(b)));
        let mut ends: Vec<_> = spans
            .iter()
            .flat_map(|(span, id)| {
                [&span.low, &span.high]
                    .into_iter()
                    .flatten()
                    .map(|(end, _)| (end.clone(), *id))
            })
            .collect();
        ends.sort();
        let leaves = spans.len().next_power_of_two();
        let none = super::id(spans.len());
        let mut highest = vec![none; 2 * leaves];
        for at in 0..spans.len() {
            highest[leaves + at] = super::id(at);
        }
        for at in (1..leaves).rev() {
            let (left, right) = (highest[2 * at], highest[2 * at + 1]);
            highest[at] = if right == none || reach(&spans, left) >= reach(&spans, right) {
                left
            } else {
                right
            };
        }
        Self {
            spans,
            highest,
            ends,
        }
    }

    /// Every range that may hold for some of `old` and none of `new`, or the
    /// other way round; both are in order.
    pub(super) fn between<Q: Ord + ?Sized>(
        &self,
        old: &[&Q],
        new: &[&Q],
        visit: &mut impl FnMut(Id),
    ) where
        T: std::borrow::Borrow<Q>,
    {
        let [Some(first), Some(last)] = [
            old.first().into_iter().chain(new.first()).min(),
            old.last().into_iter().chain(new.last()).max(),
        ] else {
            return;
        };
        if old.is_empty() || new.is_empty() {
            for value in old.iter().chain(new) {
                self.around(*value, visit);
            }
            return;
        }
        // A range with a value on one side and none on the other ends in
        // between.
        let from = self.ends.partition_point(|(end, _)| end.borrow() < *first);
        for (end, id) in &self.ends[from..] {
            if end.borrow() > *last {
                break;
            }
            visit(*id);
        }
    }

    /// Every range that the value is in.
    fn around<Q: Ord + ?Sized>(&self, value: &Q, visit: &mut impl FnMut(Id))
    where
        T: std::borrow::Borrow<Q>,
    {
        let begun = self.spans.partition_point(|(span, _)| {
            span.low.as_ref().is_none_or(|(low, inside)| {
                low.borrow() < value || *inside && low.borrow() == value
            })
        });
        self.descend(1, 0, self.highest.len() / 2, begun, value, visit);
    }

    fn descend<Q: Ord + ?Sized>(
        &self,
        node: usize,
        from: usize,
        width: usize,
        begun: usize,
        value: &Q,
        visit: &mut impl FnMut(Id),
    ) where
        T: std::borrow::Borrow<Q>,
    {
        let Some((span, id)) = self
            .highest
            .get(node)
            .and_then(|highest| self.spans.get(*highest as usize))
        else {
            return;
        };
        let reaches = span.high.as_ref().is_none_or(|(high, inside)| {
            high.borrow() > value || *inside && high.borrow() == value
        });
        if from >= begun || !reaches {
            return;
        }
        if width == 1 {
            visit(*id);
            return;
        }
        let half = width / 2;
        self.descend(2 * node, from, half, begun, value, visit);
        self.descend(2 * node + 1, from + half, half, begun, value, visit);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

/// Where a range starts, as something to order by: openly, then inside.
fn start<T: Ord>(span: &Span<T>) -> Option<(&T, bool)> {
    span.low.as_ref().map(|(low, inside)| (low, !inside))
}

/// How far up it reaches: the open ones furthest.
fn reach<T: Ord>(spans: &[(Span<T>, Id)], at: u32) -> (bool, Option<(&T, bool)>) {
    let high = spans
        .get(at as usize)
        .and_then(|(span, _)| span.high.as_ref());
    (high.is_none(), high.map(|(high, inside)| (high, *inside)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_around_a_value_are_found_and_no_others() {
        let ends = [
            None,
            Some((2, true)),
            Some((2, false)),
            Some((5, true)),
            Some((5, false)),
        ];
        let spans: Vec<_> = ends
            .iter()
            .flat_map(|low| {
                ends.iter().map(move |high| Span {
                    low: *low,
                    high: *high,
                })
            })
            .enumerate()
            .map(|(at, span)| (span, super::super::id(at)))
            .collect();
        for count in 0..=spans.len() {
            let ranges = Ranges::of(spans[..count].to_vec());
            for value in 0..8 {
                let mut found = Vec::new();
                ranges.around(&value, &mut |id| found.push(id));
                found.sort_unstable();
                let expected: Vec<_> = spans[..count]
                    .iter()
                    .filter(|(span, _)| span.contains(&value))
                    .map(|(_, id)| *id)
                    .collect();
                assert_eq!(found, expected, "{value} in the first {count}");
            }
        }
    }
}
