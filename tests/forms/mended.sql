-- What is written instead of the last statements of each dangerous form, by rule and number: one
-- file after another, with what undoes and verifies it. Each is executed by tests/test_lint_fix.py.
-- form: adding-not-nullable-field 1
-- file: add_orders_memo_not_null
ALTER TABLE public.orders ADD CONSTRAINT orders_memo_not_null CHECK (memo IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.orders DROP CONSTRAINT orders_memo_not_null
-- file: validate_orders_memo_not_null
ALTER TABLE public.orders VALIDATE CONSTRAINT orders_memo_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.orders'::pg_catalog.regclass AND conname = 'orders_memo_not_null'
-- file: set_memo_not_null
ALTER TABLE public.orders ALTER COLUMN memo SET NOT NULL;
ALTER TABLE public.orders DROP CONSTRAINT orders_memo_not_null;
-- undo: ALTER TABLE public.orders ALTER COLUMN memo DROP NOT NULL
-- undo: ALTER TABLE public.orders ADD CONSTRAINT orders_memo_not_null CHECK (memo IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.orders'::pg_catalog.regclass AND attname = 'memo'
-- form: adding-not-nullable-field 2
-- file: add_orders_note_not_null
ALTER TABLE public.orders ADD CONSTRAINT orders_note_not_null CHECK (note IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.orders DROP CONSTRAINT orders_note_not_null
-- file: validate_orders_note_not_null
ALTER TABLE public.orders VALIDATE CONSTRAINT orders_note_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.orders'::pg_catalog.regclass AND conname = 'orders_note_not_null'
-- file: set_note_not_null
ALTER TABLE public.orders ALTER COLUMN note SET NOT NULL;
ALTER TABLE public.orders DROP CONSTRAINT orders_note_not_null;
-- undo: ALTER TABLE public.orders ALTER COLUMN note DROP NOT NULL
-- undo: ALTER TABLE public.orders ADD CONSTRAINT orders_note_not_null CHECK (note IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.orders'::pg_catalog.regclass AND attname = 'note'
-- form: adding-not-nullable-field 3
-- file: add_orders_status_not_null
ALTER TABLE public.orders ADD CONSTRAINT orders_status_not_null CHECK (status IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.orders DROP CONSTRAINT orders_status_not_null
-- file: validate_orders_status_not_null
ALTER TABLE public.orders VALIDATE CONSTRAINT orders_status_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.orders'::pg_catalog.regclass AND conname = 'orders_status_not_null'
-- file: set_status_not_null
ALTER TABLE public.orders ALTER COLUMN status SET NOT NULL;
ALTER TABLE public.orders DROP CONSTRAINT orders_status_not_null;
-- undo: ALTER TABLE public.orders ALTER COLUMN status DROP NOT NULL
-- undo: ALTER TABLE public.orders ADD CONSTRAINT orders_status_not_null CHECK (status IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.orders'::pg_catalog.regclass AND attname = 'status'
-- form: adding-not-nullable-field 4
-- file: add_orders_note_not_null
ALTER TABLE public.orders ADD CONSTRAINT orders_note_not_null CHECK (note IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.orders DROP CONSTRAINT orders_note_not_null
-- file: validate_orders_note_not_null
ALTER TABLE public.orders VALIDATE CONSTRAINT orders_note_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.orders'::pg_catalog.regclass AND conname = 'orders_note_not_null'
-- file: set_note_not_null
ALTER TABLE public.orders ALTER COLUMN note SET NOT NULL;
ALTER TABLE public.orders DROP CONSTRAINT orders_note_not_null;
-- undo: ALTER TABLE public.orders ALTER COLUMN note DROP NOT NULL
-- undo: ALTER TABLE public.orders ADD CONSTRAINT orders_note_not_null CHECK (note IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.orders'::pg_catalog.regclass AND attname = 'note'
-- form: adding-not-nullable-field 5
-- file: add_orders_memo_not_null
ALTER TABLE public.orders ADD CONSTRAINT orders_memo_not_null CHECK (memo IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.orders DROP CONSTRAINT orders_memo_not_null
-- file: validate_orders_memo_not_null
ALTER TABLE public.orders VALIDATE CONSTRAINT orders_memo_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.orders'::pg_catalog.regclass AND conname = 'orders_memo_not_null'
-- file: set_memo_not_null
ALTER TABLE public.orders ALTER COLUMN memo SET NOT NULL;
ALTER TABLE public.orders DROP CONSTRAINT orders_memo_not_null;
-- undo: ALTER TABLE public.orders ALTER COLUMN memo DROP NOT NULL
-- undo: ALTER TABLE public.orders ADD CONSTRAINT orders_memo_not_null CHECK (memo IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.orders'::pg_catalog.regclass AND attname = 'memo'
-- form: require-concurrent-index-creation 1
-- file: customers_name_idx
CREATE INDEX CONCURRENTLY customers_name_idx ON public.customers USING btree (name);
-- undo: DROP INDEX CONCURRENTLY public.customers_name_idx
-- verify: SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'public.customers_name_idx'::pg_catalog.regclass
-- form: adding-not-nullable-field 6
-- file: add_invoices_total_not_null
ALTER TABLE public.invoices ADD CONSTRAINT invoices_total_not_null CHECK (total IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.invoices DROP CONSTRAINT invoices_total_not_null
-- file: validate_invoices_total_not_null
ALTER TABLE public.invoices VALIDATE CONSTRAINT invoices_total_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.invoices'::pg_catalog.regclass AND conname = 'invoices_total_not_null'
-- file: set_total_not_null
ALTER TABLE public.invoices ALTER COLUMN total SET NOT NULL;
ALTER TABLE public.invoices DROP CONSTRAINT invoices_total_not_null;
-- undo: ALTER TABLE public.invoices ALTER COLUMN total DROP NOT NULL
-- undo: ALTER TABLE public.invoices ADD CONSTRAINT invoices_total_not_null CHECK (total IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.invoices'::pg_catalog.regclass AND attname = 'total'
-- form: adding-not-nullable-field 7
-- file: add_events_kind_not_null
ALTER TABLE public.events ADD CONSTRAINT events_kind_not_null CHECK (kind IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.events DROP CONSTRAINT events_kind_not_null
-- file: validate_events_kind_not_null
ALTER TABLE public.events VALIDATE CONSTRAINT events_kind_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.events'::pg_catalog.regclass AND conname = 'events_kind_not_null'
-- file: set_kind_not_null
ALTER TABLE public.events ALTER COLUMN kind SET NOT NULL;
ALTER TABLE public.events DROP CONSTRAINT events_kind_not_null;
-- undo: ALTER TABLE public.events ALTER COLUMN kind DROP NOT NULL
-- undo: ALTER TABLE public.events ADD CONSTRAINT events_kind_not_null CHECK (kind IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.events'::pg_catalog.regclass AND attname = 'kind'
-- form: adding-not-nullable-field 8
-- file: add_events_at_not_null
ALTER TABLE public.events ADD CONSTRAINT events_at_not_null CHECK (at IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.events DROP CONSTRAINT events_at_not_null
-- file: validate_events_at_not_null
ALTER TABLE public.events VALIDATE CONSTRAINT events_at_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.events'::pg_catalog.regclass AND conname = 'events_at_not_null'
-- file: set_at_not_null
ALTER TABLE public.events ALTER COLUMN at SET NOT NULL;
ALTER TABLE public.events DROP CONSTRAINT events_at_not_null;
-- undo: ALTER TABLE public.events ALTER COLUMN at DROP NOT NULL
-- undo: ALTER TABLE public.events ADD CONSTRAINT events_at_not_null CHECK (at IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.events'::pg_catalog.regclass AND attname = 'at'
-- form: constraint-missing-not-valid 1
-- file: add_k
ALTER TABLE public.events ADD CONSTRAINT k CHECK (id > 0) NOT VALID;
-- undo: ALTER TABLE public.events DROP CONSTRAINT k
-- file: validate_k
ALTER TABLE public.events VALIDATE CONSTRAINT k;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.events'::pg_catalog.regclass AND conname = 'k'
-- form: adding-not-nullable-field 9
-- file: add_invoices_total_not_null
ALTER TABLE public.invoices ADD CONSTRAINT invoices_total_not_null CHECK (total IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.invoices DROP CONSTRAINT invoices_total_not_null
-- file: validate_invoices_total_not_null
ALTER TABLE public.invoices VALIDATE CONSTRAINT invoices_total_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.invoices'::pg_catalog.regclass AND conname = 'invoices_total_not_null'
-- file: set_total_not_null
ALTER TABLE public.invoices ALTER COLUMN total SET NOT NULL;
ALTER TABLE public.invoices DROP CONSTRAINT invoices_total_not_null;
-- undo: ALTER TABLE public.invoices ALTER COLUMN total DROP NOT NULL
-- undo: ALTER TABLE public.invoices ADD CONSTRAINT invoices_total_not_null CHECK (total IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.invoices'::pg_catalog.regclass AND attname = 'total'
-- form: adding-not-nullable-field 10
-- file: validate_n
ALTER TABLE public.customers VALIDATE CONSTRAINT n;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.customers'::pg_catalog.regclass AND conname = 'n'
-- form: adding-not-nullable-field 11
-- file: add_customers_name_not_null
ALTER TABLE public.customers ADD CONSTRAINT customers_name_not_null CHECK (name IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.customers DROP CONSTRAINT customers_name_not_null
-- file: validate_customers_name_not_null
ALTER TABLE public.customers VALIDATE CONSTRAINT customers_name_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.customers'::pg_catalog.regclass AND conname = 'customers_name_not_null'
-- file: set_name_not_null
ALTER TABLE public.customers ALTER COLUMN name SET NOT NULL;
ALTER TABLE public.customers DROP CONSTRAINT customers_name_not_null;
-- undo: ALTER TABLE public.customers ALTER COLUMN name DROP NOT NULL
-- undo: ALTER TABLE public.customers ADD CONSTRAINT customers_name_not_null CHECK (name IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.customers'::pg_catalog.regclass AND attname = 'name'
-- form: adding-not-nullable-field 12
-- file: add_customers_name_not_null
ALTER TABLE public.customers ADD CONSTRAINT customers_name_not_null CHECK (name IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.customers DROP CONSTRAINT customers_name_not_null
-- file: validate_customers_name_not_null
ALTER TABLE public.customers VALIDATE CONSTRAINT customers_name_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.customers'::pg_catalog.regclass AND conname = 'customers_name_not_null'
-- file: set_name_not_null
ALTER TABLE public.customers ALTER COLUMN name SET NOT NULL;
ALTER TABLE public.customers DROP CONSTRAINT customers_name_not_null;
-- undo: ALTER TABLE public.customers ALTER COLUMN name DROP NOT NULL
-- undo: ALTER TABLE public.customers ADD CONSTRAINT customers_name_not_null CHECK (name IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.customers'::pg_catalog.regclass AND attname = 'name'
-- form: adding-not-nullable-field 13
-- file: add_orders_amount_not_null
ALTER TABLE public.orders ADD CONSTRAINT orders_amount_not_null CHECK (amount IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.orders DROP CONSTRAINT orders_amount_not_null
-- file: validate_orders_amount_not_null
ALTER TABLE public.orders VALIDATE CONSTRAINT orders_amount_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.orders'::pg_catalog.regclass AND conname = 'orders_amount_not_null'
-- file: set_amount_not_null
ALTER TABLE public.orders ALTER COLUMN amount SET NOT NULL;
ALTER TABLE public.orders DROP CONSTRAINT orders_amount_not_null;
-- undo: ALTER TABLE public.orders ALTER COLUMN amount DROP NOT NULL
-- undo: ALTER TABLE public.orders ADD CONSTRAINT orders_amount_not_null CHECK (amount IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.orders'::pg_catalog.regclass AND attname = 'amount'
-- form: adding-not-nullable-field 14
-- file: add_orders_note_not_null
ALTER TABLE public.orders ADD CONSTRAINT orders_note_not_null CHECK (note IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.orders DROP CONSTRAINT orders_note_not_null
-- file: validate_orders_note_not_null
ALTER TABLE public.orders VALIDATE CONSTRAINT orders_note_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.orders'::pg_catalog.regclass AND conname = 'orders_note_not_null'
-- file: set_note_not_null
ALTER TABLE public.orders ALTER COLUMN note SET NOT NULL;
ALTER TABLE public.orders DROP CONSTRAINT orders_note_not_null;
-- undo: ALTER TABLE public.orders ALTER COLUMN note DROP NOT NULL
-- undo: ALTER TABLE public.orders ADD CONSTRAINT orders_note_not_null CHECK (note IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.orders'::pg_catalog.regclass AND attname = 'note'
-- file: add_orders_memo_not_null
ALTER TABLE public.orders ADD CONSTRAINT orders_memo_not_null CHECK (memo IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.orders DROP CONSTRAINT orders_memo_not_null
-- file: validate_orders_memo_not_null
ALTER TABLE public.orders VALIDATE CONSTRAINT orders_memo_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.orders'::pg_catalog.regclass AND conname = 'orders_memo_not_null'
-- file: set_memo_not_null
ALTER TABLE public.orders ALTER COLUMN memo SET NOT NULL;
ALTER TABLE public.orders DROP CONSTRAINT orders_memo_not_null;
-- undo: ALTER TABLE public.orders ALTER COLUMN memo DROP NOT NULL
-- undo: ALTER TABLE public.orders ADD CONSTRAINT orders_memo_not_null CHECK (memo IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.orders'::pg_catalog.regclass AND attname = 'memo'
-- form: adding-not-nullable-field 15
-- file: add_events_id_not_null
ALTER TABLE public.events ADD CONSTRAINT events_id_not_null CHECK (id IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.events DROP CONSTRAINT events_id_not_null
-- file: validate_events_id_not_null
ALTER TABLE public.events VALIDATE CONSTRAINT events_id_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.events'::pg_catalog.regclass AND conname = 'events_id_not_null'
-- file: set_id_not_null
ALTER TABLE public.events ALTER COLUMN id SET NOT NULL;
ALTER TABLE public.events DROP CONSTRAINT events_id_not_null;
-- undo: ALTER TABLE public.events ALTER COLUMN id DROP NOT NULL
-- undo: ALTER TABLE public.events ADD CONSTRAINT events_id_not_null CHECK (id IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.events'::pg_catalog.regclass AND attname = 'id'
-- form: require-concurrent-index-creation 2
-- file: orders_status
CREATE INDEX CONCURRENTLY orders_status ON public.orders USING btree (status);
-- undo: DROP INDEX CONCURRENTLY public.orders_status
-- verify: SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'public.orders_status'::pg_catalog.regclass
-- form: require-concurrent-index-creation 3
-- file: orders_status_note_idx
CREATE UNIQUE INDEX CONCURRENTLY orders_status_note_idx ON public.orders USING btree (status, note);
-- undo: DROP INDEX CONCURRENTLY public.orders_status_note_idx
-- verify: SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'public.orders_status_note_idx'::pg_catalog.regclass
-- form: require-concurrent-index-creation 4
-- file: orders_code_idx
CREATE INDEX CONCURRENTLY orders_code_idx ON archive.orders USING btree (code);
-- undo: DROP INDEX CONCURRENTLY archive.orders_code_idx
-- verify: SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'archive.orders_code_idx'::pg_catalog.regclass
-- form: require-concurrent-index-creation 5
-- file: orders_status
CREATE INDEX CONCURRENTLY orders_status ON public.orders USING btree (lower(status));
-- undo: DROP INDEX CONCURRENTLY public.orders_status
-- verify: SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'public.orders_status'::pg_catalog.regclass
-- form: require-concurrent-index-creation 6
-- file: measures_value_idx
CREATE INDEX measures_value_idx ON ONLY public.measures USING btree (value);
-- undo: DROP INDEX IF EXISTS public.measures_value_idx
-- file: measures_1_measures_value_idx
CREATE INDEX CONCURRENTLY measures_1_measures_value_idx ON public.measures_1 USING btree (value);
-- undo: SELECT 1
-- verify: SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'public.measures_1_measures_value_idx'::pg_catalog.regclass
-- file: attach
ALTER INDEX public.measures_value_idx ATTACH PARTITION public.measures_1_measures_value_idx;
-- undo: DROP INDEX public.measures_value_idx
-- verify: SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'public.measures_value_idx'::pg_catalog.regclass
-- form: require-concurrent-index-creation 7
-- file: totals_orders_idx
CREATE INDEX CONCURRENTLY totals_orders_idx ON public.totals USING btree (orders);
-- undo: DROP INDEX CONCURRENTLY public.totals_orders_idx
-- verify: SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'public.totals_orders_idx'::pg_catalog.regclass
-- form: require-concurrent-index-creation 8
-- file: orders_payload_idx
CREATE INDEX CONCURRENTLY orders_payload_idx ON public.orders USING gin (payload) WHERE amount > 0;
-- undo: DROP INDEX CONCURRENTLY public.orders_payload_idx
-- verify: SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'public.orders_payload_idx'::pg_catalog.regclass
-- form: require-concurrent-index-deletion 1
-- file: drop_orders_code
DROP INDEX CONCURRENTLY public.orders_code;
-- undo: CREATE INDEX CONCURRENTLY orders_code ON orders USING btree (code)
-- verify: SELECT pg_catalog.to_regclass('public.orders_code') IS NULL
-- form: require-concurrent-index-deletion 2
-- file: drop_archive_status
DROP INDEX CONCURRENTLY IF EXISTS archive.archive_status;
-- undo: CREATE INDEX CONCURRENTLY archive_status ON archive.orders USING btree (status)
-- verify: SELECT pg_catalog.to_regclass('archive.archive_status') IS NULL
-- form: require-concurrent-index-deletion 3
-- file: drop_orders_code
DROP INDEX CONCURRENTLY public.orders_code;
-- undo: CREATE INDEX CONCURRENTLY orders_code ON orders USING btree (code)
-- verify: SELECT pg_catalog.to_regclass('public.orders_code') IS NULL
-- file: drop_orders_customer
DROP INDEX CONCURRENTLY public.orders_customer;
-- undo: CREATE UNIQUE INDEX CONCURRENTLY orders_customer ON orders USING btree (customer_id)
-- verify: SELECT pg_catalog.to_regclass('public.orders_customer') IS NULL
-- form: require-concurrent-reindex 1
-- file: reindex
REINDEX (CONCURRENTLY) INDEX orders_code;
-- undo: SELECT 1
-- form: require-concurrent-reindex 2
-- file: reindex
REINDEX (CONCURRENTLY) TABLE orders;
-- undo: SELECT 1
-- form: require-concurrent-reindex 3
-- file: reindex
REINDEX (VERBOSE, CONCURRENTLY) TABLE archive.orders;
-- undo: SELECT 1
-- form: require-concurrent-reindex 4
-- file: reindex
REINDEX (CONCURRENTLY) SCHEMA archive;
-- undo: SELECT 1
-- form: concurrently-on-partitioned 1
-- file: measures_value
CREATE INDEX measures_value ON ONLY public.measures USING btree (value);
-- undo: DROP INDEX IF EXISTS public.measures_value
-- file: measures_1_measures_value
CREATE INDEX CONCURRENTLY measures_1_measures_value ON public.measures_1 USING btree (value);
-- undo: SELECT 1
-- verify: SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'public.measures_1_measures_value'::pg_catalog.regclass
-- file: attach
ALTER INDEX public.measures_value ATTACH PARTITION public.measures_1_measures_value;
-- undo: DROP INDEX public.measures_value
-- verify: SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'public.measures_value'::pg_catalog.regclass
-- form: concurrently-on-partitioned 2
-- file: parts_id
CREATE INDEX parts_id ON ONLY public.parts USING btree (id);
-- undo: DROP INDEX public.parts_id
-- form: require-concurrent-partition-detach 1
-- file: detach_measures_1
ALTER TABLE public.measures DETACH PARTITION public.measures_1 CONCURRENTLY;
-- undo: ALTER TABLE public.measures ATTACH PARTITION public.measures_1 FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')
-- verify: SELECT NOT (SELECT relispartition FROM pg_catalog.pg_class WHERE oid = 'public.measures_1'::pg_catalog.regclass)
-- form: constraint-missing-not-valid 2
-- file: add_c
ALTER TABLE public.orders ADD CONSTRAINT c CHECK (amount > 0) NOT VALID;
-- undo: ALTER TABLE public.orders DROP CONSTRAINT c
-- file: validate_c
ALTER TABLE public.orders VALIDATE CONSTRAINT c;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.orders'::pg_catalog.regclass AND conname = 'c'
-- form: constraint-missing-not-valid 3
-- file: add_orders_check
ALTER TABLE public.orders ADD CONSTRAINT orders_check CHECK (status IN ('open', 'paid')) NOT VALID;
-- undo: ALTER TABLE public.orders DROP CONSTRAINT orders_check
-- file: validate_orders_check
ALTER TABLE public.orders VALIDATE CONSTRAINT orders_check;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.orders'::pg_catalog.regclass AND conname = 'orders_check'
-- form: constraint-missing-not-valid 4
-- file: add_c
ALTER TABLE public.measures ADD CONSTRAINT c CHECK (value > 0) NOT VALID;
-- undo: ALTER TABLE public.measures DROP CONSTRAINT c
-- file: validate_c
ALTER TABLE public.measures VALIDATE CONSTRAINT c;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.measures'::pg_catalog.regclass AND conname = 'c'
-- form: constraint-missing-not-valid 5
-- file: 
ALTER TABLE customers ADD COLUMN age int;
-- undo: ALTER TABLE public.customers DROP COLUMN age
-- file: add_c
ALTER TABLE public.customers ADD CONSTRAINT c CHECK (age > 0) NOT VALID;
-- undo: ALTER TABLE public.customers DROP CONSTRAINT c
-- file: validate_c
ALTER TABLE public.customers VALIDATE CONSTRAINT c;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.customers'::pg_catalog.regclass AND conname = 'c'
-- form: adding-foreign-key-constraint 1
-- file: add_f
ALTER TABLE public.orders ADD CONSTRAINT f FOREIGN KEY (customer_id) REFERENCES customers NOT VALID;
-- undo: ALTER TABLE public.orders DROP CONSTRAINT f
-- file: validate_f
ALTER TABLE public.orders VALIDATE CONSTRAINT f;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.orders'::pg_catalog.regclass AND conname = 'f'
-- form: adding-foreign-key-constraint 2
-- file: add_orders_customer_id_fkey
ALTER TABLE public.orders ADD CONSTRAINT orders_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customers (id) ON DELETE CASCADE NOT VALID;
-- undo: ALTER TABLE public.orders DROP CONSTRAINT orders_customer_id_fkey
-- file: validate_orders_customer_id_fkey
ALTER TABLE public.orders VALIDATE CONSTRAINT orders_customer_id_fkey;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.orders'::pg_catalog.regclass AND conname = 'orders_customer_id_fkey'
-- form: adding-foreign-key-constraint 3
-- file: add_f
ALTER TABLE public.invoices ADD CONSTRAINT f FOREIGN KEY (id) REFERENCES archive.orders NOT VALID;
-- undo: ALTER TABLE public.invoices DROP CONSTRAINT f
-- file: validate_f
ALTER TABLE public.invoices VALIDATE CONSTRAINT f;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.invoices'::pg_catalog.regclass AND conname = 'f'
-- file: invoices_id_idx
CREATE INDEX CONCURRENTLY invoices_id_idx ON public.invoices (id);
-- undo: DROP INDEX CONCURRENTLY public.invoices_id_idx
-- verify: SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'public.invoices_id_idx'::pg_catalog.regclass
-- form: disallowed-unique-constraint 1
-- file: build_u
CREATE UNIQUE INDEX CONCURRENTLY u ON public.orders (status);
-- undo: DROP INDEX CONCURRENTLY IF EXISTS public.u
-- verify: SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'public.u'::pg_catalog.regclass
-- file: add_u
ALTER TABLE public.orders ADD CONSTRAINT u UNIQUE USING INDEX u;
-- undo: ALTER TABLE public.orders DROP CONSTRAINT u
-- form: disallowed-unique-constraint 2
-- file: 
ALTER TABLE customers ADD COLUMN phone text;
-- undo: ALTER TABLE public.customers DROP COLUMN phone
-- file: build_customers_email_key
CREATE UNIQUE INDEX CONCURRENTLY customers_email_key ON public.customers (email);
-- undo: DROP INDEX CONCURRENTLY IF EXISTS public.customers_email_key
-- verify: SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'public.customers_email_key'::pg_catalog.regclass
-- file: add_customers_email_key
ALTER TABLE public.customers ADD CONSTRAINT customers_email_key UNIQUE USING INDEX customers_email_key;
-- undo: ALTER TABLE public.customers DROP CONSTRAINT customers_email_key
-- form: disallowed-unique-constraint 3
-- file: build_u
CREATE UNIQUE INDEX CONCURRENTLY u ON archive.orders (code);
-- undo: DROP INDEX CONCURRENTLY IF EXISTS archive.u
-- verify: SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'archive.u'::pg_catalog.regclass
-- file: add_u
ALTER TABLE archive.orders ADD CONSTRAINT u UNIQUE USING INDEX u DEFERRABLE;
-- undo: ALTER TABLE archive.orders DROP CONSTRAINT u
-- form: adding-serial-primary-key-field 1
-- file: add_invoices_id_not_null
ALTER TABLE public.invoices ADD CONSTRAINT invoices_id_not_null CHECK (id IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.invoices DROP CONSTRAINT invoices_id_not_null
-- file: validate_invoices_id_not_null
ALTER TABLE public.invoices VALIDATE CONSTRAINT invoices_id_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.invoices'::pg_catalog.regclass AND conname = 'invoices_id_not_null'
-- file: set_id_not_null
ALTER TABLE public.invoices ALTER COLUMN id SET NOT NULL;
ALTER TABLE public.invoices DROP CONSTRAINT invoices_id_not_null;
-- undo: ALTER TABLE public.invoices ALTER COLUMN id DROP NOT NULL
-- undo: ALTER TABLE public.invoices ADD CONSTRAINT invoices_id_not_null CHECK (id IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.invoices'::pg_catalog.regclass AND attname = 'id'
-- file: build_invoices_pkey
CREATE UNIQUE INDEX CONCURRENTLY invoices_pkey ON public.invoices (id);
-- undo: DROP INDEX CONCURRENTLY IF EXISTS public.invoices_pkey
-- verify: SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'public.invoices_pkey'::pg_catalog.regclass
-- file: add_invoices_pkey
ALTER TABLE public.invoices ADD CONSTRAINT invoices_pkey PRIMARY KEY USING INDEX invoices_pkey;
-- undo: ALTER TABLE public.invoices DROP CONSTRAINT invoices_pkey
-- form: adding-serial-primary-key-field 2
-- file: add_events_old_id_not_null
ALTER TABLE public.events_old ADD CONSTRAINT events_old_id_not_null CHECK (id IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.events_old DROP CONSTRAINT events_old_id_not_null
-- file: validate_events_old_id_not_null
ALTER TABLE public.events_old VALIDATE CONSTRAINT events_old_id_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.events_old'::pg_catalog.regclass AND conname = 'events_old_id_not_null'
-- file: set_id_not_null
ALTER TABLE public.events_old ALTER COLUMN id SET NOT NULL;
ALTER TABLE public.events_old DROP CONSTRAINT events_old_id_not_null;
-- undo: ALTER TABLE public.events_old ALTER COLUMN id DROP NOT NULL
-- undo: ALTER TABLE public.events_old ADD CONSTRAINT events_old_id_not_null CHECK (id IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.events_old'::pg_catalog.regclass AND attname = 'id'
-- file: build_pk
CREATE UNIQUE INDEX CONCURRENTLY pk ON public.events_old (id);
-- undo: DROP INDEX CONCURRENTLY IF EXISTS public.pk
-- verify: SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = 'public.pk'::pg_catalog.regclass
-- file: add_pk
ALTER TABLE public.events_old ADD CONSTRAINT pk PRIMARY KEY USING INDEX pk;
-- undo: ALTER TABLE public.events_old DROP CONSTRAINT pk
-- form: primary-key-scan 1
-- file: 
ALTER TABLE orders DROP CONSTRAINT orders_pkey;
-- undo: -- undone by its author
-- file: add_orders_customer_id_not_null
ALTER TABLE public.orders ADD CONSTRAINT orders_customer_id_not_null CHECK (customer_id IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.orders DROP CONSTRAINT orders_customer_id_not_null
-- file: validate_orders_customer_id_not_null
ALTER TABLE public.orders VALIDATE CONSTRAINT orders_customer_id_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.orders'::pg_catalog.regclass AND conname = 'orders_customer_id_not_null'
-- file: set_customer_id_not_null
ALTER TABLE public.orders ALTER COLUMN customer_id SET NOT NULL;
ALTER TABLE public.orders DROP CONSTRAINT orders_customer_id_not_null;
-- undo: ALTER TABLE public.orders ALTER COLUMN customer_id DROP NOT NULL
-- undo: ALTER TABLE public.orders ADD CONSTRAINT orders_customer_id_not_null CHECK (customer_id IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.orders'::pg_catalog.regclass AND attname = 'customer_id'
-- file: add_pk
ALTER TABLE orders ADD CONSTRAINT pk PRIMARY KEY USING INDEX orders_customer;
-- undo: ALTER TABLE public.orders DROP CONSTRAINT pk
-- undo: CREATE UNIQUE INDEX orders_customer ON orders USING btree (customer_id)
-- form: primary-key-scan 2
-- file: add_invoices_id_not_null
ALTER TABLE public.invoices ADD CONSTRAINT invoices_id_not_null CHECK (id IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.invoices DROP CONSTRAINT invoices_id_not_null
-- file: validate_invoices_id_not_null
ALTER TABLE public.invoices VALIDATE CONSTRAINT invoices_id_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.invoices'::pg_catalog.regclass AND conname = 'invoices_id_not_null'
-- file: set_id_not_null
ALTER TABLE public.invoices ALTER COLUMN id SET NOT NULL;
ALTER TABLE public.invoices DROP CONSTRAINT invoices_id_not_null;
-- undo: ALTER TABLE public.invoices ALTER COLUMN id DROP NOT NULL
-- undo: ALTER TABLE public.invoices ADD CONSTRAINT invoices_id_not_null CHECK (id IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.invoices'::pg_catalog.regclass AND attname = 'id'
-- file: add_pk
ALTER TABLE invoices ADD CONSTRAINT pk PRIMARY KEY USING INDEX invoices_id;
-- undo: ALTER TABLE public.invoices DROP CONSTRAINT pk
-- undo: CREATE UNIQUE INDEX CONCURRENTLY invoices_id ON invoices USING btree (id)
-- form: add-column-check 1
-- file: add_x
ALTER TABLE orders ADD COLUMN x int;
-- undo: ALTER TABLE public.orders DROP COLUMN x
-- file: add_orders_x_check
ALTER TABLE public.orders ADD CONSTRAINT orders_x_check CHECK (x > 0) NOT VALID;
-- undo: ALTER TABLE public.orders DROP CONSTRAINT orders_x_check
-- file: validate_orders_x_check
ALTER TABLE public.orders VALIDATE CONSTRAINT orders_x_check;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.orders'::pg_catalog.regclass AND conname = 'orders_x_check'
-- form: add-column-check 2
-- file: add_x
ALTER TABLE customers ADD COLUMN x int DEFAULT 1;
-- undo: ALTER TABLE public.customers DROP COLUMN x
-- file: add_c
ALTER TABLE public.customers ADD CONSTRAINT c CHECK (x > 0) NOT VALID;
-- undo: ALTER TABLE public.customers DROP CONSTRAINT c
-- file: validate_c
ALTER TABLE public.customers VALIDATE CONSTRAINT c;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.customers'::pg_catalog.regclass AND conname = 'c'
-- form: add-serial 1
-- file: add_x
CREATE SEQUENCE public.orders_x_seq AS bigint;
ALTER TABLE orders ADD COLUMN x bigint;
ALTER TABLE public.orders ALTER COLUMN x SET DEFAULT nextval('public.orders_x_seq'::regclass);
ALTER SEQUENCE public.orders_x_seq OWNED BY public.orders.x;
-- undo: ALTER TABLE public.orders DROP COLUMN x
-- file: fill_x
-- windlass: backfill table=public.orders
UPDATE public.orders SET x = nextval('public.orders_x_seq'::regclass) WHERE x IS NULL;
-- undo: SELECT 1
-- file: add_orders_x_not_null
ALTER TABLE public.orders ADD CONSTRAINT orders_x_not_null CHECK (x IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.orders DROP CONSTRAINT orders_x_not_null
-- file: validate_orders_x_not_null
ALTER TABLE public.orders VALIDATE CONSTRAINT orders_x_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.orders'::pg_catalog.regclass AND conname = 'orders_x_not_null'
-- file: set_x_not_null
ALTER TABLE public.orders ALTER COLUMN x SET NOT NULL;
ALTER TABLE public.orders DROP CONSTRAINT orders_x_not_null;
-- undo: ALTER TABLE public.orders ALTER COLUMN x DROP NOT NULL
-- undo: ALTER TABLE public.orders ADD CONSTRAINT orders_x_not_null CHECK (x IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.orders'::pg_catalog.regclass AND attname = 'x'
-- form: add-serial 2
-- file: add_x
CREATE SEQUENCE public.customers_x_seq AS integer;
ALTER TABLE customers ADD COLUMN x int;
ALTER TABLE public.customers ALTER COLUMN x SET DEFAULT nextval('public.customers_x_seq'::regclass);
ALTER SEQUENCE public.customers_x_seq OWNED BY public.customers.x;
-- undo: ALTER TABLE public.customers DROP COLUMN x
-- file: fill_x
-- windlass: backfill table=public.customers
UPDATE public.customers SET x = nextval('public.customers_x_seq'::regclass) WHERE x IS NULL;
-- undo: SELECT 1
-- file: add_customers_x_not_null
ALTER TABLE public.customers ADD CONSTRAINT customers_x_not_null CHECK (x IS NOT NULL) NOT VALID;
-- undo: ALTER TABLE public.customers DROP CONSTRAINT customers_x_not_null
-- file: validate_customers_x_not_null
ALTER TABLE public.customers VALIDATE CONSTRAINT customers_x_not_null;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.customers'::pg_catalog.regclass AND conname = 'customers_x_not_null'
-- file: set_x_not_null
ALTER TABLE public.customers ALTER COLUMN x SET NOT NULL;
ALTER TABLE public.customers DROP CONSTRAINT customers_x_not_null;
-- undo: ALTER TABLE public.customers ALTER COLUMN x DROP NOT NULL
-- undo: ALTER TABLE public.customers ADD CONSTRAINT customers_x_not_null CHECK (x IS NOT NULL) NOT VALID
-- verify: SELECT attnotnull FROM pg_catalog.pg_attribute WHERE attrelid = 'public.customers'::pg_catalog.regclass AND attname = 'x'
-- form: volatile-default 1
-- file: add_x
ALTER TABLE orders ADD COLUMN x double precision;
ALTER TABLE public.orders ALTER COLUMN x SET DEFAULT random();
-- undo: ALTER TABLE public.orders DROP COLUMN x
-- file: fill_x
-- windlass: backfill table=public.orders
UPDATE public.orders SET x = random() WHERE x IS NULL;
-- undo: SELECT 1
-- form: volatile-default 2
-- file: add_x
ALTER TABLE orders ADD COLUMN x timestamptz;
ALTER TABLE public.orders ALTER COLUMN x SET DEFAULT clock_timestamp();
-- undo: ALTER TABLE public.orders DROP COLUMN x
-- file: fill_x
-- windlass: backfill table=public.orders
UPDATE public.orders SET x = clock_timestamp() WHERE x IS NULL;
-- undo: SELECT 1
-- form: volatile-default 3
-- file: add_x
ALTER TABLE orders ADD COLUMN x int;
ALTER TABLE public.orders ALTER COLUMN x SET DEFAULT mine();
-- undo: ALTER TABLE public.orders DROP COLUMN x
-- file: fill_x
-- windlass: backfill table=public.orders
UPDATE public.orders SET x = mine() WHERE x IS NULL;
-- undo: SELECT 1
-- form: volatile-default 4
-- file: add_x
ALTER TABLE orders ADD COLUMN x int;
ALTER TABLE public.orders ALTER COLUMN x SET DEFAULT nextval('numbers');
-- undo: ALTER TABLE public.orders DROP COLUMN x
-- file: fill_x
-- windlass: backfill table=public.orders
UPDATE public.orders SET x = nextval('numbers') WHERE x IS NULL;
-- undo: SELECT 1
-- form: volatile-default 5
-- file: add_x
ALTER TABLE orders ADD COLUMN x int;
ALTER TABLE public.orders ALTER COLUMN x SET DEFAULT archive.steady();
-- undo: ALTER TABLE public.orders DROP COLUMN x
-- file: fill_x
-- windlass: backfill table=public.orders
UPDATE public.orders SET x = archive.steady() WHERE x IS NULL;
-- undo: SELECT 1
-- form: volatile-default 6
-- file: add_x
ALTER TABLE orders ADD COLUMN x text;
ALTER TABLE public.orders ALTER COLUMN x SET DEFAULT token();
-- undo: ALTER TABLE public.orders DROP COLUMN x
-- file: fill_x
-- windlass: backfill table=public.orders
UPDATE public.orders SET x = token() WHERE x IS NULL;
-- undo: SELECT 1
-- form: attach-scan 1
-- file: add_measures_raw_bound
ALTER TABLE public.measures_raw ADD CONSTRAINT measures_raw_bound CHECK (day IS NOT NULL AND day >= '2026-06-01' AND day < '2026-07-01') NOT VALID;
-- undo: ALTER TABLE public.measures_raw DROP CONSTRAINT measures_raw_bound
-- file: validate_measures_raw_bound
ALTER TABLE public.measures_raw VALIDATE CONSTRAINT measures_raw_bound;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.measures_raw'::pg_catalog.regclass AND conname = 'measures_raw_bound'
-- file: attach_measures_raw
ALTER TABLE public.measures ATTACH PARTITION public.measures_raw FOR VALUES FROM ('2026-06-01') TO ('2026-07-01');
ALTER TABLE public.measures_raw DROP CONSTRAINT measures_raw_bound;
-- undo: ALTER TABLE public.measures DETACH PARTITION public.measures_raw
-- undo: ALTER TABLE public.measures_raw ADD CONSTRAINT measures_raw_bound CHECK (day IS NOT NULL AND day >= '2026-06-01' AND day < '2026-07-01') NOT VALID
-- verify: SELECT relispartition FROM pg_catalog.pg_class WHERE oid = 'public.measures_raw'::pg_catalog.regclass
-- form: attach-scan 2
-- file: add_measures_2_bound
ALTER TABLE public.measures_2 ADD CONSTRAINT measures_2_bound CHECK (day IS NOT NULL AND day >= '2026-02-01' AND day < '2026-02-15') NOT VALID;
-- undo: ALTER TABLE public.measures_2 DROP CONSTRAINT measures_2_bound
-- file: validate_measures_2_bound
ALTER TABLE public.measures_2 VALIDATE CONSTRAINT measures_2_bound;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.measures_2'::pg_catalog.regclass AND conname = 'measures_2_bound'
-- file: attach_measures_2
ALTER TABLE public.measures ATTACH PARTITION public.measures_2 FOR VALUES FROM ('2026-02-01') TO ('2026-02-15');
ALTER TABLE public.measures_2 DROP CONSTRAINT measures_2_bound;
-- undo: ALTER TABLE public.measures DETACH PARTITION public.measures_2
-- undo: ALTER TABLE public.measures_2 ADD CONSTRAINT measures_2_bound CHECK (day IS NOT NULL AND day >= '2026-02-01' AND day < '2026-02-15') NOT VALID
-- verify: SELECT relispartition FROM pg_catalog.pg_class WHERE oid = 'public.measures_2'::pg_catalog.regclass
-- form: attach-scan 3
-- file: add_measures_4_bound
ALTER TABLE public.measures_4 ADD CONSTRAINT measures_4_bound CHECK (day IS NOT NULL AND day >= '2026-04-01' AND day < '2026-05-01') NOT VALID;
-- undo: ALTER TABLE public.measures_4 DROP CONSTRAINT measures_4_bound
-- file: validate_measures_4_bound
ALTER TABLE public.measures_4 VALIDATE CONSTRAINT measures_4_bound;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.measures_4'::pg_catalog.regclass AND conname = 'measures_4_bound'
-- file: attach_measures_4
ALTER TABLE public.measures ATTACH PARTITION public.measures_4 FOR VALUES FROM ('2026-04-01') TO ('2026-05-01');
ALTER TABLE public.measures_4 DROP CONSTRAINT measures_4_bound;
-- undo: ALTER TABLE public.measures DETACH PARTITION public.measures_4
-- undo: ALTER TABLE public.measures_4 ADD CONSTRAINT measures_4_bound CHECK (day IS NOT NULL AND day >= '2026-04-01' AND day < '2026-05-01') NOT VALID
-- verify: SELECT relispartition FROM pg_catalog.pg_class WHERE oid = 'public.measures_4'::pg_catalog.regclass
-- form: attach-scan 4
-- file: add_measures_3_bound
ALTER TABLE public.measures_3 ADD CONSTRAINT measures_3_bound CHECK (day IS NOT NULL AND day >= '2026-03-01' AND day < '2026-03-20') NOT VALID;
-- undo: ALTER TABLE public.measures_3 DROP CONSTRAINT measures_3_bound
-- file: validate_measures_3_bound
ALTER TABLE public.measures_3 VALIDATE CONSTRAINT measures_3_bound;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.measures_3'::pg_catalog.regclass AND conname = 'measures_3_bound'
-- file: attach_measures_3
ALTER TABLE public.measures ATTACH PARTITION public.measures_3 FOR VALUES FROM ('2026-03-01') TO ('2026-03-20');
ALTER TABLE public.measures_3 DROP CONSTRAINT measures_3_bound;
-- undo: ALTER TABLE public.measures DETACH PARTITION public.measures_3
-- undo: ALTER TABLE public.measures_3 ADD CONSTRAINT measures_3_bound CHECK (day IS NOT NULL AND day >= '2026-03-01' AND day < '2026-03-20') NOT VALID
-- verify: SELECT relispartition FROM pg_catalog.pg_class WHERE oid = 'public.measures_3'::pg_catalog.regclass
-- form: attach-scan 5
-- file: add_kinds_d_bound
ALTER TABLE public.kinds_d ADD CONSTRAINT kinds_d_bound CHECK (kind IS NOT NULL AND kind IN ('d')) NOT VALID;
-- undo: ALTER TABLE public.kinds_d DROP CONSTRAINT kinds_d_bound
-- file: validate_kinds_d_bound
ALTER TABLE public.kinds_d VALIDATE CONSTRAINT kinds_d_bound;
-- undo: SELECT 1
-- verify: SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = 'public.kinds_d'::pg_catalog.regclass AND conname = 'kinds_d_bound'
-- file: attach_kinds_d
ALTER TABLE public.kinds ATTACH PARTITION public.kinds_d FOR VALUES IN ('d');
ALTER TABLE public.kinds_d DROP CONSTRAINT kinds_d_bound;
-- undo: ALTER TABLE public.kinds DETACH PARTITION public.kinds_d
-- undo: ALTER TABLE public.kinds_d ADD CONSTRAINT kinds_d_bound CHECK (kind IS NOT NULL AND kind IN ('d')) NOT VALID
-- verify: SELECT relispartition FROM pg_catalog.pg_class WHERE oid = 'public.kinds_d'::pg_catalog.regclass
-- form: partition-of 1
-- file: create_measures_9
CREATE TABLE public.measures_9 (LIKE public.measures INCLUDING ALL);
-- undo: DROP TABLE public.measures_9
-- file: attach_measures_9
ALTER TABLE public.measures ATTACH PARTITION public.measures_9 FOR VALUES FROM ('2026-09-01') TO ('2026-10-01');
-- undo: ALTER TABLE public.measures DETACH PARTITION public.measures_9
-- verify: SELECT relispartition FROM pg_catalog.pg_class WHERE oid = 'public.measures_9'::pg_catalog.regclass
-- form: partition-of 2
-- file: create_kinds_z
CREATE TABLE public.kinds_z (LIKE public.kinds INCLUDING ALL);
-- undo: DROP TABLE public.kinds_z
-- file: attach_kinds_z
ALTER TABLE public.kinds ATTACH PARTITION public.kinds_z FOR VALUES IN ('z');
-- undo: ALTER TABLE public.kinds DETACH PARTITION public.kinds_z
-- verify: SELECT relispartition FROM pg_catalog.pg_class WHERE oid = 'public.kinds_z'::pg_catalog.regclass
-- form: refresh-locks 1
-- file: refresh
REFRESH MATERIALIZED VIEW CONCURRENTLY totals;
-- undo: SELECT 1
-- form: every-row 1
-- file: backfill_orders
-- windlass: backfill table=orders
update orders set status = 'open';
-- undo: -- undone by its author
-- form: every-row 2
-- file: backfill_orders
-- windlass: backfill table=orders
update orders set status = 'open' where true;
-- undo: -- undone by its author
-- form: every-row 3
-- file: backfill_orders
-- windlass: backfill table=orders
update orders set status = 'open' where 1 = 1;
-- undo: -- undone by its author
-- form: every-row 4
-- file: backfill_orders
-- windlass: backfill table=orders
update orders set status = 'open' where id = id;
-- undo: -- undone by its author
-- form: every-row 5
-- file: backfill_orders
-- windlass: backfill table=orders
update orders set status = 'open' where id is not null;
-- undo: -- undone by its author
-- form: every-row 6
-- file: backfill_orders
-- windlass: backfill table=orders
update orders o set status = 'open' where o.made is not null or o.status = 'x';
-- undo: -- undone by its author
-- form: every-row 7
-- file: backfill_orders
-- windlass: backfill table=orders
update orders set note = c.name from customers c where c.id = orders.customer_id;
-- undo: -- undone by its author
-- form: every-row 8
-- file: backfill_orders
-- windlass: backfill table=orders
update orders o set note = c.name from customers as c where o.customer_id = c.id and true;
-- undo: -- undone by its author
-- form: every-row 9
-- file: backfill_orders
-- windlass: backfill table=archive.orders
delete from archive.orders;
-- undo: -- undone by its author
-- form: every-row 10
-- file: backfill_orders
-- windlass: backfill table=orders
delete from orders where true and not false;
-- undo: -- undone by its author
-- form: every-row 11
-- file: backfill_orders
-- windlass: backfill table=orders
delete from orders using customers c where c.id = orders.customer_id;
-- undo: -- undone by its author
-- form: every-row 12
-- file: backfill_orders
-- windlass: backfill table=orders
delete from orders;
-- undo: -- undone by its author
