package eventlog

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"codexgateway.dev/pkg/docstore"
)

// FuzzReadArchive: an archive that is not what its document says ends in an
// error, never in events outside of what was asked for.
func FuzzReadArchive(f *testing.F) {
	s, err := NewStore(nil, nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	lines := strings.Repeat(`{"seq":1}`+"\n", 5)
	good := s.enc.EncodeAll([]byte(lines), nil)
	f.Add(good, int64(0), 10, int64(5), int64(0), int64(1))
	f.Add(good, int64(4), 0, int64(5), int64(3), int64(2))
	f.Add(good[:len(good)-3], int64(0), 10, int64(5), int64(0), int64(1))
	f.Add([]byte{}, int64(-1), -1, int64(-1), int64(-1), int64(-1))
	f.Add(append(bytes.Clone(good), good...), int64(5), 2, int64(10), int64(len(good)), int64(6))
	f.Fuzz(func(t *testing.T, data []byte, after int64, limit int, last, offset, first int64) {
		a := Archived{Blob: "b", Data: data, Size: int64(len(data)), LastSeq: last, Frames: []Frame{{First: 1}, {First: first, Offset: offset}}}
		if data == nil {
			return
		}
		page, err := s.ReadArchive(t.Context(), a, after, limit)
		if err != nil {
			return
		}
		if !page.Closed && len(page.Events) == 0 {
			t.Errorf("nothing after %d of %d, and not the end", after, last)
		}
		if limit > 0 && len(page.Events) > max(limit, 1) {
			t.Errorf("%d events, want %d", len(page.Events), limit)
		}
	})
}

// FuzzDecodeBatch: a batch document is decoded or refused.
func FuzzDecodeBatch(f *testing.F) {
	s, err := NewStore(nil, nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		`{"job":"job_x","first":1,"events":[{"seq":1}],"closed":true}`, `{"events":null}`, `{}`, `[]`, `{"first":-1}`, `{"events":[1,"x",null]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if bytes.Contains(bytes.ToLower(raw), []byte("spill")) || bytes.Contains(raw, []byte(`\`)) {
			return // which a blob would have to be read for
		}
		b, err := s.decode(t.Context(), &docstore.Doc{Data: raw})
		if err != nil {
			return
		}
		for _, e := range b.Events {
			if !json.Valid(e) {
				t.Errorf("the event %s is no JSON", e)
			}
		}
	})
}
