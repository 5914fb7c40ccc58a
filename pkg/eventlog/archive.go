package eventlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"codexgateway.dev/pkg/docstore"
)

// frameBytes is how much of a log, unpacked, is one frame of its archive. A
// reader unpacks whole frames, so this bounds its memory and the cost of one
// page; logs below it are one frame, which every zstd tool reads by default.
const frameBytes = 8 << 20

// Frame is one independent part of an archive: the events from First on, at
// Offset of the blob.
type Frame struct {
	First  int64 `json:"first"`
	Offset int64 `json:"offset"`
}

// Archived says where an archived log is.
type Archived struct {
	Blob string
	// Data is the archive itself, where it is at hand; else Blob is read.
	Data []byte
	Size int64
	// Frames in order; empty: one frame with everything.
	Frames []Frame
	// LastSeq is the seq of the event that closed the log.
	LastSeq int64
}

// archiver packs events as JSONL into zstd frames.
type archiver struct {
	s      *Store
	raw    bytes.Buffer
	out    []byte
	frames []Frame
	first  int64 // seq of the first event in raw
	next   int64
}

func (a *archiver) add(e json.RawMessage) {
	if a.raw.Len() == 0 {
		a.first = a.next
	}
	a.raw.Write(e)
	a.raw.WriteByte('\n')
	a.next++
	if a.raw.Len() >= frameBytes {
		a.flush()
	}
}

func (a *archiver) flush() {
	if a.raw.Len() == 0 {
		return
	}
	a.frames = append(a.frames, Frame{First: a.first, Offset: int64(len(a.out))})
	a.out = a.s.enc.EncodeAll(a.raw.Bytes(), a.out)
	a.raw.Reset()
}

// read adds the stored events after those that were added, up to the seq last.
func (a *archiver) read(ctx context.Context, job string, last int64) error {
	for a.next <= last {
		page, err := a.s.read(ctx, job, a.next-1, last, 0)
		if err != nil {
			return err
		}
		for _, e := range page.Events {
			a.add(e)
		}
		if !page.More {
			break
		}
	}
	if last != endless && a.next != last+1 {
		return fmt.Errorf("%w: job %s has no %d", ErrGap, job, a.next)
	}
	return nil
}

// remembered adds events that are known to be stored next, as they are stored.
func (a *archiver) remembered(events []json.RawMessage) error {
	for _, e := range events {
		stored, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("eventlog: encode event: %w", err)
		}
		a.add(stored)
	}
	return nil
}

// end adds the events of the closing batch, and returns the archive.
func (a *archiver) end(closing *Batch) ([]byte, []Frame, error) {
	if closing != nil {
		if err := a.remembered(closing.Events); err != nil {
			return nil, nil, err
		}
	}
	a.flush()
	return a.out, a.frames, nil
}

// Archive returns a whole log as compressed JSONL, one event a line, and the
// index of its frames. closing is the batch that will end the log but is not
// stored yet; nil when the log is closed.
func (s *Store) Archive(ctx context.Context, job string, closing *Batch) ([]byte, []Frame, error) {
	a := &archiver{s: s, next: 1}
	if err := a.read(ctx, job, endless); err != nil {
		return nil, nil, err
	}
	return a.end(closing)
}

// ReadArchive is Read for an archived log: up to limit events after a seq, all
// of one frame. Its cost is that of the frame, whatever the log's length.
func (s *Store) ReadArchive(ctx context.Context, a Archived, after int64, limit int) (*Page, error) {
	page := &Page{First: after + 1, Closed: after >= a.LastSeq}
	if page.Closed {
		return page, nil
	}
	frames := a.Frames
	if len(frames) == 0 {
		frames = []Frame{{First: 1}}
	}
	i := 0
	for i+1 < len(frames) && frames[i+1].First <= after+1 {
		i++
	}
	end := a.Size
	if i+1 < len(frames) {
		end = frames[i+1].Offset
	}
	raw, err := s.frame(ctx, &a, frames[i].Offset, end)
	if err != nil {
		return nil, err
	}
	seq, size := frames[i].First, 0
	for line := range bytes.Lines(raw) {
		if seq > after {
			if size += len(line); len(page.Events) > 0 && (size > pageBytes || limit > 0 && len(page.Events) >= limit) {
				break
			}
			page.Events = append(page.Events, json.RawMessage(bytes.TrimSuffix(line, []byte{'\n'})))
		}
		seq++
	}
	if len(page.Events) == 0 {
		return nil, fmt.Errorf("%w: archive %s has nothing after %d", ErrGap, a.Blob, after)
	}
	page.Closed = page.Last() >= a.LastSeq
	page.More = !page.Closed
	return page, nil
}

