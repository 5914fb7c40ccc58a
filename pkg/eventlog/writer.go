package eventlog

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"codexgateway.dev/pkg/docstore"
)

// Bounds of a writer. A full writer blocks Append: the reader of Codex's
// stdout then waits, and Codex buffers on its side (it has no backpressure of
// its own: 30,000 deltas with stdout unread were buffered, measured).
const (
	maxPendingBytes   = 4 << 20
	maxPendingEntries = 4096
	// flushBytes and flushEntries end the wait for more deltas.
	flushBytes   = 128 << 10
	flushEntries = 512
)

// ErrSealed means the writer has ended.
var ErrSealed = errors.New("eventlog: writer is sealed")

// WriterOptions is what a writer needs to know of its claim.
type WriterOptions struct {
	JobID   string
	Attempt int
	Writer  string
	// Next is the first seq to write.
	Next int64
	// Begun is the batch before it, if this claim has stored that one already.
	Begun *Batch
	// DeltaDelay is how long deltas alone may wait for company.
	DeltaDelay time.Duration
	Merge      MergeFunc
	// Stored is called for each batch after it is durable, in order, from the
	// writer's goroutine: this is where the batch is published.
	Stored func(ctx context.Context, b *Batch)
	Logger *slog.Logger
}

// Writer appends to one job's log with group commit: while one append is in
// flight the next batch collects. One goroutine, owned by the writer, started
// by NewWriter and ended by Seal, Stop or the first fatal error.
type Writer struct {
	s   *Store
	opt WriterOptions

	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the goroutine has ended
	wake   chan struct{} // capacity 1: something to flush

	mu      sync.Mutex
	pending []Entry
	open    map[string]int // item → index of its delta entry in pending
	bytes   int
	oldest  time.Time // arrival of the oldest pending delta
	urgent  bool
	room    chan struct{} // closed and replaced when pending was taken
	next    int64
	err     error
	sealed  bool
	// memory is what this writer has stored, see [Writer.Archive].
	memory memory
}

// NewWriter starts a writer. ctx is its life: when it ends, appends fail.
func (s *Store) NewWriter(ctx context.Context, opt WriterOptions) *Writer {
	w := &Writer{
		s: s, opt: opt, next: opt.Next,
		done: make(chan struct{}), wake: make(chan struct{}, 1),
		room: make(chan struct{}), open: map[string]int{},
	}
	w.memory.first = opt.Next
	if opt.Begun != nil {
		w.memory.first = opt.Begun.FirstSeq
		w.memory.keep(opt.Begun.Events)
	}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	go w.run()
	return w
}

// Append adds an entry to the next batch. It blocks while the writer is full
// and fails once the writer is fenced, sealed or its life is over.
func (w *Writer) Append(ctx context.Context, e Entry) error {
	for {
		w.mu.Lock()
		switch {
		case w.err != nil:
			defer w.mu.Unlock()
			return w.err
		case w.sealed:
			w.mu.Unlock()
			return ErrSealed
		case w.bytes < maxPendingBytes && len(w.pending) < maxPendingEntries:
			w.add(e)
			w.mu.Unlock()
			return nil
		}
		room := w.room
		w.mu.Unlock()
		select {
		case <-room:
		case <-w.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// add puts e into the pending batch, merging deltas of one item. A non-delta
// closes all open items: nothing is ever merged across it, so an item's end
// never overtakes its text.
func (w *Writer) add(e Entry) {
	if e.Delta == nil {
		w.pending = append(w.pending, e)
		w.bytes += len(e.Data)
		clear(w.open)
		w.urgent = true
		w.signal()
		return
	}
	for _, p := range e.Delta.Params {
		w.bytes += len(p)
	}
	if i, ok := w.open[e.Delta.Item]; ok && w.pending[i].Delta.Method == e.Delta.Method {
		d := w.pending[i].Delta
		d.Params = append(d.Params, e.Delta.Params...)
	} else {
		own := *e.Delta
		e.Delta = &own
		w.open[e.Delta.Item] = len(w.pending)
		w.pending = append(w.pending, e)
	}
	if w.oldest.IsZero() {
		w.oldest = time.Now()
		w.signal()
	}
	if w.bytes >= flushBytes || len(w.pending) >= flushEntries {
		w.signal()
	}
}

func (w *Writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default: // a wake-up is already waiting
	}
}

// LastSeq is the seq of the last stored event.
func (w *Writer) LastSeq() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next - 1
}

// Done is closed when the writer has ended; Err says why.
func (w *Writer) Done() <-chan struct{} { return w.done }

// Err is why the writer ended; nil while it lives and after Seal.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// run flushes until the writer is sealed or fails.
func (w *Writer) run() {
	defer close(w.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		ready, wait, sealed := w.due()
		switch {
		case ready:
			if err := w.flush(); err != nil {
				w.fail(err)
				return
			}
			continue
		case sealed:
			return
		}
		timer.Reset(wait)
		select {
		case <-w.wake:
		case <-timer.C:
		case <-w.ctx.Done():
			w.fail(context.Cause(w.ctx))
			return
		}
	}
}

// due says whether there is something to flush now, else how long to wait.
func (w *Writer) due() (ready bool, wait time.Duration, sealed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending) == 0 {
		return false, time.Hour, w.sealed
	}
	if w.urgent || w.sealed || w.bytes >= flushBytes || len(w.pending) >= flushEntries {
		return true, 0, false
	}
	wait = w.opt.DeltaDelay - time.Since(w.oldest)
	return wait <= 0, wait, false
}

