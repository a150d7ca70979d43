"""Write the sources' raw files: claims made from a grammar, as an insurer's systems would export them.

The grammar (``gramatica/``) has a file for each trade, one for what all share and one for people. A claim is a
derivation of it, dressed in one of six styles (a few words, a sentence, a polite letter, a long story, an operator's
note, a text message) and then worn as real text is: accents dropped, capitals, typing errors. Some claims come twice,
through another source or with other typing errors; some carry a wrong, an unknown or no label; some rows are broken.
Everything follows from the seed: the same seed gives the same bytes, on any machine. It never reads ``evaluacion/``.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from datos.labels import LABELS, SEPARATOR, plain

GRAMMAR = Path(__file__).parent / "gramatica"
SEED = 2026
CLAIMS = 12000
REPEATED = 0.11
WRONG_LABEL = 0.015
SEVERAL_TRADES = 0.14

_NEAR = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "i": "uo", "l": "kñ", "m": "n",
    "n": "mb", "o": "ip", "p": "o", "r": "et", "s": "ad", "t": "ry", "u": "yi", "v": "bc", "y": "tu",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Person:
    """Who claims: invented (numbers are of ranges that nobody has), and written into the text at times."""

    name: str
    telephone: str
    email: str
    identity: str
    address: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A raw claim: its text, what the source says its trades are, and whose it is."""

    text: str
    labels: str
    person: Person
    day: date


class Grammar:
    """The alternatives of each symbol of one trade: its own first, then the shared ones."""

    def __init__(self, *files: Path) -> None:
        self.symbols: dict[str, list[str]] = {}
        for file in reversed(files):
            self.symbols.update(_read(file))

    @property
    def doubles(self) -> list[str]:
        """The trades that this one's claims may need beside it."""
        return [name.removeprefix("doble ") for name in self.symbols if name.startswith("doble ")]

    def expand(self, rng: random.Random, text: str) -> str:
        """``text`` with each ``{symbol}`` replaced by one of its alternatives, and `de el` contracted."""
        while match := re.search(r"{([^}]+)}", text):
            chosen = rng.choice(self.symbols[match[1]])
            text = text[: match.start()] + chosen + text[match.end() :]
        return re.sub(r"\b([Dd]e|[Aa]) el ", lambda found: found[1] + "l ", text)


def _read(file: Path) -> dict[str, list[str]]:
    symbols: dict[str, list[str]] = {}
    for raw in file.read_text(encoding="utf-8").splitlines():
        line = raw.strip()
        if line.startswith("["):
            current = symbols.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            current.append(line)
    return symbols


def grammars() -> dict[str, Grammar]:
    """The grammar of each label."""
    shared = GRAMMAR / "comun.txt"
    return {label: Grammar(GRAMMAR / f"{plain(label)}.txt", shared) for label in LABELS}


def claims(count: int, seed: int = SEED) -> Iterator[Claim]:
    """``count`` distinct claims and, mixed in, the repeated ones; labels in turn, so that they are balanced."""
    rng = random.Random(seed)  # noqa: S311
    trades, people = grammars(), Grammar(GRAMMAR / "personas.txt")
    seen: set[str] = set()
    kept: list[Claim] = []
    start = date(2024, 1, 1)
    while len(seen) < count:
        label = LABELS[len(seen) % len(LABELS)]
        text, labels = _compose(rng, trades[label], label)
        if plain(text) in seen:
            continue
        seen.add(plain(text))
        claim = Claim(
            text=_with_person(rng, text, person := _person(rng, people)),
            labels=labels,
            person=person,
            day=start + timedelta(days=rng.randrange(730)),
        )
        kept.append(claim)
        yield replace(claim, text=_worn(rng, claim.text), labels=_mislabelled(rng, claim.labels))
        if rng.random() < REPEATED:
            again = rng.choice(kept[-200:])
            yield replace(again, text=_worn(rng, again.text), day=again.day + timedelta(days=rng.randrange(4)))