// frame reads and unpacks a part of an archive.
func (s *Store) frame(ctx context.Context, a *Archived, from, to int64) ([]byte, error) {
	packed, err := s.packed(ctx, a, from, to)
	if err != nil {
		return nil, fmt.Errorf("eventlog: read archive %s: %w", a.Blob, err)
	}
	raw, err := s.dec.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("eventlog: unpack archive %s: %w", a.Blob, err)
	}
	return raw, nil
}

// packed reads a part of an archive.
func (s *Store) packed(ctx context.Context, a *Archived, from, to int64) ([]byte, error) {
	if a.Data != nil {
		if from < 0 || from > to || to > int64(len(a.Data)) {
			return nil, io.ErrUnexpectedEOF
		}
		return a.Data[from:to], nil
	}
	r, err := s.blobs.NewRangeReader(ctx, a.Blob, from, to-from, nil)
	if err != nil {
		return nil, err
	}
	packed, err := io.ReadAll(r)
	return packed, errors.Join(err, r.Close())
}

// tombstone is what stays of a batch that fences a writer. It has no indexed
// fields, so no reader finds it, and equals no batch.
var tombstone = []byte("{}") //nolint:gochecknoglobals // a constant

// Expire removes the documents of a closed log and the blobs they point to,
// the oldest first: whoever reads meanwhile finds a gap at the start and turns
// to the archive, never a log that looks shorter than it is.
//
// The fence stays: a batch that took the next key of an earlier writer becomes a
// tombstone. A writer that lost its lease and wakes after the log has expired
// would otherwise find its key free, and tell watchers of events that nobody
// stored. A log with one claim leaves nothing.
func (s *Store) Expire(ctx context.Context, job string) error {
	// The writer before the first page is not known: it counts as another one.
	for earlier := ""; ; {
		page, err := s.docs.Query(ctx, docstore.Query{
			Collection: Collection, Index: indexByJob, Equal: []any{job}, Limit: docstore.MaxCommitWrites,
		})
		if err != nil {
			return fmt.Errorf("eventlog: expire: %w", err)
		}
		if len(page.Docs) == 0 {
			return s.dropSpills(ctx, job)
		}
		writes := make([]docstore.Write, len(page.Docs))
		for i := range page.Docs {
			var b Batch
			if err := json.Unmarshal(page.Docs[i].Data, &b); err != nil {
				return fmt.Errorf("eventlog: decode %s: %w", page.Docs[i].Key.ID, err)
			}
			writes[i] = docstore.Write{Op: docstore.Delete, Key: page.Docs[i].Key, Version: page.Docs[i].Version}
			// The first batch is the submit's, by the job's own name: it has no
			// writer that could go on.
			if b.FirstSeq > 1 && earlier != job && earlier != b.Writer {
				writes[i].Op, writes[i].Data = docstore.Replace, tombstone
			}
			earlier = b.Writer
		}
		if _, err := s.docs.Commit(ctx, writes); err != nil {
			return fmt.Errorf("eventlog: expire: %w", err)
		}
	}
}

// dropSpills removes the blobs of a log that has no documents any more, those
// that a failed append left included.
func (s *Store) dropSpills(ctx context.Context, job string) error {
	all := s.blobs.List(&blob.ListOptions{Prefix: spillDir(job)})
	for {
		o, err := all.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = s.blobs.Delete(ctx, o.Key)
		}
		if err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			return fmt.Errorf("eventlog: expire blobs of %s: %w", job, err)
		}
	}
}
