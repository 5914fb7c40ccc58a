package platform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// WriteBlob stores data under key and returns when it survives power loss, so
// that a document committed afterwards may refer to it. An existing blob is
// replaced, but on Cloud Storage never one that somebody else wrote meanwhile:
// the error then has gcerrors.FailedPrecondition. contentType is a media type;
// empty: application/octet-stream.
//
// Nearly every name is new, so it is first written as one that must be: a bucket
// in the cloud looks up what a write is to replace, and bills the look.
func (p *Platform) WriteBlob(ctx context.Context, key string, data []byte, contentType string) error {
	_, err := p.upload(ctx, key, bytes.NewReader(data), contentType, true)
	if gcerrors.Code(err) == gcerrors.FailedPrecondition {
		_, err = p.upload(ctx, key, bytes.NewReader(data), contentType, false)
	}
	return err
}

// UploadBlob is WriteBlob for what does not fit in memory; it returns the bytes
// stored. When r fails or ctx ends there is no new blob, and an old one is as
// it was.
func (p *Platform) UploadBlob(ctx context.Context, key string, r io.Reader, contentType string) (int64, error) {
	return p.upload(ctx, key, r, contentType, false)
}

// upload writes a blob; one that must be new and is not fails with
// gcerrors.FailedPrecondition.
//
// A bucket in the cloud is durable when its writer closes. One of files is not:
// fileblob renames without a sync, so a crash of the machine can leave an empty
// file behind a committed document. Here the file is synced before its rename,
// then its attributes and its directories: five syncs for a key with two
// slashes, a few milliseconds.
func (p *Platform) upload(ctx context.Context, key string, r io.Reader, contentType string, mustBeNew bool) (int64, error) {
	if contentType == "" {
		// Never sniffed: what a job produced must not choose how it is served.
		contentType = "application/octet-stream"
	}
	// Closing a writer whose context is alive commits what was written so far;
	// cancelling first is the only way to give up.
	ctx, abandon := context.WithCancel(ctx)
	defer abandon()
	var file *os.File // set by a bucket of files only
	w, err := p.Blobs.NewWriter(ctx, key, &blob.WriterOptions{
		ContentType: contentType, IfNotExist: mustBeNew,
		BeforeWrite: func(as func(any) bool) error { as(&file); return nil },
	})
	if err != nil {
		return 0, fmt.Errorf("platform: write blob: %w", err)
	}
	n, err := io.Copy(w, r)
	if err == nil && file != nil {
		err = file.Sync()
	}
	if err != nil {
		abandon()
		_ = w.Close() // reports the cancellation just made
		return 0, fmt.Errorf("platform: write blob: %w", err)
	}
	if err := w.Close(); err != nil {
		return 0, fmt.Errorf("platform: write blob: %w", err)
	}
	if file == nil {
		return n, nil
	}
	if err := syncNames(file.Name(), strings.Count(key, "/")); err != nil {
		return 0, fmt.Errorf("platform: write blob: %w", err)
	}
	return n, nil
}

// syncNames makes a finished blob durable beside its bytes: the attributes
// (without which fileblob cannot read it), the name in its directory, and the
// names of the directories that may be new. temp is the temporary file, which
// fileblob names "<path>.<hex>.tmp" and keeps beside the final one.
func syncNames(temp string, depth int) error {
	final := strings.TrimSuffix(temp, ".tmp")
	final = strings.TrimSuffix(final, filepath.Ext(final))
	if err := syncPath(final + ".attrs"); err != nil {
		return err
	}
	dir := filepath.Dir(final)
	for range depth + 1 {
		if err := syncPath(dir); err != nil {
			return err
		}
		dir = filepath.Dir(dir)
	}
	return nil
}

// syncPath flushes a file or a directory to the disk.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
