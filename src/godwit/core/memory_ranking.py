"""How memories are found: the words of a text in any language, and what a memory scores for them.

Relevance is the share of the query's words that a memory has, rare ones counting more; bm25, which a store's index knows;
and how close its vector is, where there are some. Importance, age and use are added to it. Rule: not all words need to be
there, and of two memories that are else the same the one with more of them comes first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from .folding import folded, is_unspaced, runs
from .memory import Memory

DAY_MS = 86_400_000
DECAY_DAYS = 30.0
"""In which recency falls to 1/e."""
WORKING_DECAY_DAYS = 1.0
QUERY_WORDS = 64
"""Of a longer query the first so many words count."""
PREFIX = 4
"""A word of so many letters also finds longer ones that begin with it."""
LEAST_SIMILARITY = 0.3
"""What a vector alone finds is at least that close."""
# What says nothing of what a text is about, in languages that many write. Of others, such words count little as they are
# rarely rare.
_COMMON = frozenset(
    """
    a am an and any are as at be been but by can could did do does for from had has have he her here him his how if in into
    is it its just may me might must my no not of on or our out please shall she should so some than that the their them
    then there these they this those to too up us very was we were what when where which who whom whose why will with would
    yes you your
    als am auf aus bei bin bitte das dass dem den der des die du ein eine einen einer er es fur hat ich ihr im ist ja kann
    man mein mir mit nach nicht noch nur oder sich sie sind so uber um und uns von war was wie wir wo zu zum zur
    al con de del el en es esta este la las le les lo los mas mi muy no o para pero por que se si sin son su sus un una y ya
    au aux avec ce ces dans des du elle est et il ils je leur ma mais mes mon ne nous ou par pas pour qu qui sa ses son sur
    ta te tes ton tu une vous
    che chi ci come da dei della di e gli ha ho i il io nel non per sono tra una
    com da das do dos ele em eu foi isso mas meu na nas nao os ou pela pelo seu sua um uma voce
    dat de een en het hij ik je met niet van voor wat wij zijn
    в и к на не но о от по с у что это как для мы вы он она они я
    """.split()  # noqa: SIM905 - a list of so many is read as a text
)


def words(text: str) -> list[str]:
    """The words of a text as they are compared: without case, accents and punctuation. Of scripts that are written without
    spaces two characters each are taken for a word."""
    found: list[str] = []
    for run, unspaced in runs(folded(text)):
        if unspaced and len(run) > 1:
            found += [run[n : n + 2] for n in range(len(run) - 1)]
        else:
            found.append(run)
    return found


def query_words(text: str) -> list[str]:
    """The words to look for, each once. Those that stand in any text, and single letters, only where there are no others."""
    distinct = list(dict.fromkeys(words(text)))
    telling = [word for word in distinct if word not in _COMMON and not (len(word) == 1 and word.isalpha())]
    return (telling or distinct)[:QUERY_WORDS]


def has_prefix(word: str) -> bool:
    """Whether a word also finds longer ones."""
    return len(word) >= PREFIX and not is_unspaced(word)


def matches(wanted: Sequence[str], memory: Memory) -> frozenset[str]:
    """Which of these words a memory has."""
    has = set(words(memory.content))
    for tag in memory.tags:
        has.update(words(tag))
    return frozenset(w for w in wanted if w in has or (has_prefix(w) and any(one.startswith(w) for one in has)))


class Candidate:
    """A memory that may be what is looked for. `bm25`: the index's figure, the more the better; 0 where words did not find
    it. `similarity`: of its vector, -1 to 1; None without one."""

    __slots__ = ("bm25", "memory", "similarity")

    def __init__(self, memory: Memory, bm25: float = 0.0, similarity: float | None = None) -> None:
        self.memory = memory
        self.bm25 = bm25
        self.similarity = similarity


def ranked(wanted: Sequence[str], candidates: Sequence[Candidate], *, total: int, now_ms: int) -> list[tuple[Memory, float]]:
    """The candidates, the best first, with their scores. `total`: how many memories there are where they come from."""
    had = {id(c): matches(wanted, c.memory) for c in candidates}
    rarity = _rarity(wanted, had.values(), max(total, len(candidates)))
    shares = {key: sum(rarity[word] for word in found) for key, found in had.items()}
    most, best = max(shares.values(), default=0.0), max((c.bm25 for c in candidates), default=0.0)
    scored: list[tuple[Memory, float]] = []
    for c in candidates:
        said = 0.85 * (shares[id(c)] / most if most else 0.0) + 0.15 * (c.bm25 / best if best > 0 else 0.0)
        relevance = said if c.similarity is None else 0.5 * said + 0.5 * max(0.0, c.similarity)
        scored.append((c.memory, round(0.65 * relevance + 0.35 * standing(c.memory, now_ms), 6)))
    scored.sort(key=lambda found: (-found[1], -found[0].updated_ms, found[0].id))
    return scored


def _rarity(wanted: Sequence[str], had: Iterable[frozenset[str]], total: int) -> Mapping[str, float]:
    counts = dict.fromkeys(wanted, 0)
    for found in had:
        for word in found:
            counts[word] += 1
    return {word: math.log1p((total + 1) / (count + 0.5)) for word, count in counts.items()}


def standing(memory: Memory, now_ms: int) -> float:
    """What a memory counts for whatever is looked for, 0 to 1: its importance, how new it is, and how often it was of
    use."""
    return 0.6 * memory.importance + 0.3 * recency(memory, now_ms) + 0.1 * (1 - 1 / (1 + math.log1p(memory.access_count)))


def recency(memory: Memory, now_ms: int) -> float:
    """1 for what was just made or changed, less and less for what is older."""
    days = max(0, now_ms - memory.updated_ms) / DAY_MS
    return math.exp(-days / (WORKING_DECAY_DAYS if memory.kind == "working" else DECAY_DAYS))


__all__ = [
    "DAY_MS", "DECAY_DAYS", "LEAST_SIMILARITY", "Candidate", "has_prefix", "matches", "query_words", "ranked", "recency",
    "standing", "words",
]  # fmt: skip