// take empties the pending batch.
func (w *Writer) take() ([]Entry, int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	entries := w.pending
	w.pending, w.bytes, w.urgent, w.oldest = nil, 0, false, time.Time{}
	clear(w.open)
	close(w.room)
	w.room = make(chan struct{})
	return entries, w.next
}

func (w *Writer) flush() error {
	entries, first := w.take()
	b, write, err := w.s.Prepare(w.ctx, w.position(first, false), entries)
	if err != nil {
		return err
	}
	err = w.s.append(w.ctx, &write, func(err error) {
		w.opt.Logger.WarnContext(w.ctx, "event log append waits for the store",
			slog.String("job_id", w.opt.JobID), slog.Any("error", err))
	})
	if err != nil {
		return err
	}
	w.memory.keep(b.Events)
	w.stored(w.ctx, b)
	return nil
}

func (w *Writer) position(first int64, closed bool) Position {
	return Position{
		JobID: w.opt.JobID, First: first, Attempt: w.opt.Attempt,
		Writer: w.opt.Writer, Closed: closed, Merge: w.opt.Merge,
	}
}

// stored advances the log and tells the world, in this order.
func (w *Writer) stored(ctx context.Context, b *Batch) {
	w.mu.Lock()
	w.next = b.LastSeq + 1
	w.mu.Unlock()
	if w.opt.Stored != nil {
		w.opt.Stored(ctx, b)
	}
}

func (w *Writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.cancel(err)
}

// CommitFunc commits a writer's last batch together with other documents. It
// returns nil when the commit is durable.
type CommitFunc func(ctx context.Context, last *Batch, w docstore.Write) error

// Flush ends intake and waits until everything appended is stored. After it
// only Seal may be called.
func (w *Writer) Flush(ctx context.Context) error {
	w.mu.Lock()
	w.sealed = true
	w.mu.Unlock()
	w.signal()
	select {
	case <-w.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return w.Err()
}

// Seal flushes what is pending, then writes the last entries of this writer in
// the caller's own commit: with closed, that commit ends the log. A Seal whose
// commit failed may be tried again; one that may have landed is found by its
// bytes (see Landed), so the entries must then be the same, times included.
func (w *Writer) Seal(ctx context.Context, closed bool, entries []Entry, commit CommitFunc) error {
	if err := w.Flush(ctx); err != nil {
		return err
	}
	b, write, err := w.s.Prepare(ctx, w.position(w.LastSeq()+1, closed), entries)
	if err != nil {
		return err
	}
	if err := commit(ctx, b, write); err != nil {
		return err
	}
	w.stored(ctx, b)
	return nil
}

// Stop ends the writer without storing what is pending, and waits for it.
func (w *Writer) Stop(cause error) {
	w.cancel(cause)
	<-w.done
}
