package firestoredocs

import (
	"context"
	"errors"
	"fmt"
	"io"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/grpc/status"

	"codexgateway.dev/pkg/docstore"
)

// Get implements [docstore.Driver]. It reads with BatchGetDocuments, which says
// of a missing document that it is missing: GetDocument's NotFound would also
// mean a missing database.
func (d *Driver) Get(ctx context.Context, key docstore.Key) (docstore.Doc, error) {
	if err := d.enter(ctx); err != nil {
		return docstore.Doc{}, err
	}
	defer d.calls.Done()
	c, err := d.collection(key.Collection)
	if err != nil {
		return docstore.Doc{}, err
	}
	var stored *firestorepb.Document
	req := &firestorepb.BatchGetDocumentsRequest{Database: d.database, Documents: []string{d.path(key)}}
	err = d.batchGet(ctx, req, func(doc *firestorepb.Document) error {
		stored = doc
		return nil
	})
	switch {
	case err != nil:
		return docstore.Doc{}, d.failed(ctx, "get", readMeaning(status.Code(err)), err)
	case stored == nil:
		return docstore.Doc{}, docstore.ErrNotFound
	}
	doc, err := decode(c, stored)
	if err != nil {
		return docstore.Doc{}, fmt.Errorf("firestore get: %w: %w", docstore.ErrUnavailable, err)
	}
	return doc, nil
}

// Query implements [docstore.Driver]. A full page always has a Next: to know
// that nothing follows would cost one more read at every full page.
func (d *Driver) Query(ctx context.Context, q docstore.Query) (docstore.Page, error) {
	if err := d.enter(ctx); err != nil {
		return docstore.Page{}, err
	}
	defer d.calls.Done()
	c, err := d.collection(q.Collection)
	if err != nil {
		return docstore.Page{}, err
	}
	page, err := d.page(ctx, c, q)
	d.note(ctx, q, err)
	return page, err
}

// page runs a query until the page is full, by count or by bytes.
func (d *Driver) page(ctx context.Context, c docstore.Collection, q docstore.Query) (docstore.Page, error) {
	ix, ok := c.Index(q.Index)
	if !ok || len(q.Equal) != len(ix.Equal) {
		return docstore.Page{}, fmt.Errorf("%w: index %q", docstore.ErrInvalid, q.Index)
	}
	structured, err := d.structured(c, ix, q)
	if err != nil {
		return docstore.Page{}, err
	}
	end := func(err error) (docstore.Page, error) {
		m := queryMeaning(status.Code(err))
		if m == noIndex {
			err = &IndexError{Collection: q.Collection, Index: q.Index, Desc: q.Desc}
		}
		return docstore.Page{}, d.failed(ctx, "query", m, err)
	}
	streaming, cancel := context.WithCancel(ctx) // ends the stream where the page ends before it
	defer cancel()
	stream, err := d.client.RunQuery(streaming, &firestorepb.RunQueryRequest{
		Parent:    d.documents,
		QueryType: &firestorepb.RunQueryRequest_StructuredQuery{StructuredQuery: structured},
	})
	if err != nil {
		return end(err)
	}
	var page docstore.Page
	size := 0
	for {
		res, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			if len(page.Docs) == q.Limit {
				page.Next = next(q, ix, page.Docs)
			}
			return page, nil
		case err != nil:
			return end(err)
		case res.GetDocument() == nil: // a progress report
			continue
		}
		doc, err := decode(c, res.GetDocument())
		if err != nil {
			return docstore.Page{}, fmt.Errorf("firestore query: %w: %w", docstore.ErrUnavailable, err)
		}
		if size += len(doc.Data); size > docstore.MaxPageBytes && len(page.Docs) > 0 {
			page.Next = next(q, ix, page.Docs)
			return page, nil
		}
		page.Docs = append(page.Docs, doc)
	}
}

// next is the cursor that continues after the documents.
func next(q docstore.Query, ix docstore.Index, docs []docstore.Doc) string {
	last := &docs[len(docs)-1]
	return docstore.EncodeCursor(q, docstore.Position{Order: last.Fields[ix.Order], ID: last.Key.ID})
}

// pingPath names a document that does not exist: its name begins like no
// declared collection.
const pingPath = "/_ping/_ping"

// Ping implements [docstore.Driver]: one billed read of a document that is not
// there, the cheapest call that needs the database, the permission to read it
// and a connection. A free call (an empty transaction) would not need the
// permission. At $0.03 for 100,000 reads a probe each 10 s costs $0.08 a month.
// Then it tries every query again that failed for its index, one read each.
func (d *Driver) Ping(ctx context.Context) error {
	if err := d.enter(ctx); err != nil {
		return err
	}
	defer d.calls.Done()
	req := &firestorepb.BatchGetDocumentsRequest{Database: d.database, Documents: []string{d.documents + pingPath}}
	if err := d.batchGet(ctx, req, func(*firestorepb.Document) error { return nil }); err != nil {
		return d.failed(ctx, "ping", readMeaning(status.Code(err)), err)
	}
	for _, q := range d.missing.list() {
		c, err := d.collection(q.Collection)
		if err != nil {
			return err
		}
		_, err = d.page(ctx, c, q)
		d.note(ctx, q, err)
		if err != nil {
			return err
		}
	}
	return nil
}
