package eventlog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/docstore/memstore"
	"codexgateway.dev/pkg/eventlog"
)

// reads counts the documents that queries have found.
type reads struct {
	docstore.Driver

	docs atomic.Int64
}

func (r *reads) Query(ctx context.Context, q docstore.Query) (docstore.Page, error) {
	page, err := r.Driver.Query(ctx, q)
	r.docs.Add(int64(len(page.Docs)))
	return page, err
}

// A writer's archive is that of the documents, to the last byte, whatever the
// events are and however many a writer remembers; and it reads as little as it
// can.
func TestAWritersArchiveIsThatOfTheDocuments(t *testing.T) {
	t.Parallel()
	// What JSON writes in two ways.
	odd := `"<a> & b \u003c \u2028 ` + "\u2028" + ` \/ é"`
	big := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	for name, tc := range map[string]struct {
		// before is how many batches others have stored.
		before int64
		// params are of the writer's events, each a batch of its own.
		params []string
		// reads are documents: those of others, and those that were too much.
		reads int64
	}{
		"nothing":                 {reads: 0},
		"only others":             {before: 3, reads: 3},
		"only its own":            {params: []string{odd, "1", "[ 1 ,\t2 ]"}, reads: 0},
		"after others":            {before: 2, params: []string{odd, "2", "3"}, reads: 2},
		"after more than a page":  {before: 70, params: []string{odd}, reads: 70},
		"a spilled batch":         {before: 2, params: []string{odd, big(1 << 20), odd}, reads: 2},
		"more than is remembered": {before: 2, params: []string{odd, big(3 << 20), big(2 << 20), odd, "1"}, reads: 5},
		// The first page of what is read back ends with the large one, so the last is found twice.
		"the first one is too much": {before: 1, params: []string{big(5 << 20), odd}, reads: 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			driver := &reads{Driver: memstore.New(docstore.Schema{eventlog.Schema()})}
			log, docs, _ := storesOn(t, driver)
			fill(t, log, docs, 1, tc.before)
			stored := make(chan struct{}, 1)
			w := log.NewWriter(t.Context(), eventlog.WriterOptions{
				JobID: jobID, Attempt: 1, Writer: "w", Next: tc.before + 1, Merge: merge, Logger: slog.New(slog.DiscardHandler),
				Stored: func(context.Context, *eventlog.Batch) { stored <- struct{}{} },
			})
			defer w.Stop(errors.New("test over"))
			for _, p := range tc.params {
				e := eventlog.Entry{Type: eventlog.TypeCodex, Time: time.UnixMilli(1), Data: eventlog.CodexData("item", json.RawMessage(p))}
				if err := w.Append(t.Context(), e); err != nil {
					t.Fatal(err)
				}
				<-stored
			}
			var got []byte
			end := eventlog.Entry{Type: eventlog.TypeCompleted, Time: time.UnixMilli(2), Data: json.RawMessage(`{"content":"<b>"}`)}
			err := w.Seal(t.Context(), true, []eventlog.Entry{end}, func(ctx context.Context, last *eventlog.Batch, write docstore.Write) error {
				before := driver.docs.Load()
				var err error
				if got, _, err = w.Archive(ctx, last); err != nil {
					return err
				}
				if n := driver.docs.Load() - before; n != tc.reads {
					t.Errorf("read %d documents, want %d", n, tc.reads)
				}
				_, err = docs.Commit(ctx, []docstore.Write{write})
				// Seal tells of the last batch, and nobody waits for it.
				go func() { <-stored }()
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			want, _, err := log.Archive(t.Context(), jobID, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes, the documents' archive has %d", len(got), len(want))
			}
		})
	}
}

// A hole before the writer's own events is an error, never an archive that
// looks whole.
func TestAWritersArchiveHasNoHole(t *testing.T) {
	t.Parallel()
	log := logOf(t, 3, false)
	for next := range int64(8) {
		w := log.NewWriter(t.Context(), eventlog.WriterOptions{JobID: jobID, Next: next + 1, Logger: slog.New(slog.DiscardHandler)})
		_, _, err := w.Archive(t.Context(), nil)
		w.Stop(errors.New("test over"))
		if whole := next <= 3; whole != (err == nil) || !whole && !errors.Is(err, eventlog.ErrGap) {
			t.Errorf("a writer from %d on a log of 3: %v", next+1, err)
		}
	}
}

// fill stores batches of one event each.
func fill(t *testing.T, log *eventlog.Store, docs *docstore.Store, first, last int64) {
	t.Helper()
	for seq := first; seq <= last; seq++ {
		pos := eventlog.Position{JobID: jobID, First: seq, Attempt: 1, Writer: fmt.Sprint("other ", seq)}
		_, w, err := log.Prepare(t.Context(), pos, []eventlog.Entry{{
			Type: eventlog.TypeCodex, Time: time.UnixMilli(seq), Data: eventlog.CodexData("item", json.RawMessage(`"<"`)),
		}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := docs.Commit(t.Context(), []docstore.Write{w}); err != nil {
			t.Fatal(err)
		}
	}
}
