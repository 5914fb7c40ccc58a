package eventlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"codexgateway.dev/pkg/docstore"
)

// ErrGap means the log does not begin where the reader asked, or has no
// documents at all: they have expired. The archive still has them.
var ErrGap = errors.New("eventlog: events are no longer in the log")

// readBatches is how many batches one read fetches: enough that a long log is
// few round trips, few enough that a page stays in single megabytes.
const readBatches = 32

// pageBytes ends a page: what follows is for the next read. A batch can be
// many megabytes, so a page is at most this and one batch more.
const pageBytes = 4 << 20

// Page is a run of events: Events[i] has seq First+i.
type Page struct {
	First  int64
	Events []json.RawMessage
	// Closed is true when the last event of the page ends the log.
	Closed bool
	// More is true when the log holds later events already, or may: the page that
	// follows is then empty.
	More bool
}

// Last is the seq of the page's last event, or of the one before the page.
func (p *Page) Last() int64 { return p.First + int64(len(p.Events)) - 1 }

// Read returns up to limit events after the given seq, in order (limit 0: as
// many as one read yields, single megabytes). An empty page means there is nothing yet; Closed is
// then true if the log ended at or before after.
func (s *Store) Read(ctx context.Context, job string, after int64, limit int) (*Page, error) {
	return s.read(ctx, job, after, endless, limit)
}

// endless is after the last seq of every log.
const endless = math.MaxInt64

// read is Read of the batches that end at the seq last or before it.
func (s *Store) read(ctx context.Context, job string, after, last int64, limit int) (*Page, error) {
	q := docstore.Query{
		Collection: Collection, Index: indexByJob,
		Equal: []any{job}, From: after + 1, Limit: readBatches,
	}
	if last != endless {
		q.To = last + 1
	}
	res, err := s.docs.Query(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("eventlog: read: %w", err)
	}
	page := &Page{First: after + 1, More: res.Next != ""}
	next, size := after+1, 0
	for i := range res.Docs {
		b, err := s.decode(ctx, &res.Docs[i])
		if err != nil {
			return nil, err
		}
		if b.FirstSeq > next || int64(len(b.Events)) != b.LastSeq-b.FirstSeq+1 {
			return nil, fmt.Errorf("%w: job %s has %d after %d", ErrGap, job, b.FirstSeq, next-1)
		}
		for _, e := range b.Events[next-b.FirstSeq:] {
			page.Events = append(page.Events, e)
			size += len(e)
		}
		page.Closed = b.Closed
		next = b.LastSeq + 1
		if limit > 0 && len(page.Events) >= limit || size >= pageBytes {
			page.More = page.More || i < len(res.Docs)-1
			break
		}
	}
	// A full page of the store may claim more where nothing is: after the end there
	// is nothing, else the next read tells.
	page.More = page.More && !page.Closed
	if limit > 0 && len(page.Events) > limit {
		page.Events, page.More, page.Closed = page.Events[:limit], true, false
	}
	if len(page.Events) > 0 {
		return page, nil
	}
	last, closed, err := s.Tail(ctx, job)
	if err != nil {
		return nil, err
	}
	if last == 0 { // every log begins with the commit that creates its job
		return nil, fmt.Errorf("%w: job %s has none", ErrGap, job)
	}
	page.Closed = closed
	return page, nil
}

// Tail returns the last seq of a log (0: empty) and whether it is closed. Its
// cost does not depend on the length of the log.
func (s *Store) Tail(ctx context.Context, job string) (last int64, closed bool, err error) {
	res, err := s.docs.Query(ctx, docstore.Query{
		Collection: Collection, Index: indexByJob,
		Equal: []any{job}, Desc: true, Limit: 1,
	})
	if err != nil {
		return 0, false, fmt.Errorf("eventlog: tail: %w", err)
	}
	if len(res.Docs) == 0 {
		return 0, false, nil
	}
	var b Batch
	if err := json.Unmarshal(res.Docs[0].Data, &b); err != nil {
		return 0, false, fmt.Errorf("eventlog: decode %s: %w", res.Docs[0].Key.ID, err)
	}
	return b.LastSeq, b.Closed, nil
}
