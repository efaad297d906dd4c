"""What the lint asks the database: tables, columns, indexes, domains and functions, in one go."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psycopg

TABLES = """
select c.oid, c.relname::text, c.relkind::text
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relname = any (%s) and c.relkind in ('r', 'p', 'm')
  and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'windlass')
"""
COLUMNS = """
select a.attrelid, a.attname::text, t.typname::text, a.atttypmod, a.attnotnull or exists (
    select from pg_catalog.pg_constraint c
    where c.conrelid = a.attrelid and c.contype = 'c' and c.convalidated
      and pg_catalog.pg_get_constraintdef(c.oid) like
          '%%(' || pg_catalog.quote_ident(a.attname) || ' IS NOT NULL)%%'
      and pg_catalog.pg_get_constraintdef(c.oid) not like '%% OR %%')
from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
where a.attrelid = any (%s) and a.attnum > 0 and not a.attisdropped
"""
INDEXES = """
select i.indrelid, i.indexrelid::pg_catalog.regclass::text, array(
    select a.attname::text from pg_catalog.unnest(i.indkey) with ordinality k (attnum, n)
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    order by k.n)
from pg_catalog.pg_index i where i.indrelid = any (%s) and i.indisvalid and i.indpred is null
"""
DOMAINS = """
select t.typname::text from pg_catalog.pg_type t
where t.typtype = 'd' and (t.typnotnull or exists (
    select from pg_catalog.pg_constraint c where c.contypid = t.oid))
"""
FUNCTIONS = """
select proname::text, pg_catalog.bool_and(pronamespace = 'pg_catalog'::pg_catalog.regnamespace),
       pg_catalog.bool_or(provolatile = 'v')
from pg_catalog.pg_proc where proname = any (%s) group by 1
"""


@dataclass(frozen=True, slots=True)
class CatalogColumn:
    """A column's type as the catalog has it, and whether a full scan could find a NULL."""

    type: str  # pg_type.typname: int4, varchar
    modifier: int  # pg_attribute.atttypmod; -1: none
    never_null: bool  # NOT NULL, or a validated CHECK proves it


@dataclass(frozen=True, slots=True)
class CatalogTable:
    """A table that already exists."""

    kind: str  # pg_class.relkind: r, p, m
    columns: Mapping[str, CatalogColumn]
    indexes: Mapping[str, tuple[str, ...]]  # name -> columns; valid ones of all rows


@dataclass(frozen=True, slots=True)
class Function:
    """Every function of a name together: which one is called, the server alone knows."""

    builtin: bool
    volatile: bool


@dataclass(frozen=True, slots=True)
class Catalog:
    """What exists in the database, of what a file names; by names without schemas."""

    major: int
    tables: Mapping[str, CatalogTable]
    constrained_domains: frozenset[str]
    functions: Mapping[str, Function]


def read_catalog(
    connection: psycopg.Connection, tables: Iterable[str], functions: Iterable[str]
) -> Catalog:
    """Return what exists of these names; in a transaction of the caller's, or none."""
    rows = connection.execute(TABLES, [sorted(tables)]).fetchall()
    oids = [oid for oid, _, _ in rows]
    columns: dict[int, dict[str, CatalogColumn]] = {oid: {} for oid in oids}
    indexes: dict[int, dict[str, tuple[str, ...]]] = {oid: {} for oid in oids}
    for oid, name, type_, modifier, never_null in connection.execute(COLUMNS, [oids]).fetchall():
        columns[oid][name] = CatalogColumn(type_, modifier, never_null)
    for oid, name, keys in connection.execute(INDEXES, [oids]).fetchall():
        indexes[oid][name.rpartition(".")[2].strip('"')] = tuple(keys)
    return Catalog(
        major=connection.info.server_version // 10_000,
        tables={name: CatalogTable(kind, columns[oid], indexes[oid]) for oid, name, kind in rows},
        constrained_domains=frozenset(row[0] for row in connection.execute(DOMAINS).fetchall()),
        functions={
            name: Function(builtin, volatile)
            for name, builtin, volatile in connection.execute(
                FUNCTIONS, [sorted(functions)]
            ).fetchall()
        },
    )
