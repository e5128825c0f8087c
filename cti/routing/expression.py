"""What a caller requires of an agent, in a small language: ``english >= 5 and (technical > 3 or not trainee)``.

::

    requirement = choice {"or" choice}
    choice      = part {"and" part}
    part        = "not" part | "(" requirement ")" | comparison
    comparison  = name | name operator value | value operator name
    operator    = "==" | "!=" | "<" | "<=" | ">" | ">="
    value       = number | "text" | 'text'

A name is a variable of the call (``VARIABLES``) or else a skill, whose number is the proficiency, 1 to 10. Alone, a
skill says that it is held at all, a variable that it is known. Case does not matter in names and words, it does in
texts.

*Undefined is not zero.* A comparison with a skill that the agent does not hold, or with a variable that is not known,
is neither true nor false but unknown, and so is its ``not``: an agent without English does not meet ``english < 5``,
nor ``not english >= 5``. What is unknown in the end is not met. (``not`` is pushed down to the comparisons while
parsing; what is left is ``and`` and ``or`` alone, and there an unknown may count as false.)

Text from outside is hostile: its length, depth and comparisons are bounded, nothing is evaluated but this table.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, NoReturn, TypeAlias

from cti.errors import BadInput

VARIABLES = frozenset(
    {
        "account",
        "calls_7d",
        "choice",
        "dnis",
        "language",
        "last_agent",
        "owner",
        "product",
        "queue",
        "severity",
        "tier",
    }
)
"""What may be asked of the call. A skill of such a name can't be asked for."""
WORDS = frozenset({"and", "or", "not"})

MOST_CHARACTERS = 1000
MOST_COMPARISONS = 50
MOST_DEPTH = 20
MOST_PROFICIENCY = 10
MOST_DETAIL = 200
"""Characters in the detail of a shortfall."""


class ExpressionError(BadInput):
    """The text is no requirement. ``position``: of the character at fault, from 0 (the length of the text: something
    is missing at its end). ``problem``, a stable code:

    ``too_long``, ``too_deep``, ``too_many_comparisons``; ``unknown_character``; ``unclosed_text`` (a quote without its
    fellow), ``unclosed_bracket``; ``expected_comparison`` (a name, a bracket or ``not`` must stand here),
    ``expected_operator``, ``expected_value`` (a number or a text), ``expected_and_or``; ``two_values``, ``two_names``
    (one side is a name and the other is not); ``text_for_skill`` (a skill has a number), ``text_not_ordered`` (a text
    is equal or not); ``proficiency_out_of_range``; ``single_equals`` (it is ``==``).
    """

    def __init__(self, position: int, code: str) -> None:
        super().__init__("requirement", code)
        self.position = position


class Shortfall(NamedTuple):
    """Why somebody does not meet a requirement. ``reason``, and what ``detail`` means there:

    * ``skill_missing``: the skill;
    * ``skill_too_low``: skill, proficiency held, what is asked (``english 4 >= 5``);
    * ``skill_too_high``: the same (``english 9 < 5``);
    * ``skill_unwanted``: a skill that must not be held (``not trainee``);
    * ``call_unknown``: a variable of the call that is not known; nobody meets this;
    * ``call_differs``: variable, its value, what is asked (``tier silver == gold``); nobody meets this;
    * ``none_of``: of several ways none is met; the details of each, with `` | `` between them.
    """

    reason: str
    detail: str


OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_MIRRORED = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill is held (``is_held``), or is not."""

    name: str
    is_held: bool = True

    def is_met(self, skills: Mapping[str, int]) -> bool:
        """Whether somebody with these skills meets it."""
        return (self.name in skills) is self.is_held

    def shortfall(self, skills: Mapping[str, int], variables: Mapping[str, str]) -> Shortfall | None:
        """Why not, or None."""
        if self.is_met(skills):
            return None
        return Shortfall("skill_missing" if self.is_held else "skill_unwanted", self.name)


@dataclass(frozen=True, slots=True)
class Proficiency:
    """A skill is held with a proficiency such as this."""

    name: str
    operator: str
    value: float

    def is_met(self, skills: Mapping[str, int]) -> bool:
        """Whether somebody with these skills meets it."""
        held = skills.get(self.name)
        return held is not None and OPERATORS[self.operator](held, self.value)

    def shortfall(self, skills: Mapping[str, int], variables: Mapping[str, str]) -> Shortfall | None:
        """Why not, or None."""
        held = skills.get(self.name)
        if held is None:
            return Shortfall("skill_missing", self.name)
        if OPERATORS[self.operator](held, self.value):
            return None
        is_low = held < self.value or self.operator == ">"
        return Shortfall(
            "skill_too_low" if is_low else "skill_too_high", f"{self.name} {held} {self.operator} {self.value:g}"
        )


@dataclass(frozen=True, slots=True)
class Known:
    """A variable of the call is known (``is_known``), or is not."""

    name: str
    is_known: bool = True

    def is_met(self, variables: Mapping[str, str]) -> bool:
        """Whether a call with these variables meets it."""
        return bool(variables.get(self.name)) is self.is_known

    def shortfall(self, skills: Mapping[str, int], variables: Mapping[str, str]) -> Shortfall | None:
        """Why not, or None."""
        if self.is_met(variables):
            return None
        value = variables.get(self.name)
        return Shortfall("call_differs", f"{self.name} {value}") if value else Shortfall("call_unknown", self.name)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the call has a value such as this. A text is compared as it is, a number as a number."""

    name: str
    operator: str
    value: float | str

    def is_met(self, variables: Mapping[str, str]) -> bool:
        """Whether a call with these variables meets it."""
        known = variables.get(self.name)
        if not known:
            return False
        if isinstance(self.value, str):
            return (known == self.value) is (self.operator == "==")
        return _NUMBER.fullmatch(known) is not None and OPERATORS[self.operator](float(known), self.value)

    def shortfall(self, skills: Mapping[str, int], variables: Mapping[str, str]) -> Shortfall | None:
        """Why not, or None."""
        if self.is_met(variables):
            return None
        known = variables.get(self.name)
        if not known:
            return Shortfall("call_unknown", self.name)
        asked = self.value if isinstance(self.value, str) else f"{self.value:.15g}"
        return Shortfall("call_differs", f"{self.name} {known} {self.operator} {asked}"[:MOST_DETAIL])


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part is met."""

    parts: tuple[Node, ...]

    def shortfall(self, skills: Mapping[str, int], variables: Mapping[str, str]) -> Shortfall | None:
        """Why not, or None: the first part that is not met."""
        for part in self.parts:
            if (found := part.shortfall(skills, variables)) is not None:
                return found
        return None


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One part at least is met."""

    parts: tuple[Node, ...]

    def shortfall(self, skills: Mapping[str, int], variables: Mapping[str, str]) -> Shortfall | None:
        """Why not, or None. A way that this call can't take says nothing about the agent."""
        found: list[Shortfall] = []
        for part in self.parts:
            one = part.shortfall(skills, variables)
            if one is None:
                return None
            found.append(one)
        of_agent = [one for one in found if one.reason not in ("call_unknown", "call_differs")] or found
        if len(of_agent) == 1:
            return of_agent[0]
        return Shortfall("none_of", " | ".join(one.detail for one in of_agent)[:MOST_DETAIL])


Node: TypeAlias = "Skill | Proficiency | Known | Variable | AllOf | AnyOf"


@dataclass(frozen=True, slots=True)
class Requirement:
    """A requirement, parsed. ``text``: as it was written; ``skills`` and ``variables``: the names in it."""

    text: str
    root: Node
    skills: frozenset[str]
    variables: frozenset[str]

    def meets(self, skills: Mapping[str, int], variables: Mapping[str, str]) -> bool:
        """Whether an agent with ``skills`` may have a call with ``variables``."""
        return self.why_not(skills, variables) is None

    def why_not(self, skills: Mapping[str, int], variables: Mapping[str, str]) -> Shortfall | None:
        """Why the agent does not meet it; None if it does."""
        return self.root.shortfall(skills, variables)

    def for_call(self, variables: Mapping[str, str]) -> Requirement:
        """The same for a call with ``variables``, about skills alone; ways that this call can't take are left out.
        What nobody can meet because of the call keeps saying so."""
        if not self.variables:
            return self
        root = _for_call(self.root, variables)
        return Requirement(self.text, root, frozenset(_skills(root)), frozenset(_variables(root)))

    def able(self, holders: Callable[[Skill | Proficiency], int], everybody: int, variables: Mapping[str, str]) -> int:
        """Who of many meets it, as a set of bits. ``holders`` tells who meets one comparison of a skill."""
        return _able(self.root, holders, everybody, variables)


