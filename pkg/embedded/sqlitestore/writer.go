package sqlitestore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"log/slog"
)

const (
	// queueLength is how many commits wait for the writer; the next one waits
	// for a place until its context ends.
	queueLength = 1024
	// maxBatch and maxBatchBytes bound one SQLite transaction: what one commit
	// waits for at most, and how much may lie in the write-ahead log unsynced.
	maxBatch      = 256
	maxBatchBytes = 4 << 20
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
	wal         walLimits
	// walNext is the size of the write-ahead log at which to try again.
	walNext int64
}

func newWriter(db *sql.DB, path string, tables map[string]*table, log *slog.Logger, wal walLimits) *writer {
	return &writer{
		db: db, path: path, tables: tables, log: log, wal: wal, walNext: wal.size,
		queue: make(chan *request, queueLength),
		done:  make(chan struct{}),
	}
}

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

// lost drops a connection that is in no known state.
func (w *writer) lost(ctx context.Context, err error) {
	w.log.LogAttrs(ctx, slog.LevelWarn, "docstore_writer_reconnect", slog.Any("error", err))
	w.drop()
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
	alone, err := w.transact(live)
	if alone && len(live) > 1 {
		w.applyAlone(live)
		return
	}
	answer(w.path, live, err)
}

// applyAlone gives each request a transaction of its own: one of them made all
// fail, such as the one that no longer fits on the disk. It stops at an error
// that is none of theirs, for each could wait as long for the same.
func (w *writer) applyAlone(live []*request) {
	for i, r := range live {
		alone, err := w.transact([]*request{r})
		if err != nil && !alone {
			answer(w.path, live[i:], err)
			return
		}
		answer(w.path, live[i:i+1], err)
	}
}

// answer ends requests that were applied, or that a common error kept from it.
func answer(path string, requests []*request, err error) {
	for _, r := range requests {
		if err != nil {
			r.versions, r.err = nil, fmt.Errorf("sqlite commit: %w", translate(path, err))
		}
		close(r.done)
	}
}

// close applies what is queued, then closes the connection. Nobody may send to
// the queue any more.
func (w *writer) close() error {
	close(w.queue)
	<-w.done
	w.drop()
	return w.db.Close()
}