def _compose(rng: random.Random, grammar: Grammar, label: str) -> tuple[str, str]:
    """A text of the trade, and its labels."""
    labels = label
    problem = rng.choice(["{suceso}", "{suceso}", "{objeto} {sintoma}", "{objeto} {sintoma} {tiempo}"])
    short = rng.choice(["{corto}", "{corto}", "{corto}", "{corto} {lugar}", "{corto} {causa}"])
    if grammar.doubles and rng.random() < SEVERAL_TRADES:
        other = rng.choice(grammar.doubles)
        labels += SEPARATOR + other
        problem = short = "{doble " + other + "}"
    style = rng.choices(["short", "sentence", "polite", "long", "operator", "message"], [16, 22, 26, 18, 9, 9])[0]
    tail = rng.choice(["", "", " {tiempo}", " {causa}", " {coletilla}", ", {coletilla}"])
    if style == "short":
        return grammar.expand(rng, short), labels
    if style in ("sentence", "message"):
        text = problem + rng.choice(["", tail])
    elif style == "polite":
        text = rng.choice(["{saludo} ", "{saludo} ", ""]) + problem + tail + ". " + rng.choice(["{peticion} ", ""])
        text += rng.choice(["{despedida}", ""])
    elif style == "operator":
        text = "{operador} " + problem + rng.choice([". ", " {causa}. ", " {tiempo}. ", ". {ruido} "])
    else:
        second = rng.choice(
            ["Además, {objeto} {sintoma}", "Creo que {objeto} {sintoma}", "{ruido}", "{ruido}", "{suceso}"]
        )
        text = "{saludo} " + problem + tail + ". " + second + rng.choice([". ", " {tiempo}. "])
        text += rng.choice(["{ruido} ", "", ""]) + rng.choice(["{peticion} ", "{peticion} {despedida}", "{despedida}"])
    text = grammar.expand(rng, text).strip()
    text = re.sub(r"([.?!]|señore?s:)(\s+)(\w)", lambda found: found[1] + found[2] + found[3].upper(), text)
    text = re.sub(r"\.\s*\.", ".", re.sub(r"([?!])\.", r"\1", text))
    if style == "message":
        return _as_message(text), labels
    return text[0].upper() + text[1:] if rng.random() < 0.8 else text, labels


def _as_message(text: str) -> str:
    short = {"que": "q", "porque": "xq", "por": "x", "también": "tb", "para": "pa", "está": "sta"}
    return " ".join(short.get(word, word) for word in text.lower().rstrip(".").split())


def _person(rng: random.Random, people: Grammar) -> Person:
    first, one, two = (people.expand(rng, symbol) for symbol in ("{nombre}", "{apellido}", "{apellido}"))
    number = rng.randrange(99_000_000, 100_000_000)
    street = people.expand(rng, "{calle}")
    return Person(
        name=f"{first} {one} {two}",
        telephone=f"{rng.choice('679')}000{rng.randrange(10_000, 100_000)}",
        email=f"{plain(first)}.{plain(one)}{rng.randrange(99)}@{people.expand(rng, '{dominio}')}",
        identity=f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}",
        address=f"calle {street}, {rng.randrange(1, 120)}, {rng.randrange(1, 9)}º {rng.choice('ABCD')}",
    )


def _with_person(rng: random.Random, text: str, person: Person) -> str:
    if rng.random() > 0.16:
        return text
    phone = person.telephone
    return rng.choice(
        [
            f"{text} Mi teléfono es {phone}.",
            f"{text} Llamar al {phone[:3]} {phone[3:5]} {phone[5:7]} {phone[7:]}",
            f"{text} tfno {phone[:3]}-{phone[3:6]}-{phone[6:]}",
            f"{text} Me llamo {person.name}.",
            f"{text} Fdo.: {person.name}",
            f"{text} Soy {person.name.split()[0]}, {person.email}",
            f"{text} Mi correo: {person.email}.",
            f"{text} DNI {person.identity}.",
            f"{text} Vivo en la {person.address}.",
            f"{text} La póliza es la HG{rng.randrange(10**7, 10**8)}.",
            f"{text} La cuenta es ES{rng.randrange(10, 99)} 2100 0418 45 0200051332",
        ]
    )


