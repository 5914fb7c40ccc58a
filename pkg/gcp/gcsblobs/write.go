package gcsblobs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"

	"cloud.google.com/go/storage"
	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// uploadKey is the metadata that tells one upload from another.
const uploadKey = "codexgw-upload"

// NewTypedWriter implements driver.Bucket. The generation that the blob has at
// this moment is the one that the upload may replace. Asking for it costs a
// class B operation and makes the upload idempotent: the library repeats only
// such ones, and a repetition that comes late cannot undo what was written
// after it.
func (b *bucket) NewTypedWriter(ctx context.Context, key, contentType string, opts *driver.WriterOptions) (driver.Writer, error) {
	condition := storage.Conditions{DoesNotExist: true}
	if !opts.IfNotExist {
		current, err := b.object(ctx, key)
		switch {
		case err == nil:
			condition = storage.Conditions{GenerationMatch: current.Generation}
		case b.ErrorCode(err) != gcerrors.NotFound:
			return nil, err
		}
	}
	id := rand.Text()
	meta := maps.Clone(opts.Metadata)
	if meta == nil {
		meta = make(map[string]string, 1)
	}
	meta[uploadKey] = id
	size := opts.BufferSize
	if size == 0 {
		size = chunkSize
	}
	w, err := b.inner.NewWriter(ctx, key, &blob.WriterOptions{
		BufferSize: size, MaxConcurrency: opts.MaxConcurrency, CacheControl: opts.CacheControl,
		ContentDisposition: opts.ContentDisposition, ContentEncoding: opts.ContentEncoding, ContentLanguage: opts.ContentLanguage,
		ContentType: contentType, DisableContentTypeDetection: opts.DisableContentTypeDetection, ContentMD5: opts.ContentMD5, Metadata: meta,
		BeforeWrite: func(as func(any) bool) error {
			var object **storage.ObjectHandle
			var writer *storage.Writer
			// In this order: the writer is made from the handle.
			if !as(&object) {
				return errors.New("gcsblobs: no object handle")
			}
			*object = (*object).If(condition)
			if !as(&writer) {
				return errors.New("gcsblobs: no writer")
			}
			writer.ChunkRetryDeadline = chunkDeadline
			if opts.BeforeWrite != nil {
				return opts.BeforeWrite(as)
			}
			return nil
		},
	})
	if err != nil {
		return nil, bare(err)
	}
	return &writer{Writer: w, bucket: b, ctx: ctx, key: key, id: id}, nil
}

// object returns what Cloud Storage knows of a blob.
func (b *bucket) object(ctx context.Context, key string) (*storage.ObjectAttrs, error) {
	a, err := b.Attributes(ctx, key)
	if err != nil {
		return nil, err
	}
	var out storage.ObjectAttrs
	if !a.AsFunc(&out) {
		return nil, errors.New("gcsblobs: no object attributes")
	}
	return &out, nil
}

// writer is the inner bucket's writer of one upload.
type writer struct {
	*blob.Writer
	bucket  *bucket
	ctx     context.Context //nolint:containedctx // the upload's, as in the inner writer
	key, id string
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		err = bare(err)
	}
	return n, err
}

// Close ends the upload. When it failed, the blob itself is asked whether it
// did: after an answer that was lost the repetition finds its precondition
// broken, by itself.
func (w *writer) Close() error {
	err := w.Writer.Close()
	if err == nil || w.ctx.Err() != nil {
		return err
	}
	err = bare(err)
	stored, lookErr := w.bucket.object(w.ctx, w.key)
	if lookErr == nil && stored.Metadata[uploadKey] == w.id {
		return nil
	}
	if w.bucket.ErrorCode(err) == gcerrors.FailedPrecondition {
		return fmt.Errorf("written by another meanwhile: %w", err)
	}
	return err
}
