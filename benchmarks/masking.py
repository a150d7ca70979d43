"""How fast 50 secrets are masked in a log of 2 GB, and in how much memory, beside one compiled `re` alternation.

Run it with the Python of `.venv`; a smaller log, in MB, may be given as its argument.
"""

from __future__ import annotations

import base64
import itertools
import json
import random
import re
import resource
import string
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote, quote_plus

from pipeline_tools.masking import MASK, LineStream, Masker, Stream

SECRETS = 50
PIPE = 1 << 16  # what one read from a child's pipe gives at most
BASELINE = 1 << 18  # bytes; the baseline would take an hour for more
EVERY = (1000, 10)  # lines for each one with a secret


def make_secrets(randomness: random.Random) -> list[str]:
    """Passwords of 12 to 40 characters, with special characters as generators make them."""
    alphabet = string.ascii_letters + string.digits + "!$%&/()=?+-_.:,;@#"
    return ["".join(randomness.choices(alphabet, k=randomness.randint(12, 40))) for _ in range(SECRETS)]


def line(randomness: random.Random) -> str:
    """A line as Java services, image builds, pip and encoded files leave it."""
    kind = randomness.random()
    if kind < 0.5:
        thread, seconds = randomness.randint(1, 16), randomness.random() * 100
        return f"2026-10-01T10:11:12.{randomness.randint(100, 999)}Z INFO [worker-{thread}] Stage took {seconds:.3f} s"
    if kind < 0.7:
        return f"#12 sha256:{randomness.getrandbits(256):064x} {randomness.random() * 100:.2f}MB / 102.11MB 0.3s"
    if kind < 0.9:
        return (
            f"Collecting package-{randomness.randint(1, 999)}==1.2.{randomness.randint(0, 20)} (from -r x.txt (line 7))"
        )
    return base64.b64encode(randomness.randbytes(57)).decode()


def make_log(randomness: random.Random, secrets: list[str], every: int) -> list[bytes]:
    """8 MB of log in pieces as a pipe gives them; every ``every`` lines one secret in one of its forms."""
    lines: list[str] = []
    size = 0
    while size < 1 << 23:
        text = line(randomness)
        if len(lines) % every == 0:
            secret = randomness.choice(secrets)
            encoded = base64.b64encode(f"user:{secret}".encode()).decode()
            text += " password=" + randomness.choice([secret, quote(secret, safe=""), encoded])
        lines.append(text + "\n")
        size += len(text) + 1
    log = "".join(lines).encode()
    return [log[at : at + PIPE] for at in range(0, len(log), PIPE)]


def alternation(secrets: list[str]) -> Callable[[str], str]:
    """The baseline: raw, URL, JSON and base64 forms in one expression of `re`, longest first."""
    forms = set()
    for secret in secrets:
        forms |= {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}
        for before in range(3):
            encoded = base64.b64encode(b"\0" * before + secret.encode()).decode().rstrip("=")[(0, 2, 3)[before] : -1]
            forms |= {encoded, encoded.replace("+", "-").replace("/", "_")}
    pattern = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))))
    return lambda text: pattern.sub(MASK, text)


def memory() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def speed(pieces: Iterable[bytes], mask: Callable[[bytes], object]) -> float:
    """MB of input a second of processor time."""
    size, begun = 0, time.process_time()
    for piece in pieces:
        mask(piece)
        size += len(piece)
    return size / 1e6 / (time.process_time() - begun)


def endless(log: list[bytes], size: int) -> Iterator[bytes]:
    """``size`` bytes of the log, repeated."""
    return itertools.islice(itertools.cycle(log), size // PIPE)


def main() -> None:
    """Print speeds, their ratio to the baseline's, and memory."""
    size = int(sys.argv[1]) * 1_000_000 if len(sys.argv) > 1 else 2_000_000_000
    randomness = random.Random(4)
    secrets = make_secrets(randomness)
    masker = Masker()
    begun = time.process_time()
    for secret in secrets:
        masker.register(secret)
    masker.scanner()
    print(f"registering {SECRETS} secrets, once     {(time.process_time() - begun) * 1000:7.0f} ms")
    log = make_log(randomness, secrets, EVERY[0])
    baseline = alternation(secrets)
    base = speed([b"".join(log)[:BASELINE]], lambda piece: baseline(piece.decode()))
    print(f"re alternation (the baseline)      {base:7.2f} MB/s")
    for every in EVERY:
        log = make_log(randomness, secrets, every)
        for name, stream in (("bytes", Stream(masker)), ("lines", LineStream(masker))):
            speed(endless(log, 10 * PIPE), stream.feed)
            before = memory()
            ours = speed(endless(log, size), stream.feed)
            print(
                f"{name}, a secret in {every:4} lines       {ours:7.0f} MB/s, {ours / base:7.0f} times the baseline; "
                f"peak RSS {memory():.0f} MB, {memory() - before:+.1f} in {size / 1e9:.1f} GB"
            )


if __name__ == "__main__":
    main()
