package sqlitestore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"os"

	sqlite3 "modernc.org/sqlite/lib"

	"codexgateway.dev/pkg/docstore"
)

const (
	// queueLength is how many commits wait for the writer; the next one waits
	// for a place until its context ends.
	queueLength = 1024
	// maxBatch and maxBatchBytes bound one SQLite transaction: what one commit
	// waits for at most, and how much may lie in the write-ahead log unsynced.
	maxBatch      = 256
	maxBatchBytes = 4 << 20
	// versionKey is the row of meta that holds the next version nobody reserved.
	versionKey = "next_version"
	// versionBlock is how many versions the writer reserves at once. What it has
	// not used when the process ends is skipped.
	versionBlock = 1 << 20
	// walKeep is what SQLite shortens the write-ahead log's file to when it
	// starts it over. walLimit is the size at which the writer makes it do so:
	// with readers that always overlap SQLite never finds the moment by itself.
	walKeep  = 8 << 20
	walLimit = 32 << 20
)

// writer owns the one connection that writes. Everything but queue and done is
// its goroutine's alone.
type writer struct {
	db     *sql.DB
	path   string
	tables map[string]*table
	log    *slog.Logger
	queue  chan *request
	done   chan struct{}

	conn  *sql.Conn
	stmts map[string]*sql.Stmt // by text
	// versions from next up to limit are reserved.
	next, limit int64
	walMax      int64
	// walNext is the size of the write-ahead log at which to try again.
	walNext int64
}

func newWriter(db *sql.DB, path string, tables map[string]*table, log *slog.Logger, walMax int64) *writer {
	return &writer{
		db: db, path: path, tables: tables, log: log, walMax: walMax, walNext: walMax,
		queue: make(chan *request, queueLength),
		done:  make(chan struct{}),
	}
}

const (
	sqlBegin     = "BEGIN IMMEDIATE"
	sqlCommit    = "COMMIT"
	sqlRollback  = "ROLLBACK"
	sqlSavepoint = "SAVEPOINT one"
	sqlRelease   = "RELEASE one"
	sqlUndo      = "ROLLBACK TO one"
	sqlReserve   = "UPDATE meta SET value = value + ? WHERE key = '" + versionKey + "' RETURNING value"
)

// connect takes the connection and prepares every statement on it.
func (w *writer) connect(ctx context.Context) error {
	conn, err := w.db.Conn(ctx)
	if err != nil {
		return err
	}
	texts := []string{sqlBegin, sqlCommit, sqlRollback, sqlSavepoint, sqlRelease, sqlUndo, sqlReserve}
	for _, t := range w.tables {
		texts = append(texts, t.insert, t.update, t.remove)
	}
	w.conn, w.stmts = conn, make(map[string]*sql.Stmt, len(texts))
	for _, text := range texts {
		stmt, err := conn.PrepareContext(ctx, text)
		if err != nil {
			w.drop()
			return err
		}
		w.stmts[text] = stmt
	}
	return nil
}

// drop closes the connection for good, and with it any transaction; the next
// batch takes a new one. The statements go first: SQLite keeps a connection,
// its locks included, until the last statement on it is closed, and database/sql
// does not close those of a single connection.
func (w *writer) drop() {
	if w.conn == nil {
		return
	}
	for _, stmt := range w.stmts {
		_ = stmt.Close() // repeats the last error of the statement
	}
	// ErrBadConn keeps the pool from handing out the same connection again.
	_ = w.conn.Raw(func(any) error { return driver.ErrBadConn })
	w.conn, w.stmts = nil, nil
}

// run applies commits until the queue is closed: it takes whatever waits, up to
// the bounds of a batch, and never waits for more.
func (w *writer) run() {
	defer close(w.done)
	var first *request
	batch := make([]*request, 0, maxBatch)
	for {
		if first == nil {
			var ok bool
			if first, ok = <-w.queue; !ok {
				return
			}
		}
		batch, first = w.fill(append(batch[:0], first))
		w.apply(batch)
		clear(batch)
		w.shortenWAL()
	}
}