def _able(
    node: Node, holders: Callable[[Skill | Proficiency], int], everybody: int, variables: Mapping[str, str]
) -> int:
    match node:
        case Skill() | Proficiency():
            return holders(node)
        case Known() | Variable():
            return everybody if node.is_met(variables) else 0
        case AllOf():
            able = everybody
            for part in node.parts:
                able &= _able(part, holders, everybody, variables)
            return able
        case AnyOf():
            able = 0
            for part in node.parts:
                able |= _able(part, holders, everybody, variables)
            return able


def _for_call(node: Node, variables: Mapping[str, str]) -> Node:
    match node:
        case Skill() | Proficiency():
            return node
        case Known() | Variable():
            return AllOf(()) if node.is_met(variables) else node
        case AllOf():
            parts = [_for_call(part, variables) for part in node.parts]
            impossible = next((part for part in parts if _is_of_call(part)), None)
            return impossible or _joined([part for part in parts if part != AllOf(())], AllOf)
        case AnyOf():
            parts = [_for_call(part, variables) for part in node.parts]
            if AllOf(()) in parts:
                return AllOf(())
            return _joined([part for part in parts if not _is_of_call(part)] or parts, AnyOf)


def _is_of_call(node: Node) -> bool:
    """Nobody meets it, because of the call (of nodes that ``_for_call`` made)."""
    return isinstance(node, Known | Variable) or (
        isinstance(node, AnyOf) and all(_is_of_call(one) for one in node.parts)
    )


def _leaves(node: Node) -> Iterator[Skill | Proficiency | Known | Variable]:
    if isinstance(node, AllOf | AnyOf):
        for part in node.parts:
            yield from _leaves(part)
    else:
        yield node


def _skills(node: Node) -> Iterator[str]:
    return (leaf.name for leaf in _leaves(node) if isinstance(leaf, Skill | Proficiency))


def _variables(node: Node) -> Iterator[str]:
    return (leaf.name for leaf in _leaves(node) if isinstance(leaf, Known | Variable))


ANYBODY = Requirement("", AllOf(()), frozenset(), frozenset())


@lru_cache(maxsize=4096)
def parse(text: str) -> Requirement:
    """The requirement that ``text`` says; an empty one is met by anybody. Raises ``ExpressionError``."""
    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(MOST_CHARACTERS, "too_long")
    if not text.strip():
        return ANYBODY
    parser = _Parser(text)
    root = parser.requirement(depth=0, is_negated=False)
    if parser.token.kind != "end":
        parser.fail("expected_operator" if parser.is_after_name and parser.token.kind == "value" else "expected_and_or")
    return Requirement(text, root, frozenset(parser.skills), frozenset(parser.variables))


class _Token(NamedTuple):
    """``kind``: ``name``, ``word``, ``value``, ``operator``, ``(``, ``)`` or ``end``."""

    kind: str
    text: str
    at: int


_TOKEN = re.compile(
    r"""\s*(?:
        (?P<plain>-?[\w][\w.-]*)
      | "(?P<double>[^"]*)"
      | '(?P<single>[^']*)'
      | (?P<operator>==|!=|<=|>=|<|>)
      | (?P<bracket>[()])
    )""",
    re.VERBOSE,
)
_BLANK = re.compile(r"\s*")
_AT_FAULT = {'"': "unclosed_text", "'": "unclosed_text", "=": "single_equals"}


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while True:
        blank = _BLANK.match(text, at)
        at = blank.end() if blank is not None else at
        if at == len(text):
            yield _Token("end", "", at)
            return
        found = _TOKEN.match(text, at)
        if found is None:
            raise ExpressionError(at, _AT_FAULT.get(text[at], "unknown_character"))
        kind, said = str(found.lastgroup), found[str(found.lastgroup)]
        if kind == "plain":
            said = said.lower() if _NUMBER.fullmatch(said) is None else said
            kind = "value" if _NUMBER.fullmatch(said) else "word" if said in WORDS else "name"
            if kind == "name" and said.startswith("-"):
                raise ExpressionError(at, "unknown_character")
        elif kind in ("double", "single"):
            kind, said = "value", f'"{said}'
        elif kind == "bracket":
            kind = said
        yield _Token(kind, said, at)
        at = found.end()


