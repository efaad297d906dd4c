"""The rules about what a statement does to a table that serves, each with what to write instead.

Some have the names of squawk's rules that they took the place of, so that what migrations allow
stays allowed.
"""

from . import index_rewrites, rewrites
from .rule import Rule

_SERVES = "the table exists"
_BY_INDEX = "CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT … USING INDEX"
_VALIDATE = "ADD … NOT VALID, and VALIDATE in a migration of its own"

INDEX_LOCKS = Rule(
    id="require-concurrent-index-creation",
    level="warning",
    about="an index that is built while nobody can write",
    text="keeps writers out of {table} until the index is built",
    does="scan",
    given=f"{_SERVES}, and has no index of that name",
    instead="CREATE INDEX CONCURRENTLY; of a partitioned table: ON ONLY it, CONCURRENTLY on each "
    "partition, and ATTACH",
    rewrite=index_rewrites.index,
)
DROP_INDEX_LOCKS = Rule(
    id="require-concurrent-index-deletion",
    level="warning",
    about="an index that is dropped under the table's strongest lock",
    text="waits for every session that uses {table}, and everybody waits behind it",
    given="the index exists",
    instead="DROP INDEX CONCURRENTLY",
    rewrite=index_rewrites.drop_index,
)
REINDEX_LOCKS = Rule(
    id="require-concurrent-reindex",
    level="warning",
    about="an index that is built anew while nobody can write, or read by it",
    text="keeps writers out of {table}, and readers from the index, until it is built",
    does="scan",
    given=_SERVES,
    instead="REINDEX … CONCURRENTLY",
    rewrite=index_rewrites.reindex,
)
DETACH_LOCKS = Rule(
    id="require-concurrent-partition-detach",
    level="warning",
    about="a partition that is detached under the strongest lock",
    text="locks {table} and {partition} against everybody",
    given=_SERVES,
    instead="DETACH PARTITION … CONCURRENTLY, since 14, where there is no default partition",
    rewrite=rewrites.detach,
)
CHECK_SCAN = Rule(
    id="constraint-missing-not-valid",
    level="warning",
    about="a CHECK that is tested against every row under the strongest lock",
    text="reads all of {table} under its strongest lock",
    does="scan",
    given=_SERVES,
    instead=_VALIDATE,
    rewrite=rewrites.not_valid,
)
FOREIGN_KEY_SCAN = Rule(
    id="adding-foreign-key-constraint",
    level="warning",
    about="a foreign key that is tested against every row while nobody can write to either table",
    text="reads all of {table}, and keeps writers out of it and of {refers}{call}",
    does="scan",
    given=f"{_SERVES}; a new column without a default has nothing to test",
    instead=_VALIDATE,
    rewrite=rewrites.not_valid,
)
UNIQUE_BUILD = Rule(
    id="disallowed-unique-constraint",
    level="warning",
    about="an index that a UNIQUE builds under the strongest lock",
    text="builds an index over all of {table} under its strongest lock",
    does="scan",
    given=_SERVES,
    instead=_BY_INDEX,
    rewrite=index_rewrites.by_index,
)
PRIMARY_KEY_BUILD = Rule(
    id="adding-serial-primary-key-field",
    level="warning",
    about="an index that a PRIMARY KEY builds under the strongest lock",
    text="builds an index over all of {table} under its strongest lock",
    does="scan",
    given=_SERVES,
    instead=_BY_INDEX,
    rewrite=index_rewrites.by_index,
)
PRIMARY_KEY_SCAN = Rule(
    id="primary-key-scan",
    level="warning",
    about="an index that becomes the primary key over a column that may hold NULLs",
    text="reads the whole table for NULLs under its strongest lock: SET NOT NULL behind a "
    "validated CHECK first",
    does="scan",
    given="a column of the index is not NOT NULL, and no validated CHECK proves it",
    catalog=True,
    instead="the road of adding-not-nullable-field first",
    rewrite=index_rewrites.primary_key,
)
ADD_EXCLUDE = Rule(
    id="add-exclude",
    level="warning",
    about="an EXCLUDE constraint, which builds its index under the strongest lock",
    text="builds an index over all of {table} under its strongest lock, and the server has no "
    "other way: a new table that is filled by batches",
    does="scan",
    given=_SERVES,
)
NOT_NULL_SCAN = Rule(
    id="adding-not-nullable-field",
    level="warning",
    about="SET NOT NULL, which reads every row under the strongest lock",
    text="reads all of {table} for NULLs in {column} under its strongest lock",
    does="scan",
    given="no validated CHECK of the table, and of each below it, proves the column",
    instead="ADD CHECK (… IS NOT NULL) NOT VALID; VALIDATE; SET NOT NULL and DROP the CHECK: three "
    "migrations of one deployment",
    rewrite=rewrites.not_null,
)
REQUIRED_FIELD = Rule(
    id="adding-required-field",
    level="warning",
    about="a new column that is NOT NULL and has no default",
    text="is refused where {table} has a row, and the running code does not write {column}: {call}",
    given=_SERVES,
    instead="the column without NOT NULL; NOT NULL once every row has a value",
)
TYPE_REWRITE = Rule(
    id="changing-column-type",
    level="warning",
    about="a type that another form of the values needs, or that an index or a CHECK is made anew "
    "for",
    text="{work} under the strongest lock: a new column, filled in batches, and a change of names: "
    "{call}",
    does="rewrite",
    given="the column's present type is not one whose values keep their form",
)
ATTACH_SCAN = Rule(
    id="attach-scan",
    level="warning",
    about="the new partition is read, unless a CHECK proves its rows",
    text="reads all of {partition}, unless a validated CHECK proves that its rows belong there",
    does="scan",
    given="no validated CHECK, with NOT NULL, proves the bound; or a default partition has rows",
    instead="ADD CHECK (the bound) NOT VALID; VALIDATE; ATTACH",
    rewrite=rewrites.attach,
)
PARTITION_OF = Rule(
    id="partition-of",
    level="warning",
    about="locks the parent against everybody",
    text="locks {parent} against everybody: CREATE TABLE … LIKE, then ATTACH PARTITION",
    given="the parent exists",
    instead="CREATE TABLE … (LIKE parent INCLUDING ALL), and ATTACH PARTITION",
    rewrite=rewrites.partition,
)
CONCURRENTLY_ON_PARTITIONED = Rule(
    id="concurrently-on-partitioned",
    level="error",
    about="the server refuses it",
    text="the server refuses it on a partitioned table: build it ON ONLY the table, CONCURRENTLY "
    "on each partition, and attach",
    given="the table is partitioned",
    catalog=True,
    instead="CREATE INDEX ON ONLY the table, CONCURRENTLY on each partition, and ATTACH",
    rewrite=index_rewrites.index,
)
FOREIGN_KEY_NO_INDEX = Rule(
    id="foreign-key-no-index",
    level="warning",
    about="a delete of the referred row reads the whole table",
    text="no index begins with {columns}: every delete of a row that is referred to reads the "
    "whole table",
    given="no index of the table begins with the columns, nor does a pending migration make one",
    catalog=True,
    instead="CREATE INDEX CONCURRENTLY",
    rewrite=index_rewrites.referring_index,
    keeps=True,
)

# These have names of squawk's, which is not asked for them.
OF_SQUAWK = (
    INDEX_LOCKS,
    DROP_INDEX_LOCKS,
    REINDEX_LOCKS,
    DETACH_LOCKS,
    CHECK_SCAN,
    FOREIGN_KEY_SCAN,
    UNIQUE_BUILD,
    PRIMARY_KEY_BUILD,
    NOT_NULL_SCAN,
    REQUIRED_FIELD,
    TYPE_REWRITE,
)
