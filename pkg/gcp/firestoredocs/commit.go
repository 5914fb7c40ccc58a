package firestoredocs

import (
	"context"
	"errors"
	"fmt"
	"io"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"codexgateway.dev/pkg/docstore"
)

// Commit implements [docstore.Driver]: one Commit call of Firestore.
func (d *Driver) Commit(ctx context.Context, writes []docstore.Write) ([]docstore.Version, error) {
	if err := d.enter(ctx); err != nil {
		return nil, err
	}
	defer d.calls.Done()
	req := &firestorepb.CommitRequest{Database: d.database, Writes: make([]*firestorepb.Write, len(writes))}
	for i := range writes {
		c, err := d.collection(writes[i].Key.Collection)
		if err != nil {
			return nil, err
		}
		req.Writes[i] = d.write(c, &writes[i])
	}
	res, err := d.client.Commit(ctx, req)
	if err != nil {
		return nil, d.refused(ctx, writes, err)
	}
	versions := make([]docstore.Version, len(writes))
	if len(res.GetWriteResults()) != len(writes) {
		return nil, fmt.Errorf("%w: firestore commit: %d results of %d writes", docstore.ErrUnavailable, len(res.GetWriteResults()), len(writes))
	}
	for i, r := range res.GetWriteResults() {
		if writes[i].Op == docstore.Delete {
			continue
		}
		if versions[i] = version(r.GetUpdateTime()); versions[i] == 0 {
			return nil, fmt.Errorf("%w: firestore commit: write %d has no update time", docstore.ErrUnavailable, i)
		}
	}
	return versions, nil
}

// write is one write with its precondition. An update without a mask replaces
// the whole document.
func (d *Driver) write(c docstore.Collection, w *docstore.Write) *firestorepb.Write {
	at := &firestorepb.Precondition{ConditionType: &firestorepb.Precondition_UpdateTime{UpdateTime: updateTime(w.Version)}}
	switch w.Op {
	case docstore.Delete:
		return &firestorepb.Write{Operation: &firestorepb.Write_Delete{Delete: d.path(w.Key)}, CurrentDocument: at}
	case docstore.Create:
		at.ConditionType = &firestorepb.Precondition_Exists{Exists: false}
	case docstore.Replace:
	}
	return &firestorepb.Write{Operation: &firestorepb.Write_Update{Update: d.encode(c, w)}, CurrentDocument: at}
}

// refused turns the error of a commit into the port's.
func (d *Driver) refused(ctx context.Context, writes []docstore.Write, err error) error {
	code := status.Code(err)
	meaning := commitMeaning(code)
	switch {
	case meaning == preconditionFailed && code != codes.NotFound && len(writes) == 1:
		return conflict(writes, 0)
	case meaning == preconditionFailed, meaning == contended:
	case meaning == refusedRequest:
		// So Firestore answers a precondition on an update time that is later than
		// the document's.
	default:
		return d.unknown(ctx, meaning, err)
	}
	at, locateErr := d.locate(ctx, writes)
	switch {
	case locateErr != nil:
		return fmt.Errorf("%w: %w", docstore.ErrUnavailable, locateErr)
	case at >= 0:
		return conflict(writes, at)
	case meaning == contended:
		// Every precondition holds: saying that one does not would tell a writer
		// that it has lost its lease.
		return d.unknown(ctx, unanswered, err)
	case meaning == refusedRequest:
		return d.unknown(ctx, meaning, err)
	}
	// What was in the way has gone since. Every write is conditional, so the first
	// conditional one is the first.
	return conflict(writes, 0)
}

// unknown is the error of a commit that failed for another reason than a
// precondition; where it may have been applied it is ErrUnavailable.
func (d *Driver) unknown(ctx context.Context, m meaning, err error) error {
	err = d.failed(ctx, "commit", m, err)
	if m == unanswered && !errors.Is(err, docstore.ErrUnavailable) {
		return fmt.Errorf("%w: %w", docstore.ErrUnavailable, err)
	}
	return err
}

func conflict(writes []docstore.Write, i int) error {
	return fmt.Errorf("firestore commit: %w", &docstore.ConflictError{Key: writes[i].Key, Index: i})
}

// locate returns the first write whose precondition does not hold at present,
// -1 if all do. It reads every key of the commit, without the data.
func (d *Driver) locate(ctx context.Context, writes []docstore.Write) (int, error) {
	req := &firestorepb.BatchGetDocumentsRequest{
		Database: d.database, Documents: make([]string, len(writes)),
		Mask: &firestorepb.DocumentMask{FieldPaths: []string{fieldRev}},
	}
	for i := range writes {
		req.Documents[i] = d.path(writes[i].Key)
	}
	found := make(map[string]docstore.Version, len(writes))
	if err := d.batchGet(ctx, req, func(doc *firestorepb.Document) error {
		found[doc.GetName()] = version(doc.GetUpdateTime())
		return nil
	}); err != nil {
		return 0, d.failed(ctx, "read after a refused commit", readMeaning(status.Code(err)), err)
	}
	for i := range writes {
		// A document that is not there has version 0, which is what a create asks for.
		if found[req.GetDocuments()[i]] != writes[i].Version {
			return i, nil
		}
	}
	return -1, nil
}

// batchGet calls each for every document there is.
func (d *Driver) batchGet(ctx context.Context, req *firestorepb.BatchGetDocumentsRequest, each func(*firestorepb.Document) error) error {
	ctx, cancel := context.WithCancel(ctx) // ends the stream when each fails
	defer cancel()
	stream, err := d.client.BatchGetDocuments(ctx, req)
	if err != nil {
		return err
	}
	for {
		res, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if doc := res.GetFound(); doc != nil {
			if err := each(doc); err != nil {
				return err
			}
		}
	}
}
