package eventlog

import (
	"context"
	"encoding/json"
)

// memoryBytes is how many bytes of its events a writer remembers for the
// archive. Most logs are far below it; of a longer one the rest is read back.
// It is held for each running job of a worker.
const memoryBytes = 4 << 20

// memory is the first events that a writer has stored, without a gap. It is
// used by the goroutine of the writer, and by others once that has ended.
type memory struct {
	first  int64 // seq of the first event
	events []json.RawMessage
	bytes  int
	full   bool
}

// keep remembers events that follow those that were kept; once one does not
// fit, nothing that comes after it is kept.
func (m *memory) keep(events []json.RawMessage) {
	for _, e := range events {
		if m.full = m.full || m.bytes+len(e) > memoryBytes; m.full {
			return
		}
		m.events = append(m.events, e)
		m.bytes += len(e)
	}
}

// Archive is [Store.Archive] of the writer's log, to the last byte, for the
// commit of a Seal: it reads only what others have stored before this writer,
// and what was too much to remember. That nobody else has stored anything since
// is for that commit to find out, as it is for all that Seal writes.
//
// In a store that bills reads, reading a log back costs as many documents as
// writing it did.
func (w *Writer) Archive(ctx context.Context, closing *Batch) ([]byte, []Frame, error) {
	a := &archiver{s: w.s, next: 1}
	if err := a.read(ctx, w.opt.JobID, w.memory.first-1); err != nil {
		return nil, nil, err
	}
	if err := a.remembered(w.memory.events); err != nil {
		return nil, nil, err
	}
	if err := a.read(ctx, w.opt.JobID, w.LastSeq()); err != nil {
		return nil, nil, err
	}
	return a.end(closing)
}
