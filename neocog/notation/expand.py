"""Syntax -> Network: variables get values, definitions and repeats are written out.

The size of the result is computed first, with plain integers and one visit of each definition per set of
arguments, so a text whose expansion would be too large is refused before any of it exists. A part that its variable
leaves out counts once: it is written out once too, before it is left out, so that its mistakes are found in any case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import NoReturn

from ..errors import NeocogError, NotationError, SpellingError
from ..layer import Layer, Shape
from ..layers import BY_OP, Auxiliary, Input
from ..network import Branch, Chain, Item, Network, Span, Step
from ..spelling import Token, places
from ..wording import count_of
from . import syntax
from .limits import DEPTH, DIGITS, LAYERS, STEPS, located
from .words import WITH_SQUARE_BRACKETS, split_word, suggestion

FITS = ("exact", "floor", "ceil")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Scope = Mapping[str, str]
"""The values of variables and parameters, as text."""


def expand(text: str, source: syntax.Source, variables: Mapping[str, int]) -> Network:
    """The network that a parsed text describes, with the given pattern variables. Raises NotationError."""
    return _Expansion(text, source, variables).network()


class _Expansion:
    def __init__(self, text: str, source: syntax.Source, variables: Mapping[str, int]) -> None:
        self.text, self.source, self.given = text, source, variables
        self.used: set[str] = set()
        self.fit = "exact"
        self.globals = self._read_settings()
        self.definitions = self._read_definitions()
        starts = [d.name.at for d in source.definitions[1:]] + [self._place(source.chain[0])]
        self.ends = dict(zip(self.definitions, starts, strict=False))  # where each definition's body is over
        self.steps = 0
        self.counts: dict[tuple[str, ...], int] = {}
        self.chains: dict[tuple[str, ...], Chain] = {}

    def network(self) -> Network:
        self._check_input()
        total = self._count(self.source.chain, self.globals, depth=1)
        if total > LAYERS:
            shown = f"{total:,}" if total < 10**15 else f"about 10^{len(str(total)) - 1}"
            raise NotationError(
                f"a network has at most {LAYERS:,} layers", received=f"{shown} layers once repeats are written out"
            )
        chain = self._chain(self.source.chain, self.globals)
        if unused := sorted(set(self.given) - self.used):
            has = ", ".join(sorted(self.used)) or "none"
            raise NotationError(f"the text has no variable {unused[0]}", hint=f"its variables are: {has}")
        if isinstance(chain[-1], Branch) and isinstance(chain[-1].join, Auxiliary):
            at = chain[-1].at or self._place(self.source.chain[-1])
            self._fail_at(at, "a network ends in its own scores, not in a side output", hint="-> FC10 at the end")
        return Network(chain)

    # -- what stands before the network ------------------------------------------------------------------------

    def _read_settings(self) -> dict[str, str]:
        values = {}
        seen = set()
        for setting in self.source.settings:
            name, value = setting.name.text, setting.value.text
            self._check_name(setting.name, "a variable")
            fit = name.lower() == "fit"
            if (known := "fit" if fit else name) in seen:
                self._fail(setting.name, f"{name} is set twice")
            seen.add(known)
            if fit:
                if value.lower() not in FITS:
                    self._fail(setting.value, "fit is one of exact, floor, ceil", hint="fit=floor")
                self.fit = value.lower()
            elif not re.fullmatch(rf"[0-9]{{1,{DIGITS}}}", value):
                self._fail(
                    setting.value, f"a variable's value is a whole number of at most {DIGITS} digits", hint=f"{name}=2"
                )
            else:
                values[name] = value
        for name, given in self.given.items():
            if not (isinstance(given, int) and 0 <= given < 10**DIGITS):
                raise NotationError("a variable's value is a whole number from 0", received=f"{name}={given}")
            values[name] = str(int(given))
        return values

    def _read_definitions(self) -> dict[str, syntax.Definition]:
        known: dict[str, syntax.Definition] = {}
        for definition in self.source.definitions:
            name = definition.name.text.lower()
            self._check_name(definition.name, "a definition")
            if split_word(name):
                self._fail(
                    definition.name,
                    f"{definition.name.text} is a layer's name and cannot be defined",
                    hint="another name",
                )
            if name in known:
                self._fail(definition.name, f"{definition.name.text} is defined twice")
            names = [p.text for p in definition.parameters]
            for parameter in definition.parameters:
                self._check_name(parameter, "a parameter")
                if names.count(parameter.text) > 1:
                    self._fail(parameter, f"parameter {parameter.text} is named twice")
            known[name] = definition
        return known

    def _check_name(self, name: syntax.Text, of: str) -> None:
        """The grammar's words may have a dash, as CONV3-64 has; names may not."""
        if not _NAME.fullmatch(name.text):
            hint = name.text.replace("-", "_")
            self._fail(name, f"the name of {of} is made of letters, digits and _", hint=hint)

    def _check_input(self) -> None:
        first = self.source.chain[0]
        if not isinstance(first, syntax.Input):
            raise located(
                self.text,
                self._place(first),
                "a network begins with INPUT",
                hint="INPUT[28x28x1] -> ..., height x width x channels, or INPUT[100x8] for sequences",
            )

    # -- the size, before anything is written out --------------------------------------------------------------

    def _count(self, chain: syntax.Chain, scope: Scope, depth: int) -> int:
        """How many layers a chain becomes; also finds every unknown word and variable."""
        if depth > DEPTH:
            self._fail_at(self._place(chain[0]), f"brackets and definitions nest at most {DEPTH} deep")
        return sum(self._count_one(item, scope, depth) for item in chain)

    def _count_one(self, item: syntax.Expression, scope: Scope, depth: int) -> int:
        if scope is not self.globals:
            self._step_inside(item)
        match item:
            case syntax.Input():
                return 1
            case syntax.Repeat(body, count):
                return max(1, self._times(count, scope)) * self._count(body, scope, depth + 1)
            case syntax.Maybe(inner, variable):
                self._switch(variable, scope)
                return self._count_one(inner, scope, depth)
            case syntax.Split(_, _, arms):
                return 1 + sum(self._count(arm, scope, depth + 1) for arm in arms)
            case syntax.Word(word, options):
                if split_word(word.text):
                    return 1
                return self._count_call(word, options, scope, depth)

    def _step_inside(self, item: syntax.Expression) -> None:
        """Definitions that call each other with arguments in ever new orders would be counted forever."""
        self.steps += 1
        if self.steps > STEPS:
            self._fail_at(
                self._place(item),
                f"definitions with all their arguments are worked out in at most {STEPS:,} steps",
                hint="fewer different arguments",
            )

    def _count_call(self, word: syntax.Text, options: tuple[syntax.Option, ...], scope: Scope, depth: int) -> int:
        definition, inner = self._call(word, options, scope)
        key = (definition.name.text, *(inner[p.text] for p in definition.parameters), str(depth))
        if key not in self.counts:
            self.counts[key] = self._count(definition.body, inner, depth + 1)
        return self.counts[key]

    # -- writing it out ----------------------------------------------------------------------------------------

    def _chain(self, chain: syntax.Chain, scope: Scope) -> Chain:
        return tuple(item for expression in chain for item in self._items(expression, scope))

    def _items(self, item: syntax.Expression, scope: Scope) -> Chain:
        match item:
            case syntax.Input(word, size):
                return (self._input(word, size),)
            case syntax.Repeat(body, count):
                return self._chain(body, scope) * self._times(count, scope)
            case syntax.Maybe(inner, variable):
                return self._items(inner, scope) * self._switch(variable, scope)
            case syntax.Split(word, options, arms):
                return (self._branch(word, options, arms, scope),)
            case syntax.Word(word, options):
                parts = split_word(word.text)
                if parts:
                    return (self._step(parts, word, options, scope),)
                return self._called(word, options, scope)

    def _called(self, word: syntax.Text, options: tuple[syntax.Option, ...], scope: Scope) -> Chain:
        definition, inner = self._call(word, options, scope)
        key = (definition.name.text, *(inner[p.text] for p in definition.parameters))
        if key not in self.chains:
            self.chains[key] = self._chain(definition.body, inner)
        return self.chains[key]

    def _input(self, word: syntax.Text, size: syntax.Text) -> Item:
        if word.text.upper() != Input.op:
            self._fail(
                word, f"{word.text}[{size.text}] is no layer", hint="only INPUT[...] has a size in square brackets"
            )
        if word.at != self._place(self.source.chain[0]):
            self._fail(word, "INPUT stands once, at the beginning", hint="without it here")
        if not re.fullmatch(r"[1-9][0-9]*([xX][1-9][0-9]*){1,2}", size.text):
            self._fail(
                size,
                "INPUT's size is whole numbers from 1 joined by x",
                hint="INPUT[28x28x1], height x width x channels, or INPUT[100x8] for sequences",
            )
        return Step(Input(Shape.of(size.text.lower())), word.at)

    def _branch(
        self, word: syntax.Text, options: tuple[syntax.Option, ...], arms: tuple[syntax.Chain, ...], scope: Scope
    ) -> Item:
        layer_class = BY_OP.get(word.text.upper())
        if layer_class is None or not (layer_class.joins or layer_class is Auxiliary):
            joins = [op for op, known in BY_OP.items() if known.joins]
            self._fail(word, f"{word.text} takes no branches", hint=f"{' or '.join(joins)}, as in ADD[ a | b ]")
        if layer_class.joins and len(arms) < 2:
            self._fail(
                word,
                f"{word.text} joins two or more branches",
                hint="ADD[ a | b ]; ID is the branch that changes nothing",
            )
        if layer_class is Auxiliary and len(arms) > 1:
            self._fail(word, f"{word.text} takes one branch", received=f"{len(arms)}", hint="one AUX after another")
        built = tuple(self._chain(arm, scope) for arm in arms)
        for arm, chain in zip(arms, built, strict=True):
            if not chain:
                self._fail_at(self._place(arm[0]), "a branch is empty", hint="ID is the branch that changes nothing")
        return Branch(self._layer(layer_class, Token(layer_class.op), word, options, scope), built, word.at)

    def _step(
        self,
        parts: tuple[str, str | None, str | None],
        word: syntax.Text,
        options: tuple[syntax.Option, ...],
        scope: Scope,
    ) -> Item:
        op, head, dash = parts
        layer_class = BY_OP[op]
        if op in WITH_SQUARE_BRACKETS:
            self._fail(word, f"{op} is written with square brackets", hint=WITH_SQUARE_BRACKETS[op])
        if dash is not None and not dash.isdigit() and _NAME.fullmatch(dash):
            dash = self._variable(dash, word, scope)
        return Step(self._layer(layer_class, Token(op, head, dash), word, options, scope), word.at)

    def _layer(
        self,
        layer_class: type[Layer],
        bare: Token,
        word: syntax.Text,
        options: tuple[syntax.Option, ...],
        scope: Scope,
    ) -> Layer:
        """The layer of a token without its options, with them."""
        args = tuple(self._value(o.value, scope) for o in options if o.key is None)
        keyed = self._keyed(options, scope)
        has_fit = any(place.letter == "fit" for place, _ in places(layer_class).values())
        if has_fit and self.fit != "exact":
            keyed.setdefault("FIT", self.fit)
        try:
            return layer_class.from_token(replace(bare, args=args, options=keyed))
        except (SpellingError, NeocogError) as error:
            raise located(self.text, word.at, error.rule, error.received, error.hint) from None

    def _keyed(self, options: tuple[syntax.Option, ...], scope: Scope) -> dict[str, str]:
        found: dict[str, str] = {}
        for option in options:
            if option.key is None:
                continue
            if option.key.text.upper() in found:
                self._fail(option.key, f"{option.key.text} is given twice")
            found[option.key.text.upper()] = self._value(option.value, scope)
        return found

    # -- names -------------------------------------------------------------------------------------------------

    def _call(
        self, word: syntax.Text, options: tuple[syntax.Option, ...], scope: Scope
    ) -> tuple[syntax.Definition, dict[str, str]]:
        """The definition that a word calls, and the scope of its body. It sees only itself and earlier values."""
        definition = self.definitions.get(word.text.lower())
        if definition is None:
            hint = suggestion(word.text, self.definitions)
            self._fail(word, f"there is no layer {word.text!r}", hint=hint)
        if word.at < self.ends[definition.name.text.lower()]:
            self._fail(
                word,
                "a definition uses only those that stand before it",
                hint="another order, and no definition of itself",
            )
        names = [p.text for p in definition.parameters]
        values = dict(zip(names, (self._value(o.value, scope) for o in options if o.key is None), strict=False))
        for option in options:
            if option.key is not None:
                if option.key.text not in names or option.key.text in values:
                    self._fail(option.key, f"{definition.name.text} has no further parameter {option.key.text}")
                values[option.key.text] = self._value(option.value, scope)
        if len(options) != len(names):  # if as many, each has one, for none has two
            shown = f"{definition.name.text}({', '.join(names)})" if names else definition.name.text
            values_taken = count_of(len(names), "value")
            self._fail(word, f"{shown} takes {values_taken}", received=f"{len(options)}", hint=shown)
        return definition, {**self.globals, **values}

    def _value(self, value: syntax.Text, scope: Scope) -> str:
        """A value as text, with a variable replaced by what it stands for."""
        if value.text in scope:
            self.used.add(value.text)
            return scope[value.text]
        return value.text

    def _variable(self, name: str, where: syntax.Text, scope: Scope, example: int = 2) -> str:
        if name not in scope:
            self._fail(
                where,
                f"variable {name} has no value",
                hint=f"-D {name}={example} on the command line, or {name}={example} before the network",
            )
        self.used.add(name)
        return scope[name]

    def _times(self, count: syntax.Text | None, scope: Scope) -> int:
        if count is None:
            return 1
        if _NAME.fullmatch(count.text):
            value = self._variable(count.text, count, scope)
            if not value.isdigit():
                self._fail(count, "a repeat's count is a whole number", received=f"{count.text}={value}")
            return int(value)
        if not re.fullmatch(r"0*[1-9][0-9]*", count.text):
            self._fail(
                count, "a repeat's count is a whole number from 1, or a variable", received=f"*{count.text}", hint="*2"
            )
        return int(count.text)

    def _switch(self, variable: syntax.Text, scope: Scope) -> int:
        value = self._variable(variable.text, variable, scope, example=1)
        if value not in ("0", "1"):
            self._fail(variable, f"?{variable.text} is 1 (present) or 0 (absent)", received=f"{variable.text}={value}")
        return int(value)

    # -- errors ------------------------------------------------------------------------------------------------

    def _place(self, item: syntax.Expression) -> Span:
        match item:
            case syntax.Word(word) | syntax.Input(word) | syntax.Split(word):
                return word.at
            case syntax.Repeat(body):
                return self._place(body[0])
            case syntax.Maybe(inner):
                return self._place(inner)

    def _fail(self, where: syntax.Text, rule: str, received: str = "", hint: str = "") -> NoReturn:
        raise located(self.text, where.at, rule, received or where.text, hint)

    def _fail_at(self, at: Span, rule: str, hint: str = "") -> NoReturn:
        raise located(self.text, at, rule, hint=hint)