// fill adds what waits; a request too large for this batch is carried over.
func (w *writer) fill(batch []*request) (_ []*request, carry *request) {
	size := batch[0].bytes
	for len(batch) < maxBatch {
		select {
		case r, ok := <-w.queue:
			if !ok {
				return batch, nil
			}
			if size += r.bytes; size > maxBatchBytes {
				return batch, r
			}
			batch = append(batch, r)
		default:
			return batch, nil
		}
	}
	return batch, nil
}

// apply answers every request of the batch that its caller has not given up.
func (w *writer) apply(batch []*request) {
	live := batch[:0]
	for _, r := range batch {
		if r.state.CompareAndSwap(queued, taken) {
			live = append(live, r)
		}
	}
	if len(live) == 0 {
		return
	}
	err := w.transact(live)
	// One commit may be the reason that all fail, such as the one that no longer
	// fits on the disk: then each goes alone. Not after an I/O error at the end,
	// which may have left them applied.
	if len(live) > 1 && err != nil && !errors.Is(err, errUnknown) {
		for _, r := range live {
			w.answer(r, w.transact([]*request{r}))
		}
		return
	}
	for _, r := range live {
		w.answer(r, err)
	}
}

func (w *writer) answer(r *request, err error) {
	if err != nil {
		r.versions, r.err = nil, fmt.Errorf("sqlite commit: %w", translate(w.path, err))
	}
	close(r.done)
}

// errUnknown marks a failure after which the commits may be on the disk.
var errUnknown = errors.New("the transaction may have been applied")

// transact runs the requests in one SQLite transaction. An error means that
// none was applied, unless it is errUnknown; the answers of requests whose
// preconditions failed are in them.
//
// There is no context: a statement cut short would fail commits of others.
func (w *writer) transact(live []*request) error {
	ctx := context.Background()
	if w.conn == nil {
		if err := w.connect(ctx); err != nil {
			return err
		}
	}
	if err := w.reserve(ctx, live); err != nil {
		return err
	}
	if err := w.exec(ctx, sqlBegin); err != nil {
		w.lost(ctx, err)
		return err
	}
	for _, r := range live {
		if err := w.write(ctx, r); err != nil {
			w.rollback(ctx)
			return err
		}
	}
	if err := w.exec(ctx, sqlCommit); err != nil {
		w.rollback(ctx)
		if !errors.Is(translate(w.path, err), docstore.ErrFull) {
			err = fmt.Errorf("%w: %w", errUnknown, err)
		}
		return err
	}
	return nil
}

// rollback ends a failed transaction. ROLLBACK fails where SQLite has ended the
// transaction by itself, which is as good; after any other failure only a new
// connection is sure to be clean.
func (w *writer) rollback(ctx context.Context) {
	if err := w.exec(ctx, sqlRollback); err != nil && code(err) != sqlite3.SQLITE_ERROR {
		w.lost(ctx, err)
	}
}

func (w *writer) lost(ctx context.Context, err error) {
	w.log.LogAttrs(ctx, slog.LevelWarn, "docstore_writer_reconnect", slog.Any("error", err))
	w.drop()
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

// shortenWAL starts the write-ahead log over once it is too long. It waits
// shortly for the readers of the moment; new ones already read from the file.
func (w *writer) shortenWAL() {
	info, err := os.Stat(w.path + "-wal")
	if err != nil || info.Size() < w.walNext || w.conn == nil {
		return
	}
	ctx := context.Background()
	var busy, pages, copied int
	_, err = w.conn.ExecContext(ctx, "PRAGMA busy_timeout = 100")
	if err == nil {
		err = w.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &copied)
	}
	_, restoreErr := w.conn.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", busyTimeout.Milliseconds()))
	if err = errors.Join(err, restoreErr); err == nil && busy == 0 {
		w.walNext = w.walMax
		return
	}
	// A reader that stays would make every commit wait: try again a good way on.
	w.walNext = info.Size() + w.walMax/4
	w.log.LogAttrs(ctx, slog.LevelWarn, "docstore_wal_not_shortened",
		slog.Int64("wal_bytes", info.Size()), slog.Any("error", err))
}

// close applies what is queued, then closes the connection. Nobody may send to
// the queue any more.
func (w *writer) close() error {
	close(w.queue)
	<-w.done
	w.drop()
	return w.db.Close()
}
