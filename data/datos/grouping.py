"""Find near-duplicates, settle their labels and split: SQL that any engine runs, over the signed rows of `clean`.

Joins and grouping only, so that an engine can spill to disk, or spread over machines, as it is used to.
"""

from __future__ import annotations

from typing import Protocol

from datos.signatures import BANDS, SKETCH

# Similarity of the sets of words from which two claims are one claim told twice; and from which they are so near that
# one of them in the test would tell of the other in the training.
SAME = 0.8
NEAR = 0.6
TEST_SHARE = 20
# Label propagation ends when nothing changes; groups hang on their first row, so few rounds are needed.
MOST_ROUNDS = 50


class Engine(Protocol):
    """Runs SQL over tables that may be larger than memory."""

    def create(self, name: str, query: str) -> None:
        """Keep the result of ``query`` as table ``name``, in the place of one that is there."""

    def number(self, query: str) -> int:
        """The single integer that ``query`` answers."""


def group(engine: Engine) -> None:
    """From table ``filas`` (`clean.CLEANED`) make ``decididas``: each row's id, fate and final labels.

    Columns of ``decididas``: ``id``; ``igual`` (the first row that says the same), ``grupo`` (the first row of the near
    ones), ``particion`` (train or test), ``final`` (the labels that most of the same rows have; NULL in a tie),
    ``corregida`` (whether that changes this row's labels).
    """
    # a band at a time: each is a table of its own, so that what must be held at once is a band's keys
    for band in range(BANDS):
        engine.create(
            "primeras",
            f"SELECT banda{band} AS clave, min(id) AS primera FROM filas GROUP BY banda{band} HAVING count(*) > 1",
        )
        engine.create(
            "candidatas",
            f"SELECT f.id AS id, f.boceto AS boceto, p.primera AS primera FROM filas f JOIN primeras p "
            f"ON f.banda{band} = p.clave WHERE f.id <> p.primera",
        )
        # a | b minus a & b is exclusive or, in every dialect
        engine.create(
            f"pares{band}",
            "SELECT c.id AS id, c.primera AS primera, "
            "bit_count((c.boceto | f.boceto) - (c.boceto & f.boceto)) AS distintos "
            "FROM candidatas c JOIN filas f ON c.primera = f.id",
        )
    every = " UNION ALL ".join(f"SELECT id, primera, distintos FROM pares{band}" for band in range(BANDS))
    worst = _bits(min(SAME, NEAR))
    engine.create(
        "pares",
        f"SELECT id, primera, min(distintos) AS distintos FROM ({every}) WHERE distintos <= {worst} GROUP BY 1, 2",
    )
    for name, similarity in (("iguales", SAME), ("grupos", NEAR)):
        _components(engine, name, bits=_bits(similarity))
    engine.create(
        "votos",
        "SELECT coalesce(i.raiz, f.id) AS igual, f.etiquetas AS etiquetas, count(*) AS votos "
        "FROM filas f LEFT JOIN iguales i ON f.id = i.id GROUP BY coalesce(i.raiz, f.id), f.etiquetas",
    )
    engine.create(
        "ganadoras",
        "SELECT v.igual AS igual, CASE WHEN count(*) = 1 THEN min(v.etiquetas) END AS final FROM votos v "
        "JOIN (SELECT igual, max(votos) AS votos FROM votos GROUP BY igual) m "
        "ON v.igual = m.igual AND v.votos = m.votos GROUP BY v.igual",
    )
    engine.create(
        "decididas",
        "SELECT f.id AS id, coalesce(i.raiz, f.id) AS igual, coalesce(g.raiz, f.id) AS grupo, "
        f"CASE WHEN p.corte < {TEST_SHARE} THEN 'test' ELSE 'train' END AS particion, "
        "w.final AS final, coalesce(w.final <> f.etiquetas, FALSE) AS corregida "
        "FROM filas f LEFT JOIN iguales i ON f.id = i.id LEFT JOIN grupos g ON f.id = g.id "
        "JOIN filas p ON p.id = coalesce(g.raiz, f.id) JOIN ganadoras w ON w.igual = coalesce(i.raiz, f.id)",
    )


def _bits(similarity: float) -> int:
    """The most bits in which sketches of that similarity, or more, differ."""
    return int((1 - similarity) * SKETCH / 2)


def _components(engine: Engine, name: str, *, bits: int) -> None:
    """Table ``name``: each row with a partner within ``bits``, the first row (``raiz``) that it hangs together with."""
    engine.create("aristas", f"SELECT id, primera FROM pares WHERE distintos <= {bits}")
    engine.create(
        name,
        "SELECT id, min(raiz) AS raiz FROM (SELECT id, primera AS raiz FROM aristas "
        "UNION ALL SELECT primera AS id, primera AS raiz FROM aristas) GROUP BY id",
    )
    for _ in range(MOST_ROUNDS):
        engine.create(
            "siguientes",
            "SELECT id, min(raiz) AS raiz FROM ("
            f"SELECT id, raiz FROM {name} "
            f"UNION ALL SELECT a.id AS id, r.raiz AS raiz FROM aristas a JOIN {name} r ON a.primera = r.id "
            f"UNION ALL SELECT a.primera AS id, r.raiz AS raiz FROM aristas a JOIN {name} r ON a.id = r.id "
            f"UNION ALL SELECT s.id AS id, r.raiz AS raiz FROM {name} s JOIN {name} r ON s.raiz = r.id"
            ") GROUP BY id",
        )
        moved = engine.number(f"SELECT count(*) FROM siguientes s JOIN {name} r ON s.id = r.id WHERE s.raiz <> r.raiz")
        engine.create(name, "SELECT * FROM siguientes")
        if moved == 0:
            return
    raise RuntimeError(f"the groups of {name} were not settled after {MOST_ROUNDS} rounds")