class _Parser:
    """Recursive descent over at most ``MOST_DEPTH`` levels. ``is_negated``: a ``not`` stands before what is parsed."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self.token = next(self._tokens)
        self.skills: set[str] = set()
        self.variables: set[str] = set()
        self.is_after_name = False
        self._comparisons = 0

    def fail(self, code: str, at: int | None = None) -> NoReturn:
        """Refuse the text, at the present token or at ``at``."""
        raise ExpressionError(self.token.at if at is None else at, code)

    def requirement(self, *, depth: int, is_negated: bool) -> Node:
        """Ways, one of which is enough; all of them, under a ``not``."""
        ways = [self._ways(depth, is_negated)]
        while self._is_word("or"):
            ways.append(self._ways(depth, is_negated))
        return _joined(ways, AllOf if is_negated else AnyOf)

    def _ways(self, depth: int, is_negated: bool) -> Node:
        parts = [self._part(depth, is_negated)]
        while self._is_word("and"):
            parts.append(self._part(depth, is_negated))
        return _joined(parts, AnyOf if is_negated else AllOf)

    def _part(self, depth: int, is_negated: bool) -> Node:
        while True:
            if depth > MOST_DEPTH:
                self.fail("too_deep")
            if not self._is_word("not"):
                break
            is_negated = not is_negated
            depth += 1
        if self.token.kind != "(":
            return self._comparison(is_negated)
        opened = self._take()
        inner = self.requirement(depth=depth + 1, is_negated=is_negated)
        if self.token.kind == "end":
            self.fail("unclosed_bracket", opened.at)
        if self.token.kind != ")":
            self.fail("expected_operator" if self.is_after_name and self.token.kind == "value" else "expected_and_or")
        self._take()
        return inner

    def _comparison(self, is_negated: bool) -> Node:
        self._comparisons += 1
        if self._comparisons > MOST_COMPARISONS:
            self.fail("too_many_comparisons")
        if self.token.kind not in ("name", "value"):
            self.fail("expected_comparison")
        left = self._take()
        if self.token.kind != "operator":
            if left.kind == "value":
                self.fail("expected_operator")
            self.is_after_name = True
            return self._alone(left, is_negated)
        said = self._take()
        if self.token.kind not in ("name", "value"):
            self.fail("expected_value")
        right = self._take()
        if left.kind == right.kind:
            self.fail("two_names" if left.kind == "name" else "two_values", right.at)
        if left.kind == "value":
            left, right, relation = right, left, _MIRRORED[said.text]
        else:
            relation = said.text
        return self._compared(left, _OPPOSITE[relation] if is_negated else relation, right, said)

    def _alone(self, name: _Token, is_negated: bool) -> Node:
        if name.text in VARIABLES:
            self.variables.add(name.text)
            return Known(name.text, not is_negated)
        self.skills.add(name.text)
        return Skill(name.text, not is_negated)

    def _compared(self, name: _Token, relation: str, value: _Token, said: _Token) -> Node:
        self.is_after_name = False
        is_text = value.text.startswith('"')
        if name.text in VARIABLES:
            self.variables.add(name.text)
            if is_text and relation not in ("==", "!="):
                self.fail("text_not_ordered", said.at)
            return Variable(name.text, relation, value.text[1:] if is_text else float(value.text))
        if is_text:
            self.fail("text_for_skill", value.at)
        level = float(value.text)
        if not 0 <= level <= MOST_PROFICIENCY:
            self.fail("proficiency_out_of_range", value.at)
        self.skills.add(name.text)
        return Proficiency(name.text, relation, level)

    def _is_word(self, word: str) -> bool:
        if self.token.kind != "word" or self.token.text != word:
            return False
        self._take()
        return True

    def _take(self) -> _Token:
        taken, self.token = self.token, next(self._tokens, self.token)
        self.is_after_name = False
        return taken


def _joined(parts: Sequence[Node], kind: type[AllOf | AnyOf]) -> Node:
    return parts[0] if len(parts) == 1 else kind(tuple(parts))
