"""Every rule of our own, once; see `rule.Rule` for what each says of itself.

Those about what a statement does to a table that serves are `table_rules`'. The others of squawk's
are `squawk`'s; how grave a finding is in the end is `severity`'s.
"""

from . import filled, index_rewrites, rewrites, table_rules
from .rule import Rule

_REWRITES = "writes the whole table and its indexes anew under the strongest lock"
_BACKFILL = "add it without, set the default, and fill it in batches"
_SERVES = "the table exists"
_NO_WORK = "no work of a migration"
_VALUE_FOR_EACH_ROW = "a new column with a value for each row"
_COPIES = "copies the table under its strongest lock"
_COPIES_ALL = "copies the whole table under its strongest lock"
_REWRITTEN = "the table is rewritten, and no session can read it meanwhile"
_OTHERS_WAIT = "others wait for it"
_BEGUN = (
    "begun by a migration and finished by none of those with it; the rehearsal looks too, and "
    "after the smoke test it only warns"
)
_LEFT = "found by the rehearsal; after the smoke test it only warns"
_FINISH = "or allow it with a reason where a later release does"

OPAQUE = Rule(
    id="opaque",
    level="unknown",
    about="DO, CALL, EXECUTE, SELECT of a function that is not the server's own, a function that "
    "writes in any statement, SQL that squawk cannot read, or a revision of Alembic that reads "
    "data",
    text="{why}: a rehearsal shows it",
)
TRUNCATE = Rule(
    id="truncate",
    level="error",
    about="every row goes, and only the backup has them",
    text="TRUNCATE deletes every row, and only the backup has them",
)
CLUSTER = Rule(
    id="cluster",
    level="error",
    about=_REWRITTEN,
    text="CLUSTER rewrites the table; no session can read it meanwhile",
)
VACUUM_FULL = Rule(
    id="vacuum-full",
    level="error",
    about=_REWRITTEN,
    text="VACUUM FULL rewrites the table; no session can read it meanwhile",
)
ALTER_SYSTEM = Rule(
    id="alter-system",
    level="error",
    about=_NO_WORK,
    text="ALTER SYSTEM changes the server, not this database",
)
DROP_DATABASE = Rule(
    id="drop-database",
    level="error",
    about=_NO_WORK,
    text="DROP DATABASE has no place in a migration",
)
DROP_OWNED = Rule(
    id="drop-owned",
    level="error",
    about=_NO_WORK,
    text="DROP OWNED drops objects that no list names",
)
PRIVILEGE = Rule(
    id="privilege",
    level="error",
    about="a role, a right of PUBLIC, row security, session_replication_role, a table of the "
    "history, a file or a program of the server, an untrusted language or extension, "
    "SECURITY DEFINER without a search_path",
    text="{what}: say why it belongs into a migration",
)
SET_LOGGED = Rule(id="set-logged", level="warning", about=_COPIES, text=_COPIES_ALL, does="rewrite")
SET_UNLOGGED = Rule(
    id="set-unlogged", level="warning", about=_COPIES, text=_COPIES_ALL, does="rewrite"
)
SET_TABLESPACE = Rule(
    id="set-tablespace", level="warning", about=_COPIES, text=_COPIES_ALL, does="rewrite"
)
SET_ACCESS_METHOD = Rule(
    id="set-access-method", level="warning", about=_COPIES, text=_COPIES_ALL, does="rewrite"
)
LOCK_TABLE = Rule(
    id="lock-table",
    level="warning",
    about=_OTHERS_WAIT,
    text="LOCK TABLE makes the application wait",
)
REFRESH_LOCKS = Rule(
    id="refresh-locks",
    level="warning",
    about=_OTHERS_WAIT,
    text="no session can read the view while it is refreshed: CONCURRENTLY allows it, with a "
    "unique index",
    given="the view exists",
    instead="REFRESH … CONCURRENTLY, where the view has a unique index of all rows",
    rewrite=index_rewrites.refresh,
)
ADD_SERIAL = Rule(
    id="add-serial",
    level="warning",
    about=_VALUE_FOR_EACH_ROW,
    text=f"{_REWRITES}: {_BACKFILL}",
    does="rewrite",
    given=_SERVES,
    instead="a sequence; the column; SET DEFAULT; a backfill; NOT NULL",
    rewrite=filled.serial,
)
ADD_IDENTITY = Rule(
    id="add-identity",
    level="warning",
    about=_VALUE_FOR_EACH_ROW,
    text=f"{_REWRITES}: {_BACKFILL}",
    does="rewrite",
    given=_SERVES,
    instead="the same as of add-serial, and the identity at the end",
    rewrite=filled.identity,
)
ADD_GENERATED = Rule(
    id="add-generated",
    level="warning",
    about=_VALUE_FOR_EACH_ROW,
    text=f"{_REWRITES}: a plain column, a trigger, and batches",
    does="rewrite",
    given=f"{_SERVES}; since 18 one without STORED is not written",
    instead="a plain column; a trigger; a backfill",
    rewrite=filled.generated,
)
ADD_COLUMN_DOMAIN = Rule(
    id="add-column-domain",
    level="warning",
    about=_VALUE_FOR_EACH_ROW,
    text=f"{_REWRITES}, because {{domain}} has a constraint: take the type beneath it, and a CHECK "
    "NOT VALID",
    does="rewrite",
    catalog=True,
    given="the domain has a CHECK or NOT NULL",
)
VOLATILE_DEFAULT = Rule(
    id="volatile-default",
    level="warning",
    about=_VALUE_FOR_EACH_ROW,
    text=f"{{function}} is volatile, so that this {_REWRITES}: {_BACKFILL}",
    does="rewrite",
    catalog=True,
    given=_SERVES,
    instead="the column; SET DEFAULT; a backfill",
    rewrite=filled.default,
)
ADD_COLUMN_CHECK = Rule(
    id="add-column-check",
    level="warning",
    about="a CHECK written into ADD COLUMN",
    text="reads the whole table under its strongest lock: add the CHECK apart, NOT VALID, then "
    "VALIDATE",
    does="scan",
    given=_SERVES,
    instead="the column; ADD CHECK NOT VALID; VALIDATE",
    rewrite=rewrites.column_check,
)
WORK_UNDER_LOCK = Rule(
    id="work-under-lock",
    level="warning",
    about="a statement that may take long, behind one whose lock lasts until the end of the "
    "transaction: ALTER, DROP TABLE, CREATE TRIGGER",
    text="works in a transaction that holds the lock of line {line} until its end: give it a "
    "migration of its own",
    given=_SERVES,
    instead="a migration of its own",
    apart=True,
)
LOCK_AFTER_WORK = Rule(
    id="lock-after-work",
    level="warning",
    about="a lock against the application, waited for while the transaction keeps rows that an "
    "earlier statement changed",
    text="waits for the lock of {table} while the rows that line {line} changed stay locked: give "
    "it a migration of its own",
    given="both tables exist",
    instead="a migration of its own",
    apart=True,
)
SEVERAL_TABLES = Rule(
    id="several-tables",
    level="warning",
    about="one table stays locked, by one of these, while the next is waited for",
    text="locks {these} while {those} stays locked: a migration for each",
    given="both exist",
    instead="a migration for each",
    apart=True,
)
REFERENCES_LOCKS = Rule(
    id="references-locks",
    level="note",
    about="a new table keeps writers out of the one it refers to",
    text="keeps writers out of {table} until the end of the transaction",
    given="the other table exists",
)
DOMAIN_SCAN = Rule(
    id="domain-scan",
    level="warning",
    about="every table that uses the domain is read, by VALIDATE too",
    text="reads every table that uses the domain, and blocks writes to them; so does VALIDATE: a "
    "CHECK of each table instead, NOT VALID, then VALIDATE",
    does="scan",
    given="a table has a column of the domain",
    instead="a CHECK of each table, NOT VALID, and VALIDATE",
)
EVERY_ROW = Rule(
    id="every-row",
    level="warning",
    about="UPDATE, DELETE or MERGE whose WHERE leaves out no row of the table, or only rows that "
    "have no match elsewhere; INSERT … SELECT … ON CONFLICT DO UPDATE; SELECT … FOR UPDATE; also "
    "within a WITH or EXPLAIN ANALYZE",
    text="may {verb} every row of {table} in one transaction: do it in batches",
    does="rows",
    given=_SERVES,
    instead="a backfill directive above it",
    rewrite=filled.every_row,
)
ENUM_USED_AT_ONCE = Rule(
    id="enum-used-at-once",
    level="error",
    about="a value in the transaction that adds it, which the server refuses",
    text="uses '{value}' in the transaction that adds it (line {line}), which the server refuses: "
    "a migration of its own",
    given="the type is older than the transaction",
    instead="ADD VALUE in a migration of its own",
    apart=True,
)
EXTENSION_MISSING = Rule(
    id="extension-missing",
    level="error",
    about="an extension that the server does not have",
    text="the server has no extension {name} (pg_available_extensions): install its package there, "
    "or have it enabled where the server is somebody else's",
    given="pg_available_extensions has no such name",
    catalog=True,
)
PASSWORD_LITERAL = Rule(
    id="password-literal",
    level="error",
    about="a password or key that stands in the text: of a role, a user mapping, a subscription, "
    "dblink, a setting",
    text="{where} stands in the text, and so in the repository: set it outside of migrations, and "
    "change it",
)
STALE_ALLOW = Rule(
    id="stale-allow",
    level="warning",
    about="an allowance that nothing needs",
    text="allows {rule}, which nothing here breaks: take it out",
)
LONG_LOCK = Rule(
    id="long-lock",
    level="error",
    about="found by the rehearsal: see configuration, rehearsal.blocks_at_most",
    text="{mode} on {relation} held {blocks} up for {seconds} s on the copy; at most {limit} is "
    "allowed",
    later=True,
)
HOT_TABLE = Rule(
    id="hot-table",
    level="error",
    about="a lock of a table in hot_tables of which the file does not speak; the reason begins "
    "with the table's name",
    text="{relation} is a hot table, and the file does not speak of its lock: {what}",
    later=True,
)
INVALID_INDEX = Rule(id="invalid-index", level="error", about=_LEFT, later=True)
NOT_VALID_CONSTRAINT = Rule(
    id="not-valid-constraint",
    level="error",
    about=_BEGUN,
    text=f"{{name}} stays NOT VALID, so that rows of before may break it: VALIDATE it, {_FINISH}",
    later=True,
)
DISABLED_TRIGGER = Rule(
    id="disabled-trigger",
    level="error",
    about=_BEGUN,
    text=f"{{name}} stays disabled: enable it, {_FINISH}",
    later=True,
)
DETACHING_PARTITION = Rule(id="detaching-partition", level="error", about=_LEFT, later=True)

_OWN = (*globals().values(), *vars(table_rules).values())
RULES = {rule.id: rule for rule in _OWN if isinstance(rule, Rule)}
