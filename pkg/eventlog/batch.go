package eventlog

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"codexgateway.dev/pkg/docstore"
)

// Collection is the name of the log's documents.
const Collection = "events"

// indexByJob orders a job's batches by their last seq.
const indexByJob = "by_job"

// Schema declares the log's documents.
func Schema() docstore.Collection {
	return docstore.Collection{
		Name: Collection,
		Fields: []docstore.Field{
			{Name: "job", Kind: docstore.String},
			{Name: "last_seq", Kind: docstore.Int},
		},
		Indexes: []docstore.Index{{Name: indexByJob, Equal: []string{"job"}, Order: "last_seq", Read: docstore.BothWays}},
	}
}

// spillBytes is the size from which a batch's events go to a blob instead of
// the document: a document holds 1 MiB, and one command's output may alone be
// larger (codex caps aggregatedOutput at about 1 MiB, and JSON escapes grow it).
const spillBytes = 384 << 10

// spillDir is the prefix of the blobs of a log.
func spillDir(job string) string { return "log/" + job + "/" }

// Batch is a run of events of one job: Events[i] has seq FirstSeq+i.
type Batch struct {
	JobID    string            `json:"job_id"`
	FirstSeq int64             `json:"first_seq"`
	LastSeq  int64             `json:"last_seq"`
	Closed   bool              `json:"closed,omitempty"`
	Events   []json.RawMessage `json:"events,omitempty"`
	// Writer is the claim that wrote the batch. It tells "my commit did land"
	// from "somebody else has this seq" after an answer was lost.
	Writer string `json:"writer"`
	// Spill is the blob that holds the events of a large batch.
	Spill string `json:"spill,omitempty"`
}

// key is the document of the batch that begins with seq. Zero padding keeps
// the ids in order for people who look into the store.
func key(job string, seq int64) docstore.Key {
	return docstore.Key{Collection: Collection, ID: fmt.Sprintf("%s:%012d", job, seq)}
}

// createWrite stores the spill if there is one and returns the batch's write.
// The blob is written first and named by the writer: if the commit then fails,
// a blob nobody points to is left, never a document that points to nothing.
func (s *Store) createWrite(ctx context.Context, b *Batch) (docstore.Write, error) {
	size := 0
	for _, e := range b.Events {
		size += len(e)
	}
	stored := *b
	if size > spillBytes {
		stored.Spill = fmt.Sprintf("%s%012d-%s.json.zst", spillDir(b.JobID), b.FirstSeq, b.Writer)
		stored.Events = nil
		if err := s.writeSpill(ctx, stored.Spill, b.Events); err != nil {
			return docstore.Write{}, err
		}
	}
	data, err := json.Marshal(&stored)
	if err != nil {
		return docstore.Write{}, fmt.Errorf("eventlog: encode batch: %w", err)
	}
	return docstore.Write{
		Op:     docstore.Create,
		Key:    key(b.JobID, b.FirstSeq),
		Fields: docstore.Fields{"job": b.JobID, "last_seq": b.LastSeq},
		Data:   data,
	}, nil
}

func (s *Store) writeSpill(ctx context.Context, name string, events []json.RawMessage) error {
	raw, err := json.Marshal(events)
	if err != nil {
		return fmt.Errorf("eventlog: encode spill: %w", err)
	}
	if err := s.putBlob(ctx, name, s.enc.EncodeAll(raw, nil)); err != nil {
		return fmt.Errorf("eventlog: write spill: %w", err)
	}
	return nil
}

// decode reads a batch document, following its spill.
func (s *Store) decode(ctx context.Context, doc *docstore.Doc) (*Batch, error) {
	b := new(Batch)
	if err := json.Unmarshal(doc.Data, b); err != nil {
		return nil, fmt.Errorf("eventlog: decode %s: %w", doc.Key.ID, err)
	}
	if b.Spill == "" {
		return b, nil
	}
	packed, err := s.blobs.ReadAll(ctx, b.Spill)
	if gcerrors.Code(err) == gcerrors.NotFound {
		// The log has expired since the document was read: see Expire.
		return nil, fmt.Errorf("%w: the spill of %s is gone: %w", ErrGap, doc.Key.ID, err)
	}
	if err != nil {
		return nil, fmt.Errorf("eventlog: read spill %s: %w", b.Spill, err)
	}
	raw, err := s.dec.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("eventlog: unpack spill %s: %w", b.Spill, err)
	}
	if err := json.Unmarshal(raw, &b.Events); err != nil {
		return nil, fmt.Errorf("eventlog: decode spill %s: %w", b.Spill, err)
	}
	return b, nil
}

// PutBlob writes a whole blob durably: when it returns nil, the blob survives
// power loss, so that a document may point to it.
type PutBlob func(ctx context.Context, name string, data []byte) error

// Store reads and writes logs.
type Store struct {
	docs    *docstore.Store
	blobs   *blob.Bucket
	putBlob PutBlob
	enc     *zstd.Encoder
	dec     *zstd.Decoder
}

// NewStore returns a store of logs over documents, and blobs for large batches.
func NewStore(docs *docstore.Store, blobs *blob.Bucket, put PutBlob) (*Store, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("eventlog: zstd: %w", err)
	}
	// The decoder is bounded: a spill is written by us, but a blob store is not
	// a place to trust with memory.
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(512<<20), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("eventlog: zstd: %w", err)
	}
	return &Store{docs: docs, blobs: blobs, putBlob: put, enc: enc, dec: dec}, nil
}
