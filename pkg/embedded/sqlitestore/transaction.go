package sqlitestore

import (
	"context"
	"fmt"

	sqlite3 "modernc.org/sqlite/lib"

	"codexgateway.dev/pkg/docstore"
)

const (
	// versionKey is the row of meta that holds the next version nobody reserved.
	versionKey = "next_version"
	// versionBlock is how many versions the writer reserves at once. What it has
	// not used when the process ends is skipped.
	versionBlock = 1 << 20
)

const (
	sqlBegin     = "BEGIN IMMEDIATE"
	sqlCommit    = "COMMIT"
	sqlRollback  = "ROLLBACK"
	sqlSavepoint = "SAVEPOINT one"
	sqlRelease   = "RELEASE one"
	sqlUndo      = "ROLLBACK TO one"
	sqlReserve   = "UPDATE meta SET value = value + ? WHERE key = '" + versionKey + "' RETURNING value"
)

// transact runs the requests in one SQLite transaction. The answers of requests
// whose preconditions failed are in them. After an error none was applied, but
// for one of COMMIT itself, after which that is unknown: an I/O error may come
// when the log is already on the disk. alone says that one of the requests may
// be the cause, so that the others can go without it.
//
// There is no context: a statement cut short would fail commits of others.
func (w *writer) transact(live []*request) (alone bool, err error) {
	ctx := context.Background()
	if w.conn == nil {
		if err := w.connect(ctx); err != nil {
			return false, err
		}
	}
	if err := w.reserve(ctx, live); err != nil {
		return false, err
	}
	if err := w.exec(ctx, sqlBegin); err != nil {
		if code(err) != sqlite3.SQLITE_BUSY { // another process writes: nothing is wrong here
			w.lost(ctx, err)
		}
		return false, err
	}
	for _, r := range live {
		if err := w.write(ctx, r); err != nil {
			w.rollback(ctx)
			return true, err
		}
	}
	if err := w.exec(ctx, sqlCommit); err != nil {
		w.rollback(ctx)
		return code(err) == sqlite3.SQLITE_FULL, err
	}
	return false, nil
}

// rollback ends a failed transaction. ROLLBACK fails where SQLite has ended the
// transaction by itself, which is as good; after any other failure only a new
// connection is sure to be clean.
func (w *writer) rollback(ctx context.Context) {
	if err := w.exec(ctx, sqlRollback); err != nil && code(err) != sqlite3.SQLITE_ERROR {
		w.lost(ctx, err)
	}
}

// write applies one commit within the transaction. An error is the
// transaction's; a failed precondition is the request's own answer.
func (w *writer) write(ctx context.Context, r *request) error {
	r.versions, r.err = make([]docstore.Version, len(r.writes)), nil
	// A single write that fails leaves nothing to take back.
	nested := len(r.writes) > 1
	if nested {
		if err := w.exec(ctx, sqlSavepoint); err != nil {
			return err
		}
	}
	for i := range r.writes {
		m := &r.writes[i]
		held, err := w.mutate(ctx, m, &r.versions[i])
		if err != nil {
			return err
		}
		if !held {
			r.versions = nil
			r.err = fmt.Errorf("sqlite commit: %w", &docstore.ConflictError{Key: m.key, Index: i})
			if nested {
				if err := w.exec(ctx, sqlUndo); err != nil {
					return err
				}
			}
			break
		}
	}
	if nested {
		return w.exec(ctx, sqlRelease)
	}
	return nil
}

// mutate runs one write and reports whether its precondition held, which is
// whether it changed a row.
func (w *writer) mutate(ctx context.Context, m *mutation, version *docstore.Version) (bool, error) {
	t := w.tables[m.key.Collection]
	text := t.remove
	if m.op != docstore.Delete {
		if text = t.update; m.op == docstore.Create {
			text = t.insert
		}
		*version = docstore.Version(w.next)
		m.args[0] = w.next
		w.next++
	}
	result, err := w.stmts[text].ExecContext(ctx, m.args...)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// reserve makes sure that there are versions for every write, in a transaction
// of its own: one that was rolled back with a batch could be given out twice.
func (w *writer) reserve(ctx context.Context, live []*request) error {
	need := int64(0)
	for _, r := range live {
		need += int64(len(r.writes))
	}
	if w.next+need <= w.limit {
		return nil
	}
	var limit int64
	if err := w.stmts[sqlReserve].QueryRowContext(ctx, versionBlock).Scan(&limit); err != nil {
		return err
	}
	w.next, w.limit = limit-versionBlock, limit
	return nil
}

func (w *writer) exec(ctx context.Context, text string) error {
	_, err := w.stmts[text].ExecContext(ctx)
	return err
}
