package eventlog_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/docstore/memstore"
	"codexgateway.dev/pkg/eventlog"
)

// A log that fills the store's pages to the brim ends like any other, on a store
// that only finds out by reading on.
func TestALogOfFullPagesEnds(t *testing.T) {
	t.Parallel()
	for _, closed := range []bool{true, false} {
		for _, batches := range []int64{1, 31, 32, 33, 64} {
			t.Run(fmt.Sprintf("%d batches, closed %t", batches, closed), func(t *testing.T) {
				t.Parallel()
				log := logOf(t, batches, closed)
				for after := int64(0); ; {
					page, err := log.Read(t.Context(), jobID, after, 0)
					if err != nil {
						t.Fatal(err)
					}
					if after = page.Last(); page.More && page.Closed {
						t.Fatalf("after %d the log is closed, and has more", after)
					}
					if page.More {
						continue
					}
					if after != batches || page.Closed != closed {
						t.Fatalf("the log ends after %d, closed %t", after, page.Closed)
					}
					break
				}
			})
		}
	}
}

// A reader has a document in hand while the log expires: that is a gap, where the
// archive has the events, and no failure.
func TestALogThatExpiresUnderItsReaderIsAGap(t *testing.T) {
	t.Parallel()
	log, docs, bucket := storesOn(t, memstore.New(docstore.Schema{eventlog.Schema()}))
	large := eventlog.CodexData("item", json.RawMessage(`"`+strings.Repeat("x", 1<<20)+`"`))
	pos := eventlog.Position{JobID: jobID, First: 1, Attempt: 1, Writer: "w", Closed: true}
	_, w, err := log.Prepare(t.Context(), pos, []eventlog.Entry{{Type: eventlog.TypeCodex, Time: time.UnixMilli(1), Data: large}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := docs.Commit(t.Context(), []docstore.Write{w}); err != nil {
		t.Fatal(err)
	}
	if page, err := log.Read(t.Context(), jobID, 0, 0); err != nil || len(page.Events) != 1 {
		t.Fatalf("before: %v", err)
	}
	o, err := bucket.List(nil).Next(t.Context())
	if err != nil {
		t.Fatalf("the batch has no blob: %v", err)
	}
	if err := bucket.Delete(t.Context(), o.Key); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Read(t.Context(), jobID, 0, 0); !errors.Is(err, eventlog.ErrGap) {
		t.Errorf("error %v, want ErrGap", err)
	}
}

// storesOn is a store of logs on a driver, and what it keeps them in.
func storesOn(t *testing.T, driver docstore.Driver) (*eventlog.Store, *docstore.Store, *blob.Bucket) {
	t.Helper()
	docs, err := docstore.New(driver, docstore.Schema{eventlog.Schema()}, docstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	bucket := memblob.OpenBucket(nil)
	t.Cleanup(func() { _ = bucket.Close() })
	log, err := eventlog.NewStore(docs, bucket, func(ctx context.Context, name string, b []byte) error {
		return bucket.WriteAll(ctx, name, b, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	return log, docs, bucket
}

// logOf is a log of batches of one event each.
func logOf(t *testing.T, batches int64, closed bool) *eventlog.Store {
	t.Helper()
	log, docs, _ := storesOn(t, memstore.New(docstore.Schema{eventlog.Schema()}))
	for seq := int64(1); seq <= batches; seq++ {
		entry := eventlog.Entry{Type: eventlog.TypeCodex, Time: time.UnixMilli(seq), Data: eventlog.CodexData("item", json.RawMessage("1"))}
		pos := eventlog.Position{JobID: jobID, First: seq, Attempt: 1, Writer: "w", Closed: closed && seq == batches}
		_, w, err := log.Prepare(t.Context(), pos, []eventlog.Entry{entry})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := docs.Commit(t.Context(), []docstore.Write{w}); err != nil {
			t.Fatal(err)
		}
	}
	return log
}
