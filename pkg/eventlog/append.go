package eventlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/wait"
)

// ErrFenced means somebody else wrote the next seq: the writer lost its lease
// and must stop without a further effect.
var ErrFenced = errors.New("eventlog: fenced, another writer owns the log")

// Position says where and as whom a batch is written.
type Position struct {
	JobID   string
	First   int64
	Attempt int
	// Writer is unique to one claim, see [Batch].
	Writer string
	// Closed ends the log with this batch.
	Closed bool
	// Merge is needed only where entries are deltas.
	Merge MergeFunc
}

// Prepare encodes entries as one batch and returns it with its create-if-absent
// write, for a commit that also changes other documents.
func (s *Store) Prepare(ctx context.Context, pos Position, entries []Entry) (*Batch, docstore.Write, error) {
	b := &Batch{
		JobID: pos.JobID, FirstSeq: pos.First, Closed: pos.Closed, Writer: pos.Writer,
		Events: make([]json.RawMessage, 0, len(entries)),
	}
	for i := range entries {
		for _, data := range entries[i].datas(pos.Merge) {
			seq := pos.First + int64(len(b.Events))
			b.Events = append(b.Events, encode(pos.JobID, seq, pos.Attempt, &entries[i], data))
		}
	}
	b.LastSeq = pos.First + int64(len(b.Events)) - 1
	w, err := s.createWrite(ctx, b)
	return b, w, err
}

// Landed reports whether a batch whose commit had an unknown result is in the
// log: true if it is, to the last byte, ErrFenced if another one is, false if
// none is. The bytes decide, not the writer's name alone: a writer that tries
// again with another event must not tell the world of one that is not stored.
func (s *Store) Landed(ctx context.Context, w *docstore.Write) (bool, error) {
	doc, err := s.docs.Get(ctx, w.Key)
	if errors.Is(err, docstore.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("eventlog: read back: %w", err)
	}
	if !bytes.Equal(doc.Data, w.Data) {
		return false, ErrFenced
	}
	return true, nil
}

// append commits one batch on its own and does not give up while ctx lives:
// after an unknown result it reads back, and a store that is full or away is
// tried again, so that an event is in the log once or its writer is dead.
func (s *Store) append(ctx context.Context, w *docstore.Write, waiting func(error)) error {
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		_, err := s.docs.Commit(ctx, []docstore.Write{*w})
		if err == nil {
			return nil
		}
		if errors.Is(err, docstore.ErrTooLarge) || errors.Is(err, docstore.ErrInvalid) {
			return fmt.Errorf("eventlog: append: %w", err)
		}
		landed, back := s.Landed(ctx, w)
		if landed {
			return nil
		}
		if errors.Is(back, ErrFenced) {
			return back
		}
		waiting(err)
		if !wait.For(ctx, pause/2+rand.N(pause/2+1)) {
			return context.Cause(ctx)
		}
	}
}