def _worn(rng: random.Random, text: str) -> str:
    """``text`` as somebody typed it."""
    if rng.random() < 0.28:
        kept = text.replace("ñ", "\0").replace("Ñ", "\1")
        text = "".join(plain(letter) if ord(letter) > 127 and letter.isalpha() else letter for letter in kept)
        text = text.replace("\0", "ñ").replace("\1", "Ñ")
    if rng.random() < 0.06:
        text = text.upper()
    elif rng.random() < 0.12:
        text = text.lower()
    if rng.random() < 0.1:
        text = text.replace("  ", " ").replace(" ", "  ", 1)
    if rng.random() < 0.3:
        words = text.split(" ")
        for _ in range(max(1, len(words) // 10)):
            place = rng.randrange(len(words))
            words[place] = mistyped(rng, words[place])
        text = " ".join(words)
    return text


def mistyped(rng: random.Random, word: str) -> str:
    """``word`` with one typing error; words that are short, or hold digits, stay as they are."""
    if len(word) < 4 or not word.isalpha():
        return word
    at = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(5)
    if kind == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 1:
        return word[:at] + word[at + 1 :]
    if kind == 2:
        return word[:at] + word[at] + word[at:]
    if kind == 3:
        return word[:at] + rng.choice(_NEAR.get(word[at], word[at])) + word[at + 1 :]
    for good, bad in rng.sample(
        [("v", "b"), ("b", "v"), ("h", ""), ("ll", "y"), ("qu", "k"), ("z", "s"), ("j", "g")], 7
    ):
        if good in word:
            return word.replace(good, bad, 1)
    return word


def _mislabelled(rng: random.Random, labels: str) -> str:
    """What the source says the labels are: spelt in its own way, and at times wrong, unknown or missing."""
    chance = rng.random()
    if chance < WRONG_LABEL:
        return rng.choice(LABELS)
    if chance < WRONG_LABEL + 0.006:
        return rng.choice(["jardinería", "varios", "pendiente", "?", "otros"])
    if chance < WRONG_LABEL + 0.01:
        return ""
    return labels


def _spelt(rng: random.Random, labels: str) -> str:
    style = rng.randrange(4)
    if style == 0:
        return labels.upper()
    if style == 1:
        return plain(labels).replace(SEPARATOR, ", ")
    if style == 2:
        return f" {labels.replace(SEPARATOR, ' / ').capitalize()} "
    return labels


def write(folder: Path, count: int = CLAIMS, seed: int = SEED) -> None:
    """Write ``siniestros.csv``, ``formulario.jsonl`` and ``notas/*.txt`` into ``folder``."""
    rng = random.Random(seed + 1)  # noqa: S311
    export = ["num_siniestro;fecha;asegurado;telefono;descripcion;gremio"]
    form: list[bytes] = []
    notes: dict[str, list[str]] = {}
    for number, claim in enumerate(claims(count, seed), start=1):
        where = rng.choices(["export", "form", "notes"], [50, 35, 15])[0]
        if where == "export":
            export.append(_export_line(rng, number, claim))
        elif where == "form":
            form.append(_form_line(rng, number, claim))
        else:
            notes.setdefault(f"{claim.day:%Y-%m}", []).append(_note(number, claim))
    (folder / "notas").mkdir(parents=True, exist_ok=True)
    (folder / "siniestros.csv").write_bytes(("\r\n".join(export) + "\r\n").encode("latin-1", errors="replace"))
    (folder / "formulario.jsonl").write_bytes(b"".join(line + b"\n" for line in form))
    for month, entries in sorted(notes.items()):
        (folder / "notas" / f"{month}.txt").write_text("\n".join(entries), encoding="utf-8")


def _export_line(rng: random.Random, number: int, claim: Claim) -> str:
    text = claim.text.replace('"', "'")
    if rng.random() < 0.003:
        return f"{number};{claim.day:%d/%m/%Y};{claim.person.name};{text}"  # a field is lost
    if ";" in text or rng.random() < 0.2:
        text = f'"{text}"'
    fields = [str(number), f"{claim.day:%d/%m/%Y}", claim.person.name, claim.person.telephone, text]
    return ";".join([*fields, _spelt(rng, claim.labels)])


def _form_line(rng: random.Random, number: int, claim: Claim) -> bytes:
    row = {
        "id": f"W{number}",
        "recibido": f"{claim.day}T{rng.randrange(24):02}:{rng.randrange(60):02}:00",
        "contacto": {
            "nombre": claim.person.name,
            "correo": claim.person.email,
            "telefono": claim.person.telephone,
        },
        "mensaje": claim.text,
        "gremios": claim.labels.split(SEPARATOR) if claim.labels else [],
    }
    chance = rng.random()
    if chance < 0.002:
        del row["mensaje"]
    line = json.dumps(row, ensure_ascii=False).encode()
    if chance > 0.998:
        return line[: len(line) // 2].decode(errors="ignore").encode()  # cut off
    if chance > 0.995:
        return json.dumps(row, ensure_ascii=False).encode("latin-1", errors="replace")  # another encoding
    return line


def _note(number: int, claim: Claim) -> str:
    heading = f"=== Parte {number} · {claim.day:%d-%m-%Y} · {claim.person.name} · {claim.person.telephone}"
    trade = f"Gremio: {claim.labels.replace(SEPARATOR, ' y ')}"
    return f"{heading}\n{trade}\n{claim.text}\n"
