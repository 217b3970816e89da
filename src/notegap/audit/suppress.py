"""Small groups kept out of published figures: none tells of a few people, and none lets them be worked out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rate:
    """`part` of `whole`, counted for one group. `within` names a larger group whose total is told elsewhere."""

    name: str
    part: int
    whole: int
    within: str = ""
    detail: str = ""

    @property
    def share(self) -> float:
        """`part` divided by `whole`; 0 of nothing."""
        return self.part / self.whole if self.whole else 0.0

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The Wilson score interval of the share (95 %); the whole range of nothing."""
        from scipy.stats import binomtest

        if not self.whole:
            return 0.0, 1.0
        interval = binomtest(self.part, self.whole).proportion_ci(CONFIDENCE, method="wilson")
        return float(interval.low), float(interval.high)


@dataclass(frozen=True, slots=True)
class Told:
    """The groups that are told, and those that are not, told together; `rest` is None when every group is told."""

    groups: tuple[Rate, ...]
    rest: Rate | None = None

    @property
    def names(self) -> frozenset[str]:
        """The groups that are told."""
        return frozenset(group.name for group in self.groups)


REST = "smaller groups, together"


def tell(groups: Sequence[Rate], small: int, *circles: Mapping[str, str]) -> Told:
    """Which of `groups` may be told when none with a `whole` below `small` may be.

    A group that is left out must not come out as the total less the others. So more are left out, smallest first, until
    those left out are at least two and have at least `small`, and more than one each, together, and among them are some
    of `part` and some not: over all groups, and among those `within` the same larger one, and
    among those of which one of `circles` says the same by name. Where that cannot be reached,
    they are not told together either.
    """
    # Of equals the name decides, so that the same audit leaves out the same groups.
    ordered = sorted(groups, key=lambda group: (group.whole, group.name))
    left_out = {group.name for group in ordered if group.whole < small}
    if not left_out:
        return Told(tuple(groups))
    families = [ordered]
    for circle in ({group.name: group.within for group in ordered}, *circles):
        members: dict[str, list[Rate]] = defaultdict(list)
        for group in ordered:
            members[circle.get(group.name, "")].append(group)
        families[:0] = members.values()
    before: set[str] = set()
    # What one family leaves out may need company in another.
    while before != left_out:
        before = set(left_out)
        for family in families:
            left_out |= _with_company(family, left_out, small)
    hidden = [group for group in ordered if group.name in left_out]
    rest = Rate(REST, sum(group.part for group in hidden), sum(group.whole for group in hidden))
    return Told(
        tuple(group for group in groups if group.name not in left_out),
        rest if _is_enough(hidden, small, ordered) else None,
    )


def _with_company(ordered: Sequence[Rate], left_out: Collection[str], small: int) -> set[str]:
    """The names to leave out of `ordered`, smallest first, so that those in `left_out` have company enough."""
    hidden = [group for group in ordered if group.name in left_out]
    others = iter([group for group in ordered if group.name not in left_out])
    while hidden and not _is_enough(hidden, small, ordered):
        more = next(others, None)
        if more is None:
            break
        hidden.append(more)
    return {group.name for group in hidden}


def _is_enough(hidden: Sequence[Rate], small: int, every: Sequence[Rate]) -> bool:
    together = sum(group.whole for group in hidden)
    return len(hidden) > 1 and together >= max(small, 2 * len(hidden)) and (_is_mixed(hidden) or not _is_mixed(every))


def _is_mixed(groups: Sequence[Rate]) -> bool:
    """Whether some are of `part` and some not; where all are, or none is, the total tells each group's part."""
    return 0 < sum(group.part for group in groups) < sum(group.whole for group in groups)
